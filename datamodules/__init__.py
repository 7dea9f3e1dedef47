"""Data sets. Each is a LightningDataModule whose batches are ``masks.convention.InpaintingBatch``."""

from datamodules.datamodule import InpaintingDataModule
from datamodules.evaluation import EvaluationSet
from datamodules.image_folder import ImageFolder
from datamodules.sample_photos import SamplePhotos

__all__ = ["EvaluationSet", "ImageFolder", "InpaintingDataModule", "SamplePhotos"]
