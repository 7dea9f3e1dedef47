"""CelebA-HQ (Karras et al. 2018): 30,000 faces, and the three splits that papers divide them by."""

import hashlib
import os
import re
from pathlib import Path
from typing import Any, ClassVar

from datamodules.files import find_images
from datamodules.published import NamedSplit, PublishedData, hold_out
from masks.generator import MaskGenerator
from masks.regular import read_text

IMAGES = 30_000
MAPPING = "CelebA-HQ-to-CelebA-mapping.txt"
# Of the numbers of each of DeepFill's lists, ascending, one per line.
_TRAIN_NUMBERS = "21050ac7e1a5c3a076cb62e1d87e94d2341d746286a9ee2fa22bef6106bf2961"
_VAL_NUMBERS = "e8b905352381f83d1bf747160352230427b282f27704f243a7936430c5e2e18d"


class CelebAHQ(PublishedData):
    """Faces by number 0-29999, from whichever copy: CelebA-HQ-img/0.jpg, img00000000.png or data256x256/00001.jpg.

    DeepFill resizes straight to 256 and mirrors nothing (``resize: direct``, ``flip: false``), the default here.

    >>> {name: split.counts["test"] for name, split in CelebAHQ.SPLITS.items()}
    {'official': 2824, 'deepfill': 2000, 'lama': 2000}
    """

    SPLITS: ClassVar[dict[str, NamedSplit]] = {
        "official": NamedSplit(
            f"CelebA's own partition (Liu et al. 2015), carried over by {MAPPING}; used by Pluralistic, DSI",
            {"train": 24_183, "val": 2_993, "test": 2_824},
        ),
        "deepfill": NamedSplit(
            "train_shuffled.flist and val_shuffled.flist of DeepFill (Yu et al. 2018); there is no third part, so val "
            "and test are the same images",
            {"train": 28_000, "val": 2_000, "test": 2_000},
        ),
        "lama": NamedSplit(
            "LaMa (Suvorov et al. 2022): DeepFill's val list is the test set, 2,000 of its train list are held out; "
            "LaMa draws these without a seed, here they are those with the smallest SHA-256",
            {"train": 26_000, "val": 2_000, "test": 2_000},
        ),
    }
    WHERE: ClassVar[str] = (
        "The images come with CelebAMask-HQ (github.com/switchablenorms/CelebAMask-HQ: CelebA-HQ-img and the mapping "
        "to CelebA) or as data256x256.zip (named in the README of github.com/advimman/lama); both for research only."
    )
    LISTS: ClassVar[str] = (
        "The lists are in fetch_data/ of github.com/advimman/lama (train_shuffled.flist, val_shuffled.flist) and "
        "beside DeepFill's models. Put both into one folder and give it as --lists."
    )

    def __init__(
        self,
        root: str | os.PathLike[str],
        mask: MaskGenerator,
        split: str = "official",
        resize: Any = "direct",
        flip: bool = False,
        **data: Any,
    ) -> None:
        super().__init__(root=root, mask=mask, split=split, resize=resize, flip=flip, **data)

    @classmethod
    def make_lists(cls, root: Path, split: str, sources: Path | None) -> dict[str, list[str]]:
        images = cls._numbered(root)
        numbers = cls._official(root, sources) if split == "official" else cls._deepfill(sources)
        if split == "lama":
            rest, held = hold_out([str(number) for number in numbers["train"]], 2_000)
            numbers = {"train": [int(n) for n in rest], "val": [int(n) for n in held], "test": numbers["val"]}
        elif split == "deepfill":
            numbers["test"] = numbers["val"]
        # LaMa's files are 0.jpg, 1.jpg, 10.jpg ...: "the first 100 by name" are these, whichever the copy.
        return {part: [images[number] for number in sorted(of, key=str)] for part, of in numbers.items()}

    @classmethod
    def _numbered(cls, root: Path) -> dict[int, str]:
        """Number of each image to its path; files numbered from 1, as in data256x256.zip, count from 0 here."""
        by_number: dict[int, str] = {}
        for name in find_images(root):
            match = re.fullmatch(r"(?:img)?(\d+)", Path(name).stem)
            if match:
                other = by_number.setdefault(int(match[1]), name)
                if other != name:
                    raise ValueError(
                        f"{root} has number {match[1]} twice: {other}, {name}. Give a --root with one copy."
                    )
        if not by_number:
            raise ValueError(f"{root} has no image named by its number, such as 0.jpg or img00000000.png. {cls.WHERE}")
        first = 1 if 0 not in by_number and IMAGES in by_number else 0
        missing = [number for number in range(first, first + IMAGES) if number not in by_number]
        if missing or len(by_number) != IMAGES:
            some = f"; missing are {', '.join(map(str, missing[:5]))} ..." if missing else ""
            raise ValueError(
                f"{root} has {len(by_number):,} numbered images, CelebA-HQ has {IMAGES:,}{some}. {cls.WHERE}"
            )
        return {number - first: name for number, name in by_number.items()}

    @classmethod
    def _official(cls, root: Path, sources: Path | None) -> dict[str, list[int]]:
        """CelebA's partition is by number of the original file: 1-162770, -182637, -202599."""
        places = [folder / MAPPING for folder in (sources, root, root.parent) if folder]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise ValueError(
                f"{places[0]}: no such file; the split official needs it. It comes with CelebAMask-HQ; give its folder "
                "as --lists, or take --split deepfill."
            )
        numbers: dict[str, list[int]] = {"train": [], "val": [], "test": []}
        for line in read_text(path).splitlines():
            fields = line.split()
            if len(fields) >= 3 and fields[0].isdigit():
                original = int(Path(fields[-1]).stem)
                part = "train" if original <= 162_770 else "val" if original <= 182_637 else "test"
                numbers[part].append(int(fields[0]))
        if sum(map(len, numbers.values())) != IMAGES:
            found = sum(map(len, numbers.values()))
            raise ValueError(f"{path} maps {found:,} images instead of {IMAGES:,}. Fetch it again with CelebAMask-HQ.")
        return numbers

    @classmethod
    def _deepfill(cls, sources: Path | None) -> dict[str, list[int]]:
        if sources is None:
            raise ValueError(f"The splits deepfill and lama need the authors' lists. {cls.LISTS}")
        numbers: dict[str, list[int]] = {}
        for part, file, known in (("train", "train", _TRAIN_NUMBERS), ("val", "val", _VAL_NUMBERS)):
            path = sources / f"{file}_shuffled.flist"
            if not path.is_file():
                raise ValueError(f"{path}: no such list. {cls.LISTS}")
            found = re.findall(r"(\d+)\.(?:jpg|png)\s*$", read_text(path), re.MULTILINE)
            numbers[part] = sorted({int(number) for number in found})
            digest = hashlib.sha256("\n".join(map(str, numbers[part])).encode()).hexdigest()
            if digest != known:
                raise ValueError(f"{path} lists {len(found):,} images, but not those of DeepFill's list. {cls.LISTS}")
        return numbers
