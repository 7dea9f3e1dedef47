"""Mask generators: numpy and OpenCV only, no Lightning."""

from masks.combine import AreaBounded, Augmented, Inset, Mixture
from masks.lama import LaMaBoxes, LaMaMedium, LaMaStrokes, LaMaThick, LaMaThin, LaMaTraining, Narrow, Wide
from masks.rectangles import CenterRectangle, DeepFillV1Rectangle, GLCICRectangle, Outpainting, RandomRectangle
from masks.repaint import AlternatingLines, Expand, Half, SuperResolve2x
from masks.strokes import DeepFillV2Mask, FreeFormStrokes

__all__ = [
    "AlternatingLines",
    "AreaBounded",
    "Augmented",
    "CenterRectangle",
    "DeepFillV1Rectangle",
    "DeepFillV2Mask",
    "Expand",
    "FreeFormStrokes",
    "GLCICRectangle",
    "Half",
    "Inset",
    "LaMaBoxes",
    "LaMaMedium",
    "LaMaStrokes",
    "LaMaThick",
    "LaMaThin",
    "LaMaTraining",
    "Mixture",
    "Narrow",
    "Outpainting",
    "RandomRectangle",
    "SuperResolve2x",
    "Wide",
]
