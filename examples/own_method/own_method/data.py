"""A data set in ten lines."""

from datamodules import SamplePhotos
from datamodules.datamodule import Split
from datamodules.files import Files


class Afternoon(SamplePhotos):
    """The sample photographs, validated on those of the test; your own would return ``Files(folder, names)``."""

    def find(self, split: Split) -> Files:
        return super().find("train" if split == "train" else "test")
