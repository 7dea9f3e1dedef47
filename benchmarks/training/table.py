"""What ``benchmarks.parity --training`` prints: docs/parity.md explains the columns and names the variants."""

import contextlib
import importlib
import io
import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from benchmarks.training.steps import Pair, Trace, ours, quiet, settled, theirs, wide

ROLES = ("generator", "discriminator")
TOLERANCE, LATER = 1e-4, 1e-2  # after one step, and after three
# Functions of the files of this folder. What differs in VARIANTS, and why, docs/parity.md says.
PAIRS = {
    "gans": ("pathak22", "boyuanjiang", "nipponjo", "nipponjo_tf", "aotgan"),
    "otenim": ("otenim",),
    "mmagic": ("mmagic_gl", "mmagic_aot"),
    "mmagic_deepfill": ("mmagic_deepfillv1", "mmagic_deepfillv2"),
    "daa233": ("daa233",),
    "jiahuiyu_v1": ("jiahuiyu_v1",),
    "jiahuiyu": ("jiahuiyu", "jiahuiyu_sketch"),
    "partial_conv": ("naoto0804",),
    "lama": ("lama",),
    "ict": ("ict_transformer", "ict_upsampler"),
    "dsi": ("dsi_vqvae", "dsi_structure", "dsi_texture"),
    "diffusion": ("guided_diffusion", "guided_diffusion_importance"),
    "palette": ("janspiry",),
}
VARIANTS = {
    "gans": ("nipponjo_in_place", "aotgan_fresh"),
    "mmagic": ("mmagic_aot_own", "mmagic_pconv"),
    "mmagic_deepfill": ("mmagic_deepfillv1_own", "mmagic_deepfillv2_own"),
    "daa233": ("daa233_own",),
    "jiahuiyu_v1": ("jiahuiyu_v1_shared",),
    "jiahuiyu": ("jiahuiyu_shared", "jiahuiyu_fresh"),
    "partial_conv": ("naoto0804_bias", "naoto0804_tv", "naoto0804_pixels"),
    "lama": ("lama_train_mode",),
    "ict": ("ict_transformer_tokens",),
}
# Rows again with the vectors of all spectral norms at their fixed point before every step, on both sides.
CONTROLS = {
    "gans": ("aotgan",),
    "mmagic": ("mmagic_aot",),
    "mmagic_deepfill": ("mmagic_deepfillv2",),
    "jiahuiyu": ("jiahuiyu", "jiahuiyu_sketch"),
    "dsi": ("dsi_texture",),
}
OUTPUTS = {"outputs": ("lama_refinement", "dsi_sampling"), "palette": ("janspiry_restoration",)}


class Row(NamedTuple):
    method: str
    terms: dict[str, tuple[float, float]]  # published, ours
    gradients: dict[str, float]
    first: dict[str, float]  # of the updates after one step
    last: dict[str, float]  # after three
    lacking: list[str]  # parameters of ours that are 0 or absent in the program


def relative(a: list[Tensor], b: list[Tensor]) -> float:
    """||a - b|| / ||b|| of all tensors together."""
    squares = sum(float((x - y).square().sum()) for x, y in zip(a, b, strict=True))
    return (squares / max(sum(float(y.square().sum()) for y in b), 1e-300)) ** 0.5


def _updates(a: Trace, b: Trace, step: int, names: list[str]) -> float:
    return relative(*([t.states[step][n] - t.states[0][n] for n in names] for t in (a, b)))


def made(family: str, name: str, public: Path) -> Any:
    return getattr(importlib.import_module(f"benchmarks.training.{family}"), name)(public)


def beside(family: str, name: str, public: Path, control: bool = False) -> Row | str:
    """What was found, or why the program does not run here."""
    quiet(1)
    with wide(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            pair: Pair = made(family, name, public)
        except (FileNotFoundError, ModuleNotFoundError) as error:
            return str(error)
        pair = settled(pair) if control else pair
        published = theirs(pair)
        own = ours(pair, published.states[0])
    lacking = {n for n in own.gradients if not any(t[n].any() for t in published.states if n in t)}
    named = [n for n in own.gradients if n not in lacking]
    by_role = {role: [n for n in named if n.startswith("discriminator") == (role == ROLES[1])] for role in ROLES}
    by_role = {role: names for role, names in by_role.items() if names}
    moved = {role: [*names, *(pair.buffers if role == ROLES[0] else ())] for role, names in by_role.items()}
    variant = pair.ours.hparams.get("variant")
    return Row(
        type(pair.ours).__name__ + (f" {variant}" if variant else ""),
        {k: (v, own.terms[k]) for k, v in published.terms.items()},
        {r: relative(*([t.gradients[n] for n in ns] for t in (own, published))) for r, ns in by_role.items()},
        {r: _updates(own, published, 1, ns) for r, ns in moved.items()},
        {r: _updates(own, published, 3, ns) for r, ns in moved.items()},
        sorted(lacking),
    )


def difference(family: str, name: str, public: Path) -> tuple[float, float] | str:
    """Largest difference of two outputs, and their standard deviation."""
    quiet(1)
    with wide(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            published, own = made(family, name, public)
        except (FileNotFoundError, ModuleNotFoundError) as error:
            return str(error)
    return float((published - own).abs().max()), float(published.std())


def _in_a_fork(function: Callable[..., Any], *arguments: Any) -> Any:
    """Programs name their modules alike, so each runs in a process of its own."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=lambda: send.send(function(*arguments)))
    process.start()
    send.close()
    try:
        return receive.recv()
    except EOFError:
        return "its process died; its traceback stands above"
    finally:
        process.join()


def _cells(row: Row) -> list[str]:
    worst = max((abs(a - b) / max(abs(a), 1e-12) for a, b in row.terms.values()), default=0.0)
    numbers = [part.get(role) for part in (row.gradients, row.first, row.last) for role in ROLES]
    return [f"{len(row.terms)}: {worst:.0e}", *("-" if x is None else f"{x:.0e}" for x in numbers)]


def names() -> list[str]:
    return [name for kind in (PAIRS, VARIANTS, OUTPUTS) for programs in kind.values() for name in programs]


def _chosen(kind: dict[str, tuple[str, ...]], only: list[str]) -> Iterator[tuple[str, str]]:
    yield from ((family, n) for family, programs in kind.items() for n in programs if not only or n in only)


def _steps(chosen: Iterator[tuple[str, str]], public: Path, control: bool = False) -> Iterator[tuple[str, Row]]:
    print("| program | method | loss terms | gradient G | D | 1 step G | D | 3 steps G | D |\n|" + "---|" * 9)
    for family, name in chosen:
        found = _in_a_fork(beside, family, name, public, control)
        if isinstance(found, str):
            print(f"| {name} | not run: {found} |", flush=True)
            continue
        print(f"| {name} | {found.method} | {' | '.join(_cells(found))} |", flush=True)
        yield name, found


def main(only: list[str], public: Path) -> bool:
    """Print the tables; returns whether a row that is no named variant is beyond what is allowed."""
    failed, terms = [], []
    for name, row in _steps(_chosen(PAIRS, only), public):
        if not (max(*row.gradients.values(), *row.first.values()) <= TOLERANCE and max(row.last.values()) <= LATER):
            failed.append(name)
        terms += [f"| {name} | {term} | {a:.7g} | {b:.7g} |" for term, (a, b) in row.terms.items()]
    print("\ncontrol: spectral norms settled before every step")
    for name, row in _steps(_chosen(CONTROLS, only), public, control=True):
        failed += [f"{name} (control)"] if max(*row.first.values(), *row.last.values()) > TOLERANCE else []
    print("\nnamed variants")
    for _ in _steps(_chosen(VARIANTS, only), public):
        pass
    print("\n| program | largest difference | deviation of the output |\n|---|---|---|")
    for family, name in _chosen(OUTPUTS, only):
        found = _in_a_fork(difference, family, name, public)
        if isinstance(found, str):
            print(f"| {name} | not run: {found} |", flush=True)
            continue
        print(f"| {name} | {found[0]:.0e} | {found[1]:.2f} |", flush=True)
        failed += [name] if found[0] > TOLERANCE else []
    print("\n| program | loss term of the first step | published | ours |\n|---|---|---|---|", *terms, sep="\n")
    if failed:
        print(f"\nbeyond {TOLERANCE:g} after one step or {LATER:g} after three: {', '.join(failed)}")
    return bool(failed)
