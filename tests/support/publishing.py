"""A small checkpoint that was trained, with averaged weights, and a record of it."""

from pathlib import Path

from experiments.weights.push import main
from lit_inpaint.callbacks import EMA, Throughput
from lit_inpaint.methods import PartialConv
from tests.support.fitting import fit, samples, small

NAME = "ann/holes"


def trained(folder: Path) -> Path:
    """Two steps of a PartialConv whose average differs from its raw weights, with optimiser states and callbacks."""
    run = fit(small(PartialConv), samples(), steps=2, callbacks=[EMA(0.5), Throughput()])
    run.save_checkpoint(folder / "last.ckpt")
    return folder / "last.ckpt"


def push(checkpoint: Path, *arguments: object, name: str = NAME) -> int:
    return main([str(checkpoint), f"hf://{name}", "--license", "apache-2.0", *map(str, arguments)])
