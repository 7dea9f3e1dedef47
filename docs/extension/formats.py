"""Reference of protocols, metrics and files, from the definitions that the program reads."""

import dataclasses
import re
import textwrap
from types import ModuleType
from typing import Any, get_type_hints

from docs.extension.settings import about, table
from experiments.evaluate import protocol
from experiments.evaluate.kit import Index
from experiments.evaluate.laws import masks_of
from experiments.files.find import INSTALLED
from experiments.files.read import read_yaml
from experiments.records.record import Bucket, MethodFacts, MetricResult, ProtocolFacts, PublishedRow, Record
from experiments.study.file import File, Method, Training
from lit_inpaint import metrics
from lit_inpaint.backbones import BACKBONES
from lit_inpaint.zoo import Card, CardRow, Number

FILES = {  # heading: what it is, its classes
    "Record": (
        "`OUT/records/PROTOCOL-HASH/LABEL.json`, written by `benchmark`, `protocol score` and `experiments.evaluate`.",
        (Record, ProtocolFacts, MethodFacts, MetricResult, Bucket, PublishedRow),
    ),
    "Kit": ("`index.json` of `protocol export`: images, masks and hashes for another program.", (Index,)),
    "Zoo card": ("`NAME.json` of a network of [the zoo](../zoo.md).", (Card, CardRow, Number)),
    "Study": (
        "The YAML of `lit-inpaint study` ([studies](../studies.md)). `like: STUDY` takes every key that it lacks "
        "from another one.",
        (File, Method, Training),
    ),
}


def pages() -> dict[str, str]:
    return {"protocols.md": _protocols(), "metrics.md": _metrics(), "files.md": _files()}


def _protocols() -> str:
    rows = []
    for path in sorted((INSTALLED / "protocols").glob("*.yaml")):
        config = read_yaml(path)
        masks = ", ".join(f"`{name}`" for name in masks_of(config, path) if name) or "one"
        name = f"[`{path.stem}`](#config-protocols-{path.stem})"
        rows.append((name, str(config.get("about", "")), str(config["size"]), masks))
    text = ["# Protocols", ""]
    text += ["A protocol is a list of images, masks, a resolution and metric definitions; its hash stands beside every"]
    text += ["number. `lit-inpaint protocol show NAME` prints the hash for your images. Cite name and hash, as in"]
    text += ['"PSNR under lit-inpaint\'s protocol `repaint`, hash 0123456789abcdef".', ""]
    text += table(["protocol", "what it is", "px", "masks"], rows)
    text += [
        "## Keys of a protocol",
        "",
        "A YAML of your own holds `name`, `size`, `metrics`, and what it needs of the rest:",
        "",
    ]
    return "\n".join([*text, "```yaml", _example(protocol), "```", ""])


def _example(module: ModuleType) -> str:
    """The indented block of a module's docstring.

    >>> _example(protocol).splitlines()[0].split()[:2]
    ['name:', 'repaint']
    """
    lines = (module.__doc__ or "").splitlines()
    return textwrap.dedent("\n".join(line for line in lines if line.startswith("    ")))


def _metrics() -> str:
    rows = []
    for name in metrics.NAMES:
        found = metrics.metric(name)
        quantity = found.quantity
        better = {True: "higher", False: "lower", None: ""}[quantity.higher_is_better]
        needs = ", ".join(filter(None, [found.backbone and f"`{found.backbone}`", found.package and "extra `metrics`"]))
        rows.append((f"`{name}`", better, quantity.unit, needs, found.definition))
    text = ["# Metrics", ""]
    text += [
        "Names state definitions; a definition that changes gets a new number ([how papers differ](../metrics.md)).",
        "",
    ]
    text += table(["metric", "better", "unit", "needs", "definition"], rows)
    backbones = [
        (f"`{name}`", f"`{known.file}`", f"`{known.sha256[:16] or 'not checked'}`") for name, known in BACKBONES.items()
    ]
    return "\n".join(
        [*text, "## Backbones", "", *table(["name", "file in `LIT_INPAINT_WEIGHTS`", "sha256"], backbones)]
    )


def _files() -> str:
    text = ["# Files", ""]
    text += ["Fields of the files that are written for other programs and for you, from the classes that read them."]
    text += [
        "What lies where in the folder of [a run](../training.md#the-run-folder), [a sweep](../sweeps.md#outputs),"
    ]
    text += ["[a study](../studies.md#killed-failed-changed) and [a kit](../outputs.md#export) is on their pages.", ""]
    for heading, (what, classes) in FILES.items():
        text += [f"## {heading}", "", what, ""]
        for cls in classes:
            rows = [(f"`{name}`", f"`{kind}`", default, meaning) for name, kind, default, meaning in fields(cls)]
            text += [f"### {cls.__name__}", "", *table(["field", "type", "default", "meaning"], rows)]
    return "\n".join(text)


def fields(cls: Any) -> list[tuple[str, str, str, str]]:
    """(name, type, default, meaning) of what a file of this class holds."""
    said, types, found = about(cls), get_type_hints(cls), []
    for field in dataclasses.fields(cls):
        if field.name == "path":
            continue
        kind = types[field.name]
        kind = kind.__name__ if isinstance(kind, type) else str(kind)
        default = "required"
        if field.default is not dataclasses.MISSING:
            default = f"`{'null' if field.default is None else field.default}`" if field.default != "" else "empty"
        elif field.default_factory is not dataclasses.MISSING:
            default = f"`{field.default_factory()}`" if field.default_factory() else "empty"
        found.append((field.name, re.sub(r"\b(?:\w+\.)+(?=\w)", "", kind), default, said.get(field.name, "")))
    return found
