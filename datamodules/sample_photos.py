"""Photographs that are already on this machine: no download, no folder to give."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from datamodules.datamodule import InpaintingDataModule, Split
from datamodules.files import Files
from masks.generator import MaskGenerator


class SamplePhotos(InpaintingDataModule):
    """The natural photographs inside the wheels of scikit-image and scikit-learn, split by scene.

    Twelve scenes, seven in colour: enough to run everything, too few for a result. The stereo pair of the motorcycle is
    one scene and stays in one split. Training draws ``samples_per_epoch`` random crops; evaluation shows every
    photograph with ``eval_repeats`` holes.

    >>> from masks import Wide
    >>> SamplePhotos(mask=Wide()).evaluation_set("test")[0].image.shape
    torch.Size([3, 256, 256])
    """

    SCENES: ClassVar[dict[str, tuple[str, ...]]] = {
        "train": (
            "skimage/brick.png",
            "skimage/chelsea.png",
            "skimage/grass.png",
            "skimage/gravel.png",
            "skimage/motorcycle_left.png",
            "skimage/motorcycle_right.png",
            "skimage/rocket.jpg",
            "sklearn/china.jpg",
        ),
        "val": ("skimage/coins.png", "sklearn/flower.jpg"),
        "test": ("skimage/astronaut.png", "skimage/camera.png", "skimage/coffee.png"),
    }

    def __init__(
        self, mask: MaskGenerator, samples_per_epoch: int | None = 512, eval_repeats: int = 4, **data: Any
    ) -> None:
        super().__init__(mask=mask, samples_per_epoch=samples_per_epoch, eval_repeats=eval_repeats, **data)

    def find(self, split: Split) -> Files:
        return _PackagedFiles(self.SCENES[split])


class _PackagedFiles(Files):
    """Names like skimage/coffee.png, wherever the two packages are installed."""

    FOLDERS: ClassVar[dict[str, str]] = {"skimage": "data", "sklearn": "datasets/images"}

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__("scikit-image and scikit-learn", names)
        self._folders = {package: _folder(package) / below for package, below in self.FOLDERS.items()}
        missing = [self.path(i) for i in range(len(self)) if not Path(self.path(i)).is_file()]
        if missing:
            raise ValueError(f"{missing[0]} is missing. Install scikit-image and scikit-learn from their wheels again.")

    def path(self, index: int) -> str:
        package, _, name = self.name(index).partition("/")
        return str(self._folders[package] / name)


def _folder(package: str) -> Path:
    spec = find_spec(package)  # finds the folder without importing the package, which takes a second
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"{package} is not installed, and SamplePhotos takes photographs from it. Install lit-inpaint again."
        )
    return Path(next(iter(spec.submodule_search_locations)))
