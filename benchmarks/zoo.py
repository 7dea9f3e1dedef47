"""The zoo: make an entry from a trained run, and measure the rows of every entry again (`make table`).

    python -m benchmarks.zoo add runs/AOTGAN-seed0/checkpoints/last.ckpt table1_64
    python -m benchmarks.zoo add runs/RePaint-seed0/checkpoints/last.ckpt table1_64 --sampler DDNM steps=50
    python -m benchmarks.zoo table

``add`` takes the networks that complete images, averaged where the checkpoint has averages, in float16; measures them
and the float32 ones under every mask of the protocol; and writes tensors and card into lit_inpaint/zoo. ``table``
measures the first 20 images of each row: to 1e-3 of the card, or for methods that sample, of which only the first mask
is measured, within the 95 % interval of these images. Metrics whose weights are not here are left out.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from experiments.evaluate import options
from experiments.evaluate.benchmark import jobs_of
from experiments.evaluate.job import Job
from experiments.evaluate.measure import evaluate
from experiments.files.read import Plain
from experiments.files.write import write_text
from experiments.records.intervals import mean_interval
from experiments.records.record import Record
from experiments.run import Run
from experiments.weights.push import is_path, texts
from lit_inpaint import zoo
from lit_inpaint.backbones import sha256
from lit_inpaint.load import built, hyper_parameters, load_method, read_checkpoint
from lit_inpaint.method import Method, completing

MOST, IN_ALL = 3_000_000, 10_000_000  # bytes of the tensors of an entry, of all files
FIRST = 20  # images that `table` measures again: as many as an interval needs
TOLERANCE = 1e-3
Rows = list[tuple[Job, Record]]


# ---- add ------------------------------------------------------------------------------------------------------------


def add(checkpoint: Path, protocol: str, out: Path, samplers: Sequence[Sequence[str]], more: Sequence[str] = ()) -> str:
    """Write the entry of a checkpoint; its name.

    Args:
        out: Folder for the records.
        samplers: A set of rows for each; none: the method's own.
        more: Further arguments of ``benchmark``, such as --masks.

    Raises:
        ValueError: It is too large, there already, or not measured in full.
    """
    content = read_checkpoint(checkpoint)
    configs = dict(_configs(checkpoint))
    trained_on = next((config["data"] for config in configs.values()), None)
    if trained_on is None:
        raise ValueError(
            f"{checkpoint} lies in no folder of a run, so that its card cannot say what it was trained on."
        )
    words, size = _spaced(trained_on["class_path"]), trained_on["init_args"]["image_size"]
    name = f"{content['method']}_{words.replace(' ', '_')}{size}"
    if name in zoo.names():
        raise ValueError(f"{zoo.FOLDER / name} is there already; delete its two files first if it is to be replaced.")
    for argument, value in hyper_parameters(content).items():
        if any(map(is_path, texts(value))):
            raise ValueError(f"the argument {argument} of {checkpoint} holds a path of this machine, {value!r}.")
    with tempfile.TemporaryDirectory(prefix="lit-inpaint-zoo-") as temporary:
        folder = Path(temporary)
        method = built(content, checkpoint)
        state, parameters = _halved(method, checkpoint), _parameters(method)
        save_file(state, folder / f"{name}{zoo.TENSORS}")
        _refuse_large(name, folder / f"{name}{zoo.TENSORS}", parameters)
        card = zoo.Card(
            title=f"{content['method']} trained at {size} px on {words} by this project",
            method=content["method"],
            module=content["module"],
            hyper_parameters=hyper_parameters(content),
            weights="ema" if content.get("ema") else "raw",
            seed=next((run.seed for run in _runs(checkpoint)), None),
            images_seen=_images_seen(content),
            parameters=parameters,
            config=configs,
            rows=[],
            checkpoint_sha256=sha256(checkpoint),
            file_sha256=sha256(folder / f"{name}{zoo.TENSORS}"),
        )
        write_text(folder / f"{name}{zoo.CARD}", card.text())
        rows = [
            row for sampler in samplers or [[]] for row in _rows(name, checkpoint, folder, protocol, out, sampler, more)
        ]
        write_text(folder / f"{name}{zoo.CARD}", replace(card, rows=rows).text())
        for suffix in (zoo.TENSORS, zoo.CARD):  # the card last: it makes the entry
            (zoo.FOLDER / f"{name}{suffix}").write_bytes((folder / f"{name}{suffix}").read_bytes())
    zoo.card_of(name)
    return name


def _parameters(method: Method) -> int:
    """How many complete images; running statistics are none."""
    return sum(parameter.numel() for parameter in completing(dict(method.named_parameters())).values())


def _halved(method: Method, checkpoint: Path) -> dict[str, torch.Tensor]:
    """The tensors that complete images, as evaluation uses them, in float16.

    Raises:
        ValueError: A value is too large for it.
    """
    state = completing(method.state_dict())
    halved = {key: value.half().contiguous() if value.is_floating_point() else value for key, value in state.items()}
    for key, value in halved.items():
        if not torch.isfinite(value).all():
            largest = state[key].abs().max()
            raise ValueError(
                f"{key} of {checkpoint} holds {largest:g}; float16 ends at 65504. It cannot be in the zoo."
            )
    return halved


def _refuse_large(name: str, path: Path, parameters: int) -> None:
    size = path.stat().st_size
    there = sum(file.stat().st_size for file in zoo.FOLDER.iterdir() if file.suffix in (zoo.TENSORS, zoo.CARD))
    if size > MOST:
        raise ValueError(
            f"{name} has {parameters:,} parameters, {size / 1e6:.2f} MB in float16; an entry of the zoo has at most "
            f"{MOST / 1e6:.0f} MB. Train a narrower one: at most {MOST // 2 / 1e6:.1f} M parameters complete the image."
        )
    if there + size > IN_ALL:
        raise ValueError(
            f"{name} has {size / 1e6:.2f} MB and the zoo {there / 1e6:.2f} MB; all of it may have "
            f"{IN_ALL / 1e6:.0f} MB. Delete an entry first."
        )


def _rows(
    name: str, checkpoint: Path, folder: Path, protocol: str, out: Path, sampler: Sequence[str], more: Sequence[str]
) -> Iterator[zoo.CardRow]:
    """The rows with both weights; the entry is read from ``folder``."""
    here, zoo.FOLDER = zoo.FOLDER, folder
    try:
        label = "-".join([name, *sampler]).replace("=", "_")
        methods = [f"{label}={checkpoint}", f"{label}-float16={zoo.PREFIX}{name}"]
        found = list(measured(protocol, out, methods, sampler, more))
    finally:
        zoo.FOLDER = here
    limit = next((int(word.partition("=")[2]) for word in more if word.startswith("--limit=")), None)
    for (job, whole), (_, half) in zip(found[::2], found[1::2], strict=True):
        if job.left_out or whole.not_applicable or half.not_applicable:
            reason = whole.not_applicable or half.not_applicable or "; ".join(job.left_out.values())
            raise ValueError(f"{name} under {job.protocol.name}: {reason}. The card needs every number.")
        numbers = {metric: _number(whole, half, metric) for metric in whole.metrics}
        mask = job.protocol.mask_name or None
        yield zoo.CardRow(
            protocol=protocol, mask=mask, hash=whole.hash, limit=limit, sampler=[*sampler], metrics=numbers
        )


def _number(whole: Record, half: Record, metric: str) -> zoo.Number:
    one, other = whole.metrics[metric], half.metrics[metric]
    first = {image: value for image, value in [*other.values.items()][:FIRST] if value is not None}
    assert one.mean is not None and other.mean is not None, "a row without a number is refused before"
    return zoo.Number(float32=one.mean, float16=other.mean, interval=other.interval, n=other.n, first=first)


def measured(
    protocol: str, out: Path, methods: Sequence[str], sampler: Sequence[str], more: Sequence[str] = ()
) -> Iterator[tuple[Job, Record]]:
    words = [protocol, "--out", str(out), "--no-pictures", *more, *(["--sampler", *sampler] if sampler else [])]
    for job in jobs_of(options.benchmark().parse_args([*words, "--methods", *methods])):
        print(f"{job.label} under {job.protocol.name} ...", flush=True)
        yield job, evaluate(job)


def _runs(checkpoint: Path) -> list[Any]:
    """The history of the run of a checkpoint, or of each stage's beside an assembled one."""
    run = Run.of(checkpoint)
    found = [run] if run else [Run(folder) for folder in sorted(checkpoint.parent.iterdir()) if folder.is_dir()]
    return [one.history for one in found if one.exists]


def _configs(checkpoint: Path) -> Iterator[tuple[str, Plain]]:
    """By name of the run: model, data and length of the training, without what names a place on this machine."""
    for run in _runs(checkpoint):
        trainer = run.config.get("trainer", {})
        said = {key: run.config.get(key) for key in ("model", "data", "seed_everything")}
        yield run.label, _portable({**said, "max_steps": trainer.get("max_steps")})


def _portable(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {
            str(key): one
            for key, one in value.items()
            if isinstance(one, dict | list) or not any(map(is_path, texts(one)))
        }
        return {key: _portable(one) for key, one in kept.items()}
    return [_portable(one) for one in value] if isinstance(value, list) else value


def _images_seen(content: dict[str, Any]) -> int | None:
    states = [state for key, state in content.get("callbacks", {}).items() if key.startswith("Throughput")]
    return int(states[0]["images_seen"]) if states else None


def _spaced(class_path: str) -> str:
    """
    >>> _spaced("datamodules.DrawnFaces")
    'drawn faces'
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", class_path.rpartition(".")[2]).lower()


# ---- table ----------------------------------------------------------------------------------------------------------


def table(out: Path) -> list[str]:
    """Measure the first images of every row again; a line for each number that is not the card's."""
    wrong: list[str] = []
    left_out: dict[str, str] = {}
    for name, card in zoo.cards():
        if isinstance(card, str):
            wrong.append(card)
            continue
        sampled = load_method(f"{zoo.PREFIX}{name}").diverse
        seen: set[tuple[str, ...]] = set()
        for row in card.rows:
            key = (row.protocol, *row.sampler)
            if not (sampled and key in seen):
                wrong += _differences(name, row, sampled, out, left_out)
            seen.add(key)
    for metric, reason in left_out.items():
        print(f"{metric} was left out: {reason}")
    return wrong


def _differences(name: str, row: zoo.CardRow, sampled: bool, out: Path, left_out: dict[str, str]) -> Iterator[str]:
    under = f"{zoo.PREFIX}{name} under {row.protocol}{f', {row.mask}' if row.mask else ''}"
    masks = [f"--masks={row.mask}"] if row.mask else []
    method = f"{'-'.join([name, *row.sampler]).replace('=', '_')}={zoo.PREFIX}{name}"
    of_row = [row.protocol, "--out", str(out), *masks, *([f"--limit={row.limit}"] if row.limit else [])]
    of_row += ["--sampler", *row.sampler] if row.sampler else []
    (job,) = jobs_of(options.benchmark().parse_args([*of_row, "--methods", method]))
    if (now := job.protocol.hash) != row.hash:
        yield f"{under}: the card is of the protocol {row.hash[:8]}, which is {now[:8]} now; make the entry again."
        return
    ((job, record),) = measured(row.protocol, out, [method], row.sampler, [*masks, f"--limit={FIRST}"])
    if record.not_applicable:
        yield f"{under}: {record.not_applicable}"
        return
    left_out |= job.left_out
    for metric, number in row.metrics.items():
        values = record.metrics[metric].values if metric in record.metrics else {}
        both = [(number.first[image], v) for image, v in values.items() if v is not None and image in number.first]
        if both:
            expected, found = (float(np.mean(column)) for column in zip(*both, strict=True))
            bounds = mean_interval([value for value, _ in both]) if sampled else None
            low, high = bounds or (expected - TOLERANCE, expected + TOLERANCE)
            said = f"{metric} {found:.4f}, the card has {expected:.4f} [{low:.4f}, {high:.4f}]"
            print(f"  {said}, n = {len(both)}")
            if not low <= found <= high:
                yield f"{under}: {said}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="zoo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, dest="command")
    p = commands.add_parser("add")
    p.add_argument("checkpoint", type=Path)
    p.add_argument("protocol")
    p.add_argument("--sampler", nargs="+", action="append", default=[], help="repeat it for rows of several samplers")
    p.add_argument("--masks", nargs="+", default=[])
    p.add_argument("--limit", type=int)
    for command in (p, commands.add_parser("table")):
        command.add_argument("--out", type=Path, default=Path("runs/zoo"), help="folder of the records")
    a = parser.parse_args(argv)
    try:
        if a.command == "add":
            more = [*(["--masks", *a.masks] if a.masks else []), *([f"--limit={a.limit}"] if a.limit else [])]
            name = add(a.checkpoint, a.protocol, a.out, a.sampler, more)
            print(f"{zoo.PREFIX}{name}: {(zoo.FOLDER / f'{name}{zoo.TENSORS}').stat().st_size / 1e6:.2f} MB")
            return 0
        if not zoo.names():
            print("The zoo is empty: there is no row to measure.")
            return 0
        wrong = table(a.out)
    except ValueError as error:
        print(f"zoo: {error}", file=sys.stderr)
        return 2
    print("\n".join(wrong) if wrong else "Every number is that of its card.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
