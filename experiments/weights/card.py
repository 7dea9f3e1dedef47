"""The model card of a repository of the Hub, written from the records of its checkpoint."""

from collections.abc import Sequence
from typing import Any

import yaml

from experiments.records.record import MetricResult, Record
from lit_inpaint.hub import Address, Config
from lit_inpaint.method import parameter_counts
from lit_inpaint.metrics import quantity
from lit_inpaint.module import InpaintingModule
from masks.size import by_name


def card(
    at: Address, config: Config, method: InpaintingModule, records: Sequence[Record], license_: str, data: str | None
) -> str:
    """README.md: what the method is, under which licence, how to use it, and one table per protocol."""
    tags = {"license": license_, "library_name": "lit-inpaint", "pipeline_tag": "image-to-image"}
    head = yaml.safe_dump(tags | {"tags": ["inpainting", "image-inpainting", config.method]}, sort_keys=False)
    counts = ", ".join(f"{name} {count:,}" for name, count in parameter_counts(method).items())
    outside = not config.module.startswith("lit_inpaint.")
    flag = f" --import {config.module}" if outside else ""
    facts = [
        f"- Method: {config.method}" + (f" of the module `{config.module}`" if outside else f", {method.paper}"),
        f"- Parameters: {counts}",
        f"- Weights: {'averaged (EMA); raw.safetensors holds those before averaging' if config.averaged else 'raw'}",
        f"- Trained on: {data or 'not stated'}",
        *([f"- Images seen in training: {config.images_seen:,}"] if config.images_seen else []),
        f"- SHA-256 of the checkpoint: `{config.checkpoint_sha256}`",
    ]
    use = [
        "```console",
        "pip install 'lit-inpaint[hub]'",
        f"lit-inpaint inpaint --method {at} --image photo.png --mask hole.png --out filled.png{flag}",
        "```",
        "",
        "The mask is white in the hole. `model.safetensors` holds tensors, `config.json` the arguments of the class: "
        "nothing is unpickled and no code of this repository runs.",
    ]
    results = [line for record in records for line in _results(record)]
    parts = [f"# {at.name.partition('/')[2]}", *facts, "", "## Use", "", *use, *results]
    return f"---\n{head}---\n\n" + "\n".join(parts) + "\n"


def _results(record: Record) -> list[str]:
    protocol, images = record.protocol, len(record.hole_share)
    found = (protocol.data or {}).get("kinds")
    kinds = ", ".join(found) if isinstance(found, dict) else ""
    size: Any = protocol.definition.get("size")
    size = by_name(size) if isinstance(size, list) else size
    return [
        "",
        f"## Protocol {protocol.name}",
        "",
        *([protocol.about, ""] if protocol.about else []),
        f"- Hash of images, masks, size and metrics: `{record.hash}`; other hashes are not comparable",
        f"- Data: {images} images at {size} px" + (f", {kinds}" if kinds else ""),
        *([f"- Masks: `{protocol.mask}`"] if protocol.mask else []),
        *([f"- {record.adaptation}"] if record.adaptation else []),
        *([f"- {record.remark}"] if record.remark else []),
        "",
        "| metric | mean | 95 % interval | images |",
        "|---|---|---|---|",
        *(_row(name, metric) for name, metric in record.metrics.items() if metric.mean is not None),
    ]


def _row(name: str, metric: MetricResult) -> str:
    found = quantity(name)
    digits = found.decimals if found else 4
    unit = f", {found.unit}" if found and found.unit else ""
    low_high = " to ".join(f"{value:.{digits}f}" for value in metric.interval) if metric.interval else ""
    return f"| {name}{unit} | {metric.mean:.{digits}f} | {low_high} | {metric.n} |"
