"""Draw the figures of docs/classics.md: python -m benchmarks.classics_figures docs/images/classics"""

import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from lit_inpaint.methods import Bertalmio, Biharmonic, Harmonic, NavierStokes, PatchMatch, Telea
from lit_inpaint.methods.patchmatch.field import draw_field


def photo(array: np.ndarray) -> Tensor:
    rgb = array if array.ndim == 3 else np.repeat(array[..., None], 3, 2)
    return torch.from_numpy(rgb[..., :3].copy()).permute(2, 0, 1)[None] / 127.5 - 1


def lines(size: int, thickness: int, *points: tuple[int, int]) -> Tensor:
    canvas = cv2.polylines(np.zeros((size, size), np.uint8), [np.array(points)], False, 1, thickness)
    return torch.from_numpy(canvas)[None, None].float()


def panel(image: Tensor) -> np.ndarray:
    return ((image[0].permute(1, 2, 0).numpy().clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)


def save(path: Path, rows: list[list[np.ndarray]]) -> None:
    white = [np.hstack([np.pad(p, ((0, 4), (0, 4), (0, 0)), constant_values=255) for p in row]) for row in rows]
    Image.fromarray(np.vstack(white)).quantize(128).save(path, optimize=True)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)

    cup = photo(data.coffee()[60:220, 300:460])
    hole = torch.zeros(1, 1, 160, 160)
    hole[..., 50:110, 20:75] = 1
    found = PatchMatch().complete_array((panel(cup)).astype(np.float64), hole[0, 0].numpy() == 1)
    save(
        folder / "patchmatch_field.png",
        [[panel(cup * (1 - hole) + hole), found.image.round().astype(np.uint8), draw_field(found.match)]],
    )

    astronaut = photo(data.astronaut()[20:180, 150:310])
    scratch = lines(160, 7, (5, 30), (60, 70), (95, 60), (155, 120))
    rounds = [
        panel(x) for x in islice(Bertalmio(rounds=200, tolerance=0).progress(astronaut * (1 - scratch), scratch), 201)
    ]
    save(
        folder / "bertalmio_progress.png",
        [[panel(astronaut * (1 - scratch) + scratch), *(rounds[i] for i in (0, 10, 50, 200))]],
    )

    rows = []
    box = torch.zeros(1, 1, 112, 112)
    box[..., 36:76, 36:76] = 1
    strokes = lines(112, 10, (0, 20), (60, 50), (40, 90), (111, 100))
    for image, mask in (
        (photo(data.brick()[100:212, 100:212]), box),
        (photo(data.grass()[100:212, 100:212]), box),
        (photo(data.chelsea()[60:172, 130:242]), strokes),
        (photo(data.astronaut()[60:172, 170:282]), strokes),
    ):
        methods = (Telea(), NavierStokes(), Harmonic(), Biharmonic(), Bertalmio(), PatchMatch())
        rows.append([panel(image * (1 - mask) + mask), *(panel(m(image, mask)) for m in methods), panel(image)])
    save(folder / "comparison.png", rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
