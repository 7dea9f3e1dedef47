"""Data sets. Each is a LightningDataModule whose batches are ``masks.convention.InpaintingBatch``.

They are imported together at the first use of one: what only reads an image starts without Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datamodules.bsds500 import BSDS500
    from datamodules.celebahq import CelebAHQ
    from datamodules.datamodule import InpaintingDataModule
    from datamodules.drawn_faces import DrawnFaces
    from datamodules.evaluation import EvaluationSet
    from datamodules.hugging_face import HuggingFaceImages
    from datamodules.image_folder import ImageFolder
    from datamodules.imagenet import ImageNet
    from datamodules.paris_streetview import ParisStreetView
    from datamodules.places2 import Places2
    from datamodules.sample_photos import SamplePhotos

__all__ = [
    "BSDS500",
    "CelebAHQ",
    "DrawnFaces",
    "EvaluationSet",
    "HuggingFaceImages",
    "ImageFolder",
    "ImageNet",
    "InpaintingDataModule",
    "ParisStreetView",
    "Places2",
    "SamplePhotos",
]
_MODULES = {
    "BSDS500": "bsds500",
    "CelebAHQ": "celebahq",
    "DrawnFaces": "drawn_faces",
    "EvaluationSet": "evaluation",
    "HuggingFaceImages": "hugging_face",
    "ImageFolder": "image_folder",
    "ImageNet": "imagenet",
    "InpaintingDataModule": "datamodule",
    "ParisStreetView": "paris_streetview",
    "Places2": "places2",
    "SamplePhotos": "sample_photos",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    for each, module in _MODULES.items():  # all: a configuration names any of them
        globals()[each] = getattr(import_module(f"{__name__}.{module}"), each)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
