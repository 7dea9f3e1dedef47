"""``lit-inpaint methods``: list all methods, show one in full, measure its memory."""

import inspect
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TypedDict

import yaml

from experiments.catalogue import options
from experiments.catalogue.configs import first_sentence
from experiments.catalogue.docstring import reflow, wrap
from experiments.files.find import INSTALLED
from lit_inpaint import methods, plugins, zoo
from lit_inpaint.backbones import BACKBONES, BackboneMissingError, backbone
from lit_inpaint.classes import is_method, method_class
from lit_inpaint.memory import without_memory
from lit_inpaint.method import Method, parameter_counts
from lit_inpaint.stage import Stage
from masks.nearest import nearest


class Description(TypedDict):
    """One method, as ``--json`` prints it."""

    name: str
    class_path: str
    year: int
    paper: str
    networks: dict[str, int]  # by name, their parameters
    trainable: bool
    stages: list[str]
    needs: list[str]
    imports: list[str]
    exports: list[str]
    sources: list[str]  # what pretrained weights it takes from elsewhere, by its arguments
    summary: str


def describe() -> list[Description]:
    """One row per method, oldest first; networks are counted on the meta device, without allocating memory."""
    rows = [_describe(cls) for cls in classes().values() if issubclass(cls, Method)]
    return sorted(rows, key=_age)


def _age(row: Description) -> tuple[int, str]:
    return row["year"], row["name"]


def _networks(cls: type[Stage] | type[Method]) -> dict[str, int]:
    """Parameters of its networks; none of a class without defaults, whose extra is not installed, or that fails."""
    with suppress(Exception):
        return parameter_counts(without_memory(cls))
    return {}


def _describe(cls: type[Method]) -> Description:
    stages = list(cls.stages.values())
    summary = (inspect.getdoc(cls) or "").split("\n")[0]
    return {
        "name": cls.__name__,
        "class_path": f"{cls.__module__}.{cls.__qualname__}",
        "year": getattr(cls, "year", 0),  # one from outside need not have a paper
        "paper": getattr(cls, "paper", summary),
        "networks": _networks(cls),
        "trainable": cls.trainable,
        "stages": [stage.__name__ for stage in stages],
        "needs": sorted({need for part in (cls, *stages) for need in part.needs}),
        "imports": list(cls.imports),
        "exports": list(cls.exports),
        "sources": list(cls.needed.values()),
        "summary": summary,
    }


def classes() -> dict[str, type[Stage] | type[Method]]:
    """The methods of the package, those from outside, and their stages by name."""
    found: dict[str, type[Stage] | type[Method]] = {name: getattr(methods, name) for name in methods.__all__}
    for cls in filter(is_method, plugins.load("methods")):
        found.setdefault(cls.__name__, cls)
    for cls in list(found.values()):
        if issubclass(cls, Method):
            found |= {stage.__name__: stage for stage in cls.stages.values()}
    return found


def published(names: set[str]) -> Iterator[tuple[str, str, str]]:
    """(config, class, first sentence of its comment) of every installed run of one of the classes ``names``."""
    for path in sorted(INSTALLED.rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        config = yaml.safe_load(text)
        model = config.get("model") if isinstance(config, dict) else None
        name = str(model.get("class_path", "")).rpartition(".")[2] if isinstance(model, dict) else ""
        if name in names:
            yield str(path.relative_to(INSTALLED).with_suffix("")), name, first_sentence(text)


def _trained_by(row: Description) -> str:
    if row["stages"]:
        return f"assembled from {', '.join(row['stages'])}"
    if row["trainable"]:
        return "trained by fit"
    if row["sources"]:
        return "pretrained, not trained here"
    return "released weights, not trained" if row["imports"] else "nothing to train"


def _weights_line(row: Description) -> str:
    parts = (("needs", row["needs"]), ("reads", [*row["imports"], *row["sources"]]), ("writes", row["exports"]))
    return "; ".join(f"{word} {', '.join(names)}" for word, names in parts if names)


def list_all(rows: list[Description], width: int) -> Iterator[str]:
    for row in rows:
        yield f"{row['year']}  {row['name']:<15} {_trained_by(row)}"
        networks = ", ".join(f"{name}\xa0{count:,}" for name, count in row["networks"].items())
        for line in (row["paper"], networks, _weights_line(row)):
            yield from wrap(line, width, " " * 6, " " * 8)
    yield from _zoo(width, None)
    yield ""
    yield from wrap(
        "Numbers are parameter counts; needs: backbones used in published training; reads: import-weights; writes: "
        "export. `lit-inpaint methods NAME` shows one in full, `--memory` beside it measures a training step.",
        width,
    )


def show(cls: type[Stage] | type[Method], width: int) -> Iterator[str]:
    """Everything about one method or stage."""
    if issubclass(cls, Method):
        row = _describe(cls)
        yield f"{cls.__name__} ({row['year']}): {_trained_by(row)}"
        yield from wrap(row["paper"], width)
        networks, stages, needs = row["networks"], row["stages"], row["needs"]
        reads, writes = [*row["imports"], *row["sources"]], row["exports"]
    else:
        stages, needs, reads, writes = [], sorted(cls.needs), [], []
        yield f"{cls.__name__}: a stage, trained by fit"
        networks = _networks(cls)
    yield ""
    yield from reflow(cls, width)
    yield from ["", "Parameters", *(f"  {name:<22} {count:>13,}" for name, count in networks.items() or [("none", 0)])]
    yield from ["", "Weights"]
    for word, formats in (("reads", reads), ("writes", writes)):
        yield from wrap(f"{word:<8} {', '.join(formats) or 'none'}", width, "  ", " " * 11)
    for need in needs:
        yield from wrap(f"needs    {need}: {where(need)}", width, "  ", " " * 11)
    yield from _zoo(width, cls.__name__)
    runs = list(published({cls.__name__, *stages}))
    fitted = getattr(cls, "trainable", True) or stages
    how = "fit --config NAME" if fitted else "benchmark PROTOCOL --methods NAME.yaml"
    yield from ["", f"Published settings (`lit-inpaint {how}`)"]
    for config, name, sentence in runs:
        about = sentence if name == cls.__name__ else f"{name}: {sentence}"
        yield from wrap(f"{config}: {about}", width, "  ", " " * 6)
    if not runs:
        yield "  none"


def _zoo(width: int, method: str | None) -> Iterator[str]:
    """Trained networks that come with the package, of one method or of all; nothing where there are none."""
    shown = [
        f"{zoo.PREFIX}{name}: " + (card if isinstance(card, str) else f"{card.title}, {card.parameters:,} parameters")
        for name, card in zoo.cards()
        if method is None or isinstance(card, str) or card.method == method
    ]
    yield from ["", "Trained, in the package"] if shown else []
    for line in shown:
        yield from wrap(line, width, "  ", " " * 6)


def _show_card(name: str, width: int) -> Iterator[str]:
    """What an entry of the zoo is, and its rows of the table."""
    card = zoo.card_of(name)
    yield f"{zoo.PREFIX}{name}: {card.method}, {card.parameters:,} parameters, {card.weights} weights, float16"
    seed = f", seed {card.seed}" if card.seed is not None else ""
    seen = f", {card.images_seen:,} images seen" if card.images_seen else ""
    yield from wrap(f"{card.title}{seen}{seed}", width)
    for row in card.rows:
        under = f"{row.protocol}{f', {row.mask}' if row.mask else ''} ({row.hash[:8]})"
        numbers = [f"{m} {n.float16:.4f} ({n.float32:.4f} in float32, n = {n.n})" for m, n in row.metrics.items()]
        sampler = f", {' '.join(row.sampler)}" if row.sampler else ""
        yield from wrap(f"{under}{sampler}: {'; '.join(numbers)}", width, "  ", " " * 6)


def where(need: str) -> str:
    """Where a backbone lies on this machine, or how to get it."""
    if need not in BACKBONES:
        return "a file that an argument above names"
    try:
        return f"{backbone(need)}"
    except BackboneMissingError as error:
        return str(error)


def _own(path: str) -> type[Stage] | type[Method]:
    """A method or a stage as ``package.module.Name``."""
    with suppress(ValueError):
        if isinstance(found := plugins.find(path), type) and issubclass(found, Stage):
            return found
    return method_class(path)


def main(argv: list[str]) -> int:
    a = options.methods().parse_intermixed_args(argv)
    known = classes()
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    if a.arguments and not a.memory:
        raise ValueError(f"{' '.join(a.arguments)}: only --memory takes arguments of the class; add it, or omit them.")
    if (entry := zoo.entry(a.name)) is not None:
        if a.memory:
            raise ValueError(f"--memory measures a training step: give the class, {zoo.card_of(entry).method}.")
        print(zoo.card_of(entry).text() if a.json else "\n".join(_show_card(entry, width)))
        return 0
    if a.name and "." in a.name:
        known[a.name] = _own(a.name)
    if a.name and a.name not in known:
        raise ValueError(f"there is no method '{a.name}'. {nearest(a.name, known)}")
    if a.memory:
        from experiments.catalogue.memory import report

        if not a.name:
            raise ValueError("--memory measures one method: give its name.")
        lines: Iterable[str] = report(known[a.name], a.arguments, a.size, a.batch_size)
    elif a.json:
        shown = [known[a.name]] if a.name else classes().values()
        rows = [_describe(cls) for cls in shown if issubclass(cls, Method)]
        json.dump(sorted(rows, key=_age), sys.stdout, indent=1)
        lines = [""]
    else:
        lines = show(known[a.name], width) if a.name else list_all(describe(), width)
    for line in lines:
        print(line)
    return 0
