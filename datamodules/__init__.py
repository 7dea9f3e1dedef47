"""Data sets. Each is a LightningDataModule whose batches are ``masks.convention.InpaintingBatch``."""

from datamodules.celebahq import CelebAHQ
from datamodules.datamodule import InpaintingDataModule
from datamodules.drawn_faces import DrawnFaces
from datamodules.evaluation import EvaluationSet
from datamodules.image_folder import ImageFolder
from datamodules.imagenet import ImageNet
from datamodules.paris_streetview import ParisStreetView
from datamodules.places2 import Places2
from datamodules.sample_photos import SamplePhotos

__all__ = [
    "CelebAHQ",
    "DrawnFaces",
    "EvaluationSet",
    "ImageFolder",
    "ImageNet",
    "InpaintingDataModule",
    "ParisStreetView",
    "Places2",
    "SamplePhotos",
]
