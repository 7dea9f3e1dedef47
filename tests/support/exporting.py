"""Untrained methods whose output fills its range, and their checkpoints."""

from pathlib import Path

import torch

from lit_inpaint import methods
from lit_inpaint.module import InpaintingModule


def network(name: str, gain: float = 1, **arguments: object) -> InpaintingModule:
    """Untrained, but with weights so large that its output fills [-1, 1]. ``gain`` makes up for gates."""
    torch.manual_seed(0)
    method = getattr(methods, name)(**arguments).eval()
    for parameter in method.generator.parameters():
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="linear")
            parameter.data.mul_(gain)
    return method


def checkpoint(method: InpaintingModule, path: Path) -> Path:
    hyper_parameters = {k: v for k, v in method.hparams.items() if not k.startswith("_")}
    torch.save(
        {"method": type(method).__name__, "state_dict": method.state_dict(), "hyper_parameters": hyper_parameters}, path
    )
    return path
