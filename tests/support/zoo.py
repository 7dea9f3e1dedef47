"""Runs of two steps, as `fit` leaves them, and a zoo with an entry of each in a folder of its own."""

import json
from pathlib import Path
from typing import Any

import yaml

from lit_inpaint.callbacks import EMA, Throughput
from lit_inpaint.methods import DDPM, GLCIC
from tests.support.contract import ROWS
from tests.support.fitting import fit, samples, small
from tests.support.protocols import write_protocol

GAN, DIFFUSION = "GLCIC_drawn_faces64", "DDPM_drawn_faces64"
MASKS = {"wide": {"class_path": "masks.Wide"}, "half": {"class_path": "masks.Half"}}


def protocol(folder: Path) -> Path:
    data = {"class_path": "datamodules.DrawnFaces"}
    return write_protocol(folder, data=data, split="test", limit=20, masks=MASKS, metrics=["psnr_hole", "l1_hole"])


def run_of(model: Any, folder: Path) -> Path:
    """Its checkpoint."""
    trainer = fit(model, samples(), steps=2, callbacks=[EMA(0.1), Throughput()])
    trainer.save_checkpoint(folder / "checkpoints" / "last.ckpt")
    data = {"class_path": "DrawnFaces", "init_args": {"image_size": 64, "root": str(folder)}}
    config = {"model": {"class_path": type(model).__name__}, "data": data, "trainer": {"max_steps": 2}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "run.json").write_text(json.dumps({"method": type(model).__name__, "seed": 3}))
    return folder / "checkpoints" / "last.ckpt"


def gan(folder: Path) -> Path:
    return run_of(small(GLCIC), folder)


def diffusion(folder: Path) -> Path:
    return run_of(DDPM(**dict(ROWS)["DDPM"]), folder)
