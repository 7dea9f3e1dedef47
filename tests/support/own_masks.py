"""Images that show which mask is theirs, and what a run was shown of them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from PIL import Image
from torch import Tensor

from masks.files import write_mask

COUNT, BLOCK = 8, 8
SIDES = (10 * BLOCK, 8 * BLOCK)  # (width, height)


def write_pairs(root: Path) -> list[tuple[str, str]]:
    """Blocks of noise whose blue is white in the hole, black elsewhere, in images/ and masks/; the names of each."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(COUNT):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 256, (SIDES[1] // BLOCK, SIDES[0] // BLOCK, 3), dtype=np.uint8)
        pixels[..., 2] = 255 * (pixels[..., 2] > 150)
        pixels = pixels.repeat(BLOCK, 0).repeat(BLOCK, 1)
        Image.fromarray(pixels).save(root / f"images/{number:02}.png")
        write_mask(pixels[..., 2] > 0, root / f"masks/{number:02}.png")
    return [(f"images/{number:02}.png", f"masks/{number:02}.png") for number in range(COUNT)]


def own_share(sample: Any) -> float:
    """Share of the clear pixels on which mask and blue agree."""
    blue, mask = sample.image[2], sample.mask[0]
    clear = blue.abs() > 0.9
    return float(((blue > 0) == (mask > 0))[clear].float().mean())


class Pairs(L.Callback):
    """Writes down every sample of every batch, of each rank and start: its name, its bits, and whether the mask is its
    own."""

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        with Path(f"pairs-{trainer.global_rank}.jsonl").open("a") as file:
            for place, name in enumerate(batch.name):
                sample = type(batch)(batch.image[place], batch.mask[place], name)
                row = {"step": trainer.global_step + 1, "name": name, "own": own_share(sample)}
                row |= {"image": bits(sample.image), "mask": bits(sample.mask)}
                file.write(json.dumps(row) + "\n")


def bits(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


def shown(folder: Path) -> dict[int, list[dict[str, Any]]]:
    """The samples of each step over all ranks, by name; of a step repeated after a kill, those of each time."""
    found: dict[int, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("pairs-*.jsonl")):
        for row in map(json.loads, path.read_text().splitlines()):
            found.setdefault(row["step"], []).append(row)
    return {step: sorted(rows, key=lambda row: row["name"]) for step, rows in found.items()}
