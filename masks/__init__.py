"""Mask laws, mask files and the convention of images and masks: the ground floor, without Lightning."""

from masks.combine import AreaBounded, Augmented, Inset, Mixture
from masks.comodgan import CoModGANMask
from masks.cropped import SquareCrop
from masks.drawings import Scratches, Silhouettes, Text
from masks.folder import MaskFolder
from masks.ict import ICTStrokes
from masks.lama import LaMaBoxes, LaMaMedium, LaMaStrokes, LaMaThick, LaMaThin, LaMaTraining, Narrow, Wide
from masks.noise import NoiseBlobs
from masks.own import OwnMasks
from masks.rectangles import CenterRectangle, DeepFillV1Rectangle, GLCICRectangle, Outpainting, RandomRectangle
from masks.repaint import AlternatingLines, Expand, Half, RePaintWide, SuperResolve2x
from masks.strokes import DeepFillV2Mask, FreeFormStrokes, IrregularStrokes

__all__ = [
    "AlternatingLines",
    "AreaBounded",
    "Augmented",
    "CenterRectangle",
    "CoModGANMask",
    "DeepFillV1Rectangle",
    "DeepFillV2Mask",
    "Expand",
    "FreeFormStrokes",
    "GLCICRectangle",
    "Half",
    "ICTStrokes",
    "Inset",
    "IrregularStrokes",
    "LaMaBoxes",
    "LaMaMedium",
    "LaMaStrokes",
    "LaMaThick",
    "LaMaThin",
    "LaMaTraining",
    "MaskFolder",
    "Mixture",
    "Narrow",
    "NoiseBlobs",
    "Outpainting",
    "OwnMasks",
    "RandomRectangle",
    "RePaintWide",
    "Scratches",
    "Silhouettes",
    "SquareCrop",
    "SuperResolve2x",
    "Text",
    "Wide",
]
