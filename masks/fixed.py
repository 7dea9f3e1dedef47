"""Fixed sets: masks that a configuration, a seed and a size give bit for bit, written to files."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from masks.build import build, describe
from masks.files import write_mask
from masks.generator import Mask, MaskGenerator, keyed_rng

RECIPE = "set.yaml"


@dataclass(frozen=True)
class FixedSet:
    """``count`` masks of one distribution; mask i is the one an evaluation with this seed draws for sample i."""

    generator: MaskGenerator
    seed: int
    count: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if min(self.count, self.height, self.width) < 1 or self.seed < 0:
            raise ValueError(
                f"A fixed set got seed={self.seed}, count={self.count}, size {self.height}x{self.width}; "
                "expected a seed from 0 on and at least one mask of at least one pixel."
            )

    def __iter__(self) -> Iterator[Mask]:
        for index in range(self.count):
            yield self.generator(self.height, self.width, keyed_rng(self.seed, "evaluation mask", index))

    def sha256(self) -> str:
        """SHA-256 of the masks' bits in order."""
        digest = hashlib.sha256()
        for mask in self:
            digest.update(np.packbits(mask).tobytes())
        return digest.hexdigest()

    def recipe(self) -> dict[str, object]:
        """What :meth:`from_recipe` needs, in plain values."""
        numbers = {"seed": self.seed, "count": self.count, "height": self.height, "width": self.width}
        return {"mask": describe(self.generator), **numbers}

    @classmethod
    def from_recipe(cls, recipe: Mapping[str, Any]) -> "FixedSet":
        missing = {"mask", "seed", "count", "height", "width"} - set(recipe)
        if missing:
            raise ValueError(f"The recipe of a fixed set lacks {', '.join(sorted(missing))}.")
        numbers = (int(recipe[name]) for name in ("seed", "count", "height", "width"))
        return cls(build(recipe["mask"]), *numbers)

    def write(self, folder: str | os.PathLike[str]) -> str:
        """Write 00000.png, ... (white = hole) and the recipe with the SHA-256, all at once; returns the SHA-256.

        Raises:
            ValueError: If ``folder`` exists: a set on disk is never overwritten.
        """
        folder = Path(folder)
        if folder.exists():
            raise ValueError(f"{folder} exists; a set of masks is never overwritten. Choose another folder.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.part-"))
        try:
            digest = hashlib.sha256()
            for index, mask in enumerate(self):
                digest.update(np.packbits(mask).tobytes())
                write_mask(mask, part / f"{index:05d}.png")
            recipe = {**self.recipe(), "sha256": digest.hexdigest()}
            (part / RECIPE).write_text(yaml.safe_dump(recipe, sort_keys=False))
            part.chmod(0o755)
            part.rename(folder)
        except BaseException as error:
            shutil.rmtree(part, ignore_errors=True)
            if isinstance(error, OSError) and error.filename is None:  # a full disk names no file
                raise OSError(error.errno, error.strerror, str(folder)) from error
            raise
        return digest.hexdigest()
