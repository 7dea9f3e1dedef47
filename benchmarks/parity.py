"""Random weights through the published programs and through ours, in both directions.

    python -m benchmarks.parity [PROGRAM ...] --public DIR [--training]

DIR holds checkouts of the repositories that :mod:`benchmarks.programs` names, at any depth; a program that is not there
is said and left out, as are mmagic's networks without the packages mmengine and mmcv-lite. Every network gets random
weights in its own layout. `import-weights` reads them; `export --format official` writes what was read, and the program
loads that file into a network of other weights with ``strict=True``. Each time program and ours complete the same image
at the published size. Printed is the largest difference of values in [-1, 1]; what is above 1e-4 is named, with exit
code 1. With ``--training`` whole training steps run side by side instead, from the same weights and batch in float64
(:mod:`benchmarks.training`, docs/parity.md).
"""

import argparse
import contextlib
import io
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import nn

from benchmarks import programs
from benchmarks.training import table
from benchmarks.utilisation import in_a_fresh_process
from experiments.weights.export import main as export
from experiments.weights.imports import main as import_weights
from lit_inpaint.load import load_method

TOLERANCE = 1e-4
FLAT = 0.01


class Row(NamedTuple):
    method: str
    size: int = 256
    gain: float = 1  # of the weights, so that the output is neither flat nor clipped


ROWS = {
    "boyuanjiang": Row("ContextEncoder", 128),
    "otenim": Row("GLCIC"),
    "mmagic_gl": Row("GLCIC"),
    "daa233": Row("DeepFillV1", gain=0.8),
    "mmagic_deepfillv1": Row("DeepFillV1", gain=0.8),
    "nipponjo": Row("DeepFillV2", gain=1.5),
    "nipponjo_tf": Row("DeepFillV2", gain=1.5),
    "mmagic_deepfillv2": Row("DeepFillV2", gain=1.5),
    "naoto0804": Row("PartialConv", gain=500),  # its layers divide by sum(M) alone
    "mmagic_pconv": Row("PartialConv", gain=0.6),
    "aotgan": Row("AOTGAN", 512, gain=0.5),
    "lama": Row("LaMa", gain=0.5),
    "guided_diffusion": Row("DDPM"),
    "janspiry": Row("Palette"),
}


class Parity(NamedTuple):
    """Largest differences of program and ours after import and after export, and the output's standard deviation."""

    imported: float
    exported: float
    deviation: float


@torch.no_grad()
def randomise(network: nn.Module, gain: float, seed: int) -> None:
    """Weights that keep a signal's size, biases and statistics as a training leaves them."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        if parameter.requires_grad and parameter.ndim > 1:
            std = gain * math.sqrt(2 / math.prod(parameter.shape[1:]))
            parameter.normal_(0, std, generator=generator)
        elif parameter.requires_grad:
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)


@torch.no_grad()
def compare(name: str, public: Path) -> Parity | str:
    """What was found, or why the program does not run here."""
    torch.set_num_threads(1)
    try:
        program = getattr(programs, name)(public)
    except (FileNotFoundError, ModuleNotFoundError) as error:
        return str(error)
    method, size, gain = ROWS[name]
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mask = torch.zeros(1, 1, size, size)
    mask[..., 9 * size // 32 : 23 * size // 32, 9 * size // 32 : 23 * size // 32] = 1  # all that 56 px of 128 are
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        theirs, ours, back = (Path(folder) / file for file in ("theirs.pth", "ours.ckpt", "back.pth"))
        program.network.eval()
        randomise(program.network, gain, 0)
        torch.save(program.file(), theirs)
        import_weights([method, str(theirs), "--out", str(ours)])
        own = program.ours(load_method(ours))(image, mask)
        imported = program.complete(image, mask)
        export([str(ours), "--format", "official", "--out", str(back)])
        randomise(program.network, gain, 1)
        program.load(torch.load(back, weights_only=True))
        exported = program.complete(image, mask)
    return Parity((imported - own).abs().max().item(), (exported - own).abs().max().item(), own.std().item())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", help="only these rows of the table")
    parser.add_argument("--training", action="store_true", help="compare training steps and samplers")
    parser.add_argument("--public", type=Path, required=True, help="folder with checkouts of the published code")
    a = parser.parse_args()
    names = table.names() if a.training else list(ROWS)
    if unknown := set(a.programs) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; allowed: {', '.join(names)}")
    if a.training:
        return table.main(a.programs, a.public)
    failed = []
    print("| program | method | side | after import | after export | deviation of the output |")
    print("|---|---|---|---|---|---|")
    for name in a.programs or ROWS:
        found, row = in_a_fresh_process(compare, name, a.public), ROWS[name]
        if isinstance(found, str):
            print(f"| {name} | {row.method} | {row.size} | not run: {found} |", flush=True)
            continue
        cells = f"{found.imported:.1e} | {found.exported:.1e} | {found.deviation:.2f}"
        print(f"| {name} | {row.method} | {row.size} | {cells} |", flush=True)
        if not (found.imported <= TOLERANCE and found.exported <= TOLERANCE and found.deviation > FLAT):
            failed.append(name)
    if failed:
        print(f"beyond {TOLERANCE:g}, or so flat that it shows nothing: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
