"""Small copies of a folder of photographs, so that a short training decodes each large file once."""

from pathlib import Path

from rich.progress import track

from datamodules import ImageFolder
from datamodules.datamodule import Split
from datamodules.reading import UnreadableImageError
from datamodules.transforms import resize_to_cover
from experiments.files.write import write_png
from masks import CenterRectangle

_MOST: dict[Split, int] = {"train": 5000, "val": 32, "test": 100}  # photographs of each split that are copied


def copy_small(folder: Path, out: Path, side: int) -> None:
    """Copies with the shorter side ``side`` in ``out``, in the folders train, val and test as ImageFolder splits them.

    Unreadable files are named and left out.

    Raises:
        ValueError: No folder, too few images, or nothing readable in a split.
    """
    source = ImageFolder(folder, CenterRectangle(), val_share=0.1, test_share=0.2)
    for split, most in _MOST.items():
        files = source.files(split)
        written = 0
        for index in track(range(min(len(files), most)), f"{split}: photographs to {side} px"):
            try:
                pixels = files.read(index)
            except UnreadableImageError as error:
                print(f"Left out: {error}", flush=True)
                continue
            write_png(resize_to_cover(pixels, side), out / split, f"{index:05}-{Path(files.name(index)).stem}.png")
            written += 1
        if not written:
            raise ValueError(f"{folder}: no image of the {split} split can be read. Give a folder of photographs.")
