"""Train a published program at 64 px for as long as a method of table1 or table1_photos, and complete a kit.

    lit-inpaint protocol export table1_64 --masks wide half --out kit
    python -m benchmarks.published_training naoto0804 kit completions --public DIR --seconds 1200
    lit-inpaint benchmark table1_64 --masks wide half --methods Published=outputs:completions --out results

Images are drawn faces, or crops of the photographs in ``--bsds500``. Holes are LaMa's training masks; the modules
beside state each program's settings.
"""

import argparse
import time
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.published_training.deepfillv2 import nipponjo
from benchmarks.published_training.dsi import ustc
from benchmarks.published_training.palette import janspiry
from benchmarks.published_training.programs import SIZE, Training, daa233, naoto0804, raywzy
from datamodules import BSDS500, DrawnFaces, InpaintingDataModule
from experiments.files.write import write_png
from masks import LaMaTraining
from masks.convention import composite, from_levels, to_levels

PROGRAMS = {program.__name__: program for program in (naoto0804, daa233, nipponjo, raywzy, ustc, janspiry)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("kit", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--public", type=Path, required=True, help="folder of the checkouts (benchmarks/public.md)")
    parser.add_argument("--seconds", type=float, default=1200, help="of one core, shared by the program's stages")
    parser.add_argument("--bsds500", type=Path, help="folder of BSDS500: train on its photographs, not on drawn faces")
    a = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    training = PROGRAMS[a.program](a.public, _data(1, a.bsds500))
    _train(training, a.seconds, a.bsds500)
    _complete(training, a.kit, a.out)


def _data(batch: int, photographs: Path | None) -> InpaintingDataModule:
    settings: dict[str, Any] = {"mask": LaMaTraining(), "image_size": SIZE, "batch_size": batch, "num_workers": 0}
    data = BSDS500(photographs, **settings) if photographs else DrawnFaces(**settings)
    data.setup("fit")
    return data


def _train(training: Training, seconds: float, photographs: Path | None) -> None:
    for network in training.networks:
        network.train()
    for size, update in training.stages:
        data, begin, steps = _data(size, photographs), time.process_time(), 0
        for batch in chain.from_iterable(data.train_dataloader() for _ in count()):
            update(batch)
            steps += 1
            if time.process_time() - begin >= seconds / len(training.stages):
                break
        print(f"{steps} steps of {size} images in {time.process_time() - begin:.0f} s of one core", flush=True)
    for network in training.networks:
        network.eval()


def _complete(training: Training, kit: Path, out: Path) -> None:
    for path in sorted(kit.glob("*/images/**/*.png")):
        name = path.relative_to(kit).parts
        image = from_levels(torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1)[None])
        hole = torch.from_numpy(np.asarray(Image.open(kit / name[0] / "masks" / Path(*name[2:]))) > 127)[None, None]
        with torch.no_grad():
            output = training.complete(image, hole.float())
        pixels = to_levels(composite(output.clamp(-1, 1), image, hole.float()))[0].permute(1, 2, 0)
        write_png(pixels.to(torch.uint8).numpy(), out / name[0], Path(*name[2:]).as_posix())


if __name__ == "__main__":
    main()
