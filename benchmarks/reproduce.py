"""How the published rows of each protocol are measured here: docs/reproduce.

    python -m benchmarks.reproduce                 # write the pages from the protocols, reproduce.yaml and the values
    python -m benchmarks.reproduce --run           # run what the pages say was run here, and keep its values
    python -m benchmarks.reproduce --public DIR    # look up every address in the file that gives it

Published values are those of ``experiments/configs/protocols``, digit for digit. ``benchmarks/reproduce.yaml`` adds
where the weights come from, the commands and what is known to differ; docs/results/reproduce.csv holds the means and
deviations of what was run here. DIR holds checkouts of the programs as OWNER+NAME (benchmarks/public.md).
"""

import argparse
import csv
import io
import math
import os
import re
import shlex
import shutil
import statistics
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from experiments.compare.numbers import number
from experiments.evaluate.benchmark import main as benchmark
from experiments.evaluate.laws import masks_of, rows_of
from experiments.files.find import INSTALLED
from experiments.files.read import read_yaml
from experiments.files.write import write_text
from experiments.records.files import read_record
from experiments.weights.imports import main as import_weights

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "reproduce"
RESULTS = ROOT / "docs" / "results"
VALUES = RESULTS / "reproduce.csv"
WORK = "runs/reproduce"
SOURCE = ROOT / "benchmarks" / "reproduce.yaml"
MIGAN = f"lit-inpaint import-weights MIGAN $LIT_INPAINT_WEIGHTS/migan_places2_512.pth --out {WORK}/migan.ckpt"
SHARES = ("p_ids", "u_ids")  # of images: their counting error is known
RAN = ("photos", "faces")  # folders of WORK
PHOTOGRAPHS = {  # what was measured, by the folder of WORK or of RESULTS
    "photos": "20 photographs of BSDS500",
    "faces": "20 synthetic faces",
    "urban100_repaint": "[100 photographs of Urban100](../results/urban100_repaint.md)",
    "photos256": "[100 photographs of BSDS500](../results/photos256.md)",
}
Facts = dict[str, Any]


class Row(NamedTuple):
    """One published row under one mask: the values as they are written in the protocol, and its entry in SOURCE."""

    mask: str
    label: str
    metrics: dict[str, str]
    source: str
    group: Facts
    entry: Facts

    @property
    def weights(self) -> str | None:
        """Name of the weights that are loaded for it here."""
        return self.entry.get("weights") or self.entry.get("nearest")


class Measured(NamedTuple):
    """One metric of one record, a line of VALUES: its mean, 95 % interval and standard deviation over the images."""

    images: str
    protocol: str
    hash: str
    method: str
    metric: str
    mean: float
    low: float
    high: float
    deviation: float


def source() -> Facts:
    return dict(read_yaml(SOURCE))


@cache
def published(name: str) -> dict[str, list[tuple[str, dict[str, str], str]]]:
    """By mask: label, values as text ("0.130") and source of every published row of a protocol."""
    path = INSTALLED / "protocols" / f"{name}.yaml"
    config = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # strings, digit for digit
    found = {}
    for mask, law in masks_of(config, path).items():
        rows = rows_of(config, mask, law)
        found[mask] = [(row.label, {k: str(v) for k, v in row.metrics.items()}, row.source) for row in rows]
    return {mask: rows for mask, rows in found.items() if rows}


def with_rows() -> list[str]:
    """The protocols that have published rows."""
    return [path.stem for path in sorted((INSTALLED / "protocols").glob("*.yaml")) if published(path.stem)]


def rows(name: str, facts: Facts) -> list[Row]:
    """Every published row of a protocol with its entry.

    Raises:
        ValueError: A row has no entry, or an entry no row.
    """
    entries = {
        label: (group, {"weights": entry} if isinstance(entry, str) else entry)
        for group in facts["protocols"][name]["groups"]
        for label, entry in group["rows"].items()
    }
    found = published(name)
    labels = {label for of_mask in found.values() for label, *_ in of_mask}
    if labels != set(entries):
        raise ValueError(f"{SOURCE.name}, {name}: {sorted(labels ^ set(entries))} stand in only one of the two files.")
    return [Row(mask, *row, *entries[row[0]]) for mask, of_mask in found.items() for row in of_mask]


# ---- tolerance -------------------------------------------------------------------------------------------------------


def half_unit(text: str) -> float:
    """Half of the last digit that was printed.

    >>> half_unit("0.130"), half_unit("12.8")
    (0.0005, 0.05)
    """
    return 0.5 * 10.0 ** -len(text.partition(".")[2])


def tolerance(text: str, deviation: float, n: int) -> float:
    """Two means over n images each, drawn apart, differ by less in 95 of 100 cases; and the printed value is rounded.

    >>> round(tolerance("0.045", deviation=0.06, n=100), 4)
    0.0171
    """
    return 1.96 * math.sqrt(2 / n) * deviation + half_unit(text)


def deviation(metric: str, text: str, measured: Sequence[Measured]) -> float | None:
    """Standard deviation over images: the largest of the methods run here; None for a metric of the whole set."""
    if metric in SHARES:
        share = float(text)
        return math.sqrt(share * (1 - share))
    return max((one.deviation for one in measured if one.metric == metric), default=None)


def with_tolerance(row: Row, metric: str, measured: Sequence[Measured]) -> str:
    text = row.metrics[metric]
    spread = deviation(metric, text, measured)
    return f"{text} ± {tolerance(text, spread, row.group['n']):.2g}" if spread is not None else text


# ---- what was run here -----------------------------------------------------------------------------------------------


def values(images: str, folder: Path) -> Iterator[Measured]:
    """What the records below ``folder`` say."""
    for path in sorted(folder.glob("records/*/*.json")):
        record = read_record(path)
        if record.label == "LaMa-faces64":  # far from its data
            continue
        for metric, found in record.metrics.items():
            if found.mean is not None and found.interval is not None:
                spread = statistics.stdev(value for value in found.values.values() if value is not None)
                row = (images, record.protocol.name, record.hash[:8], record.label, metric)
                yield Measured(*row, found.mean, *found.interval, spread)


def written(measured: Sequence[Measured]) -> str:
    """The text of VALUES."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Measured._fields)
    writer.writerows([*one[:5], *(f"{number:.6g}" for number in one[5:])] for one in measured)
    return text.getvalue()


@cache
def measured() -> list[Measured]:
    """Everything that was run here."""
    with VALUES.open(encoding="utf-8", newline="") as file:
        _, *lines = csv.reader(file)
    found = [Measured(*line[:5], *map(float, line[5:])) for line in lines]
    return found + [one for name in PHOTOGRAPHS if name not in RAN for one in values(name, RESULTS / name)]


def measured_under(name: str, mask: str, facts: Facts) -> list[Measured]:
    """What was run under this protocol, or under RePaint's masks where it has none of its own."""
    own = f"{name}-{mask}" if mask else name
    kept = facts["protocols"][name].get("records", RAN)
    names = {own, f"repaint-{mask}"} if "records" in facts["protocols"][name] else {own}
    return [one for one in measured() if one.images in kept and one.protocol in names]


# ---- the pages -------------------------------------------------------------------------------------------------------

HEAD = """# Reproduce: {name}

<!-- Written by `python -m benchmarks.reproduce`; do not edit. -->

{about} `lit-inpaint protocol show {name}` prints the protocol. All pages: [reproduce](README.md)."""

INDEX = """# Reproduce published tables

<!-- Written by `python -m benchmarks.reproduce`; do not edit. -->

One page per protocol that carries published rows: where the weights come from, the commands, the published values with
a tolerance, and what is known to differ.

{table}

**Run here.** None of the weights in these tables could be downloaded, so no published row was measured. The same
commands were run on photographs and faces, with Telea, PatchMatch and MI-GAN's released weights (a copy of its
generator without the fixed filters, SHA-256 `c83b5d0d7d7c4679c8d28953d12e68ca45aee0a7adeb0e859615f3a33fed5915`): every
page shows what came out. What did come back: MI-GAN's [ten published results](../results/migan512.md), to one grey
level, and the stated values of [completions that published programs made](../results/published_outputs.md), to 0.001
LPIPS and 0.01 dB.

**Addresses** are those that the named file gives at the commit in [public.md](../../benchmarks/public.md); none was
opened. A path with [R] is from memory. A SHA-256 is given where a program publishes one: the names of mmagic's files
end in its first eight digits. `lit-inpaint benchmark` stores the SHA-256 of the checkpoint in every record.

**Tolerance.** `0.045 ± 0.017`: two means over n images, with different draws of images and holes, differ by less in 95
of 100 cases. It is 1.96 √(2/n) s plus half a unit of the last printed digit; n is the publication's, s the standard
deviation over the images of what was run here under the same masks, the largest of the methods. With the same images
and masks only the half unit remains. Shares of images (P-IDS, U-IDS) have their counting error, without that of the
fitted plane. FID has no tolerance: a record has no interval for it. To see how far other draws move it, measure
twice, with another `mask_seed` in a copy of the protocol's YAML. No tolerance covers what stands under *known to
differ*.

**Judge** with `lit-inpaint compare`: published rows stand beside the measured ones.
"""


def link(said: str) -> str:
    repository, file = said.split(" ", 1)
    return f"[{repository}: {file}](https://github.com/{repository}/blob/{commit(repository)}/{file})"


@cache
def commit(repository: str) -> str:
    """The commit in benchmarks/public.md."""
    listed = (ROOT / "benchmarks" / "public.md").read_text(encoding="utf-8")
    found = re.search(rf"^\| \[{re.escape(repository)}\]\S* \| `(\w+)`", listed, re.MULTILINE)
    assert found, f"{repository} stands in benchmarks/public.md"
    return found[1]


def page(name: str, facts: Facts) -> str:
    about = facts["protocols"][name]
    found = rows(name, facts)
    parts = [HEAD.format(name=name, about=about["about"]), "## Weights", _weights(found, facts)]
    parts += ["## Commands", *_commands(name, found, facts)]
    parts += ["## Published values", _values(name, found, facts)]
    parts += ["## Known to differ", "\n".join(f"- {line}" for line in about["differs"])]
    parts += ["## Run here", *_here(name, facts)]
    return "\n\n".join(parts) + "\n"


def _weights(found: Sequence[Row], facts: Facts) -> str:
    lines = [["row", "file", "address", "SHA-256", "given in"]]
    for label, row in {row.label: row for row in found}.items():
        if row.weights:
            w = facts["weights"][row.weights]
            digits = w.get("sha256")
            digest = f"`{digits}`{'...' if len(digits) < 64 else ''}" if digits else "not published"
            file = f"`{w['file']}`{' [R]' if w.get('recalled') else ''}"
            why = f" (the nearest: {row.entry['none']})" if "none" in row.entry else ""
            lines.append([label + why, file, f"<{w['address']}>", digest, link(w["said"])])
        elif "outputs" in row.entry:
            program = facts["outputs"][row.entry["outputs"]]
            file = f"scored as outputs of {row.entry['outputs']}"
            lines.append([label, file, f"<{program['address']}>", "not published", link(program["said"])])
        else:
            lines.append([label, "none", row.entry["none"], "", ""])
    return _table(lines)


def _commands(name: str, found: Sequence[Row], facts: Facts) -> Iterator[str]:
    used = dict.fromkeys(row.weights for row in found if row.weights)
    imports = [line for weights in used for line in loading(weights, facts)]
    if imports:
        yield _bash(imports)
    for group in facts["protocols"][name]["groups"]:
        own = {row.label: row.weights for row in found if row.group is group and row.weights}
        images = ["--images", group["images"]] if "images" in group else []
        if own:
            methods = [f"{_short(label)}={weights}.ckpt" for label, weights in own.items()]
            words = ["lit-inpaint benchmark", name, *images, group.get("options", ""), "--methods", *methods]
            yield _bash([" ".join([*filter(None, words), "--out runs/reproduce"])])
        programs = sorted({row.entry["outputs"] for row in found if row.group is group and "outputs" in row.entry})
        if programs:
            yield "Programs that are not here complete [an exported kit](../outputs.md):"
            scored = " ".join(f"{program}={program.lower()}_outputs" for program in programs)
            options = re.sub(r"--mask-folder \S+", "", group.get("options", ""))
            export = " ".join(filter(None, ["lit-inpaint protocol export", name, *images, options, "--out kit"]))
            yield _bash([export, f"lit-inpaint protocol score kit --outputs {scored} --out runs/reproduce"])
    yield _bash(["lit-inpaint compare runs/reproduce --out reproduce.html"])
    if any(facts["weights"][row.weights]["method"] == "DDPM" for row in found if row.weights):
        yield "RePaint(250, 10, 10) is the default sampler of an imported DDPM: 2,410 network calls per image."


def loading(name: str, facts: Facts) -> list[str]:
    """The commands that turn released weights into NAME.ckpt."""
    w = facts["weights"][name]
    return w.get("commands") or [f"lit-inpaint import-weights {w['method']} {w['file']} --out {name}.ckpt"]


def _short(label: str) -> str:
    """A label that needs no quotes.

    >>> _short("GLCIC (Places365-val)"), _short("Big LaMa (4.5M images)")
    ('GLCIC', 'Big-LaMa')
    """
    return label.replace(" (mmagic)", "-mmagic").partition(" (")[0].replace(" ", "-")


def _values(name: str, found: Sequence[Row], facts: Facts) -> str:
    metrics = list(dict.fromkeys(metric for row in found for metric in row.metrics))
    lines = [["mask", "row", *(f"`{metric}`" for metric in metrics), "n", "published in"]]
    for row in found:
        run = measured_under(name, row.mask, facts)
        cells = [with_tolerance(row, metric, run) if metric in row.metrics else "" for metric in metrics]
        lines.append([row.mask or "-", row.label, *cells, f"{row.group['n']:,}", row.source])
    return _table(lines)


def _here(name: str, facts: Facts) -> Iterator[str]:
    about = facts["protocols"][name]
    wanted = {metric for row in rows(name, facts) for metric in row.metrics}
    ran: dict[tuple[str, ...], dict[str, str]] = {}
    for mask in published(name):
        for one in measured_under(name, mask, facts):
            ran.setdefault((mask, one.images, one.method, one.hash), {})[one.metric] = _mean(one)
    shown = [metric for metric in dict.fromkeys(m for cells in ran.values() for m in cells) if metric in wanted]
    shown = shown or ["lpips_alex", "psnr", "ssim", "l1_mean"]
    if about.get("here"):
        first = [MIGAN] if any("MIGAN" in line for line in about["here"]) else []
        yield _bash([*first, *about["here"]])
    else:
        yield "The masks of this protocol, on photographs: the commands stand on the linked pages."
    yield "Other images than the publication's, so that no value is comparable. Mean [95 % interval over the images]:"
    lines = [["mask", "images", "method", *(f"`{metric}`" for metric in shown), "hash"]]
    for (mask, images, method, digest), cells in ran.items():
        of_metrics = [cells.get(metric, "") for metric in shown]
        lines.append([mask or "-", PHOTOGRAPHS[images], method, *of_metrics, f"`{digest}`"])
    yield _table(lines)


def _mean(one: Measured) -> str:
    mean, low, high = (number(one.metric, value) for value in (one.mean, one.low, one.high))
    return f"{mean} [{low}, {high}]"


def index(facts: Facts) -> str:
    lines = [["protocol", "published in", "rows", "weights loaded here", "scored as outputs", "no weights"]]
    for name in with_rows():
        found = rows(name, facts)
        places = ", ".join(dict.fromkeys(row.source.partition(",")[0] for row in found))
        counts = [sum(kind in row.entry for row in found) for kind in ("weights", "outputs", "none")]
        lines.append([f"[{name}]({name}.md)", places, *map(str, [len(found), *counts])])
    return INDEX.format(table=_table(lines))


def pages() -> dict[str, str]:
    """Every page by its name in docs/reproduce."""
    facts = source()
    return {"README.md": index(facts)} | {f"{name}.md": page(name, facts) for name in with_rows()}


def _bash(lines: Sequence[str]) -> str:
    return "\n".join(["```bash", *(_wrapped(line) for line in lines), "```"])


def _wrapped(line: str) -> str:
    """A long command continues on the next line."""
    kept, current = [], ""
    for word in re.findall(r"--\S+ \S+|\S+", line):  # an option stays with its value
        if current and len(current) + len(word) > 130:
            kept.append(current + " \\")
            current = "   "
        current = f"{current} {word}" if current else word
    return "\n".join([*kept, current])


def _table(lines: Sequence[Sequence[str]]) -> str:
    both = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in both)


# ---- commands --------------------------------------------------------------------------------------------------------


def run_here(facts: Facts) -> None:
    """Everything that stands under ``here``, from the start; its values go to VALUES."""
    work = Path(WORK)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    lines = [line for about in facts["protocols"].values() for line in about.get("here", [])]
    for line in [MIGAN, *lines]:
        _, command, *words = shlex.split(os.path.expandvars(line))
        assert {"benchmark": benchmark, "import-weights": import_weights}[command](words) == 0, line
    write_text(VALUES, written([one for kind in RAN for one in values(kind, work / kind)]))
    measured.cache_clear()


def unsaid(public: Path, facts: Facts) -> list[str]:
    """Addresses that do not stand in the file that is said to give them."""
    missing = []
    for name, entry in [*facts["weights"].items(), *facts["outputs"].items()]:
        repository, file = entry["said"].split(" ", 1)
        text = (public / repository.replace("/", "+") / file).read_text(encoding="utf-8")
        missing += [f"{name}: {entry['address']} is not in {file} of {repository}"] * (entry["address"] not in text)
    return missing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="run what stands under `here`: ten minutes of one core")
    parser.add_argument("--public", type=Path, help="only look up the addresses in checkouts")
    a = parser.parse_args()
    if a.public:
        missing = unsaid(a.public, source())
        raise SystemExit("\n".join(missing) or 0)
    if a.run:
        run_here(source())
    for name, text in pages().items():
        write_text(PAGES / name, text)


if __name__ == "__main__":
    main()
