"""What published programs made of given images and masks, scored by our metrics: docs/results/published_outputs.md.

    python -m benchmarks.published_outputs --data DIR --public DIR --migan migan_places2_512.pth
    python -m benchmarks.published_outputs --page

``--data`` holds published_outputs/manifest.json, which lists repository, commit and SHA-256 of every image, mask and
result; the files lie beside it or in checkouts of these repositories below ``--public``, and are taken by their
content. Records and the manifest's facts are written to docs/results/published_outputs, without pictures; ``--page``
only writes the page, which is made of them alone. Interrupted, the same command resumes.
"""

import argparse
import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from datamodules.evaluation import EvaluationSet, to_image, to_mask
from experiments.compare.numbers import number
from experiments.compare.table import plain_table
from experiments.compare.text import report
from experiments.evaluate.job import Job
from experiments.evaluate.measure import evaluate
from experiments.evaluate.protocol import Protocol, load_protocols
from experiments.files.write import write_text
from experiments.records.files import read_record, write_record
from experiments.records.record import Record
from experiments.weights.imports import main as import_weights
from lit_inpaint.metrics import definition
from masks import MaskFolder
from masks.convention import InpaintingBatch
from masks.generator import Mask

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "results" / "published_outputs"
METRICS = ["lpips_alex", "psnr_hole", "psnr", "ssim", "l1_hole"]
CLASSICS = ["Telea", "Harmonic", "PatchMatch"]
MIGAN = ("crfill_", "madf_")  # the sets on whose images MI-GAN's released weights are run
KINDS = ("images", "masks", "results")
KEPT = (
    "name", "method", "repo", "commit", "licence", "white", "threshold", "n", "lpips_alex", "psnr_hole",
    "telea_lpips", "telea_psnr_hole",
)  # fmt: skip
# The two images of 1499x996 are not in the means that the manifest states of this set: found by trying every selection.
NOT_IN_MANIFEST = {"lama": ("000068", "000814")}
Facts = dict[str, Any]


class WholeImages(EvaluationSet):
    """Images of any size and proportions, each as it is, with the mask file of its name."""

    def __getitem__(self, index: int) -> InpaintingBatch:
        return InpaintingBatch(to_image(self.files.read(index)), to_mask(self.draw_mask(index)), self.name(index))

    def _mask(self, index: int) -> Mask:
        assert isinstance(self.mask, MaskFolder)
        mask = self.mask.read(self.mask.pairs(self.files.names(), self.images)[index])
        assert mask.shape == self.files.shape(index), "a published mask has the size of its image"
        return mask

    def fingerprint(self) -> dict[str, object]:
        return super().fingerprint() | {"size": "as it is", "resize": "none", "crop": "none"}


def short(facts: Facts) -> str:
    """The program's name.

    >>> short({"method": "RePaint (released weights, by a fork)"})
    'RePaint'
    """
    return str(facts["method"]).split()[0]


# ---- scoring ---------------------------------------------------------------------------------------------------------


def by_name(*folders: Path) -> dict[str, list[Path]]:
    found = defaultdict(list)
    for folder in folders:
        for path in sorted(folder.rglob("*.png")):
            found[path.name].append(path)
    return found


def gather(facts: Facts, found: dict[str, list[Path]], out: Path) -> None:
    """Copy a set to out/images, out/masks and out/results, every file under its image's name.

    Raises:
        FileNotFoundError: A file whose content is not there.
    """
    for file in facts["files"]:
        name = Path(file["image"]).name
        for kind, key, digest in zip(KINDS, ("image", "mask", "result"), file["sha256"], strict=True):
            places = found[Path(file[key]).name] + found[name]
            path = next((p for p in places if hashlib.sha256(p.read_bytes()).hexdigest() == digest), None)
            if path is None:
                raise FileNotFoundError(
                    f"{file[key]} with SHA-256 {digest[:8]}...: check out github.com/{facts['repo']}"
                )
            (out / kind).mkdir(parents=True, exist_ok=True)
            if kind == "masks":  # some are stored in colour
                Image.open(path).convert("L").save(out / kind / name)
            else:
                shutil.copy(path, out / kind / name)


def protocols(facts: Facts, kit: Path) -> list[Protocol]:
    """Composites, and if the program changes known pixels, its raw outputs."""
    mask = {"root": str(kit / "masks"), "white": facts["white"], "threshold": facts["threshold"] + 1, "pairing": "name"}
    sizes = {tuple(file["size"]) for file in facts["files"]}
    square = len(sizes) == 1 and len(set(next(iter(sizes)))) == 1
    place = f"github.com/{facts['repo']} at {facts['commit'][:8]}"
    settings = {
        "name": facts["name"],
        "about": f"{facts['method']}, {place}, licence: {facts['licence']}.",
        "size": max(next(iter(sizes))),
        "mask": {"class_path": "masks.MaskFolder", "init_args": mask},
        "metrics": METRICS,
    }
    path = kit / "protocol.yaml"
    path.write_text(yaml.safe_dump(settings))
    (made,) = load_protocols(path, kit / "images")
    made = replace(made, about=settings["about"])
    if not square:
        whole = WholeImages(made.images.files, made.images.mask, made.images.size, "none")
        made = replace(made, images=whole, about=f"{made.about} Each image in its own size.")
    raw = replace(made, name=f"{made.name}-raw", measured="raw")
    return [made, raw] if changed(facts) else [made]


def changed(facts: Facts) -> int:
    """By how many grey levels the program changes known pixels."""
    return int(max(file["known_max"] for file in facts["files"]))


def score(facts: Facts, kit: Path, migan: Path, out: Path) -> Iterator[Record]:
    made = "raw" if changed(facts) else "composited"
    for protocol in protocols(facts, kit):
        methods = {f"outputs:{kit / 'results'}": short(facts)}
        if protocol.measured == "composite":
            methods |= {name: name for name in CLASSICS}
            if facts["name"].startswith(MIGAN):
                methods[str(migan)] = "MIGAN"
        for method, label in methods.items():
            job = Job(method, label, protocol, out, made=made)  # type: ignore[arg-type]
            if job.left_out:  # e.g. LPIPS without LIT_INPAINT_WEIGHTS
                raise ValueError(f"{facts['name']}: {job.left_out}")
            record = evaluate(job)
            if record.not_applicable:
                raise ValueError(f"{facts['name']}, {label}: {record.not_applicable}")
            yield record


def score_all(data: Path, public: Path, weights: Path, work: Path) -> None:
    folder = data / "published_outputs"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    found = by_name(folder, *public.glob("*"))
    migan = work / "migan.ckpt"
    if not migan.is_file():
        work.mkdir(parents=True, exist_ok=True)
        import_weights(["MIGAN", str(weights), "--out", str(migan)])
    shutil.rmtree(FOLDER / "records", ignore_errors=True)
    for facts in manifest:
        kit = work / facts["name"]
        gather(facts, found, kit)
        for record in score(facts, kit, migan, work / "out"):
            print(facts["name"], record.protocol.name, record.label, flush=True)
            if record.method.checkpoint:
                record.method.checkpoint = weights.name
            name = f"{record.protocol.name}-{record.hash[:8]}"
            write_record(record, FOLDER / "records" / name / f"{record.label}.json")
    kept = [{key: facts[key] for key in KEPT} | {"known_max": changed(facts)} for facts in manifest]
    write_text(FOLDER / "sets.json", json.dumps(kept, indent=1) + "\n")


# ---- the page --------------------------------------------------------------------------------------------------------

HEAD = """# Completions that published programs made, scored here

<!-- Written by `python -m benchmarks.published_outputs`; do not edit. -->

Images, masks and completions that the authors of CRFill and MADF publish, and that forks made with the released weights
of LaMa, RePaint and latent diffusion (LDM): {images} completions in {sets} sets. They are scored as
[outputs](../outputs.md) by the metrics of every other table: composites, rounded to 8 bits. Telea, Harmonic and
PatchMatch fill the same holes of the same images, so every difference is paired; MI-GAN's released weights (Places2,
512x512) run on the images of CRFill and MADF. Sets of 3 to 19 images rank no methods: they differ in images and holes,
and were chosen by those who show them. All values of all images: [published_outputs/](published_outputs/).
"""

TAIL = """## How it was made

```bash
python -m benchmarks.published_outputs --data $LIT_INPAINT_DATA --public DIR \\
    --migan $LIT_INPAINT_WEIGHTS/migan_places2_512.pth
```

DIR holds checkouts of the repositories named above. Every file is taken by its SHA-256. Device: one thread of a shared
CPU, so the seconds are upper bounds.
"""


def read() -> tuple[list[Facts], dict[str, list[Record]]]:
    """The facts of every set, and the records of every protocol by its name, the program first."""
    sets = json.loads((FOLDER / "sets.json").read_text(encoding="utf-8"))
    found: dict[str, list[Record]] = defaultdict(list)
    for path in sorted(FOLDER.glob("records/*/*.json")):
        record = read_record(path)
        found[record.protocol.name].append(record)
    for records in found.values():
        records.sort(key=lambda r: (r.method.outputs is None, [*CLASSICS, "MIGAN", r.label].index(r.label)))
    return sets, found


def page() -> str:
    sets, found = read()
    parts = [HEAD.format(images=sum(facts["n"] for facts in sets), sets=len(sets))]
    for name, about in (("lpips_alex", "lower is better"), ("psnr_hole", "dB in the hole, higher is better")):
        parts += [f"`{name}`, {about}:", _overview(sets, found, name)]
    parts += [
        "**The manifest's values** come back to 0.001 and 0.01 dB, of completions and of Telea. Those of lama are "
        f"means over three of its five images, without {' and '.join(NOT_IN_MANIFEST['lama'])} (1499x996). Over the "
        f"same three, {_like_manifest(sets[0], found)}.",
        "**Raw and composited.** LDM's programs change known pixels by 1 grey level, RePaint's by up to "
        f"{max(facts['known_max'] for facts in sets)}. Above, the known pixels of the image are pasted back, as "
        "everywhere here. Measured raw, as the programs wrote them, `psnr_hole` and `l1_hole` stay:",
        _raw(sets, found),
    ]
    for facts in sets:
        table = plain_table(found[facts["name"]], {name: definition(name) for name in METRICS})
        parts.append("#" + report(table, short(facts)).rstrip())
    return "\n\n".join([*(part.rstrip() for part in parts), TAIL])


def mean_of_manifest(record: Record, facts: Facts, metric: str) -> float:
    """The mean over the images whose mean the manifest states."""
    values = record.metrics[metric].values.items()
    kept = [value for name, value in values if value is not None and name not in NOT_IN_MANIFEST.get(facts["name"], ())]
    return sum(kept) / len(kept)


def _like_manifest(facts: Facts, found: dict[str, list[Record]]) -> str:
    assert facts["name"] in NOT_IN_MANIFEST
    own = next(record for record in found[facts["name"]] if record.label == short(facts))
    stated = ((name, mean_of_manifest(own, facts, name), facts[name]) for name in ("lpips_alex", "psnr_hole"))
    return ", ".join(f"`{name}` is {ours:.4g} here and {there:.4g} there" for name, ours, there in stated)


def _overview(sets: Sequence[Facts], found: dict[str, list[Record]], metric: str) -> str:
    columns = [*CLASSICS, "MIGAN"]
    lines = [["set", "images", "hole", "program", "completions", *columns]]
    for facts in sets:
        records = {record.label: record for record in found[facts["name"]]}
        own = records[short(facts)]
        share = sum(own.hole_share.values()) / len(own.hole_share)
        row = [facts["name"], str(facts["n"]), f"{share:.0%}", facts["method"], _mean(own, metric)]
        lines.append([*row, *(_mean(records[c], metric) if c in records else "" for c in columns)])
    return _table(lines)


def _raw(sets: Sequence[Facts], found: dict[str, list[Record]]) -> str:
    names = [name for name in METRICS if not name.endswith("_hole")]
    lines = [["set", "known pixels differ by up to", *(f"{name} raw / composited" for name in names)]]
    for facts in sets:
        if facts["known_max"]:
            raw = found[f"{facts['name']}-raw"][0]
            own = next(record for record in found[facts["name"]] if record.label == short(facts))
            pairs = [f"{_mean(raw, name)} / {_mean(own, name)}" for name in names]
            lines.append([facts["name"], str(facts["known_max"]), *pairs])
    return _table(lines)


def _mean(record: Record, metric: str) -> str:
    mean = record.metrics[metric].mean
    assert mean is not None
    return number(metric, mean)


def _table(lines: Sequence[Sequence[str]]) -> str:
    rows = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="only write the page from the committed records")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--public", type=Path)
    parser.add_argument("--migan", type=Path, help="MI-GAN's released weights")
    parser.add_argument("--work", type=Path, default=Path("runs/published_outputs"), help="files, pictures, journals")
    a = parser.parse_args()
    if not a.page:
        if not (a.data and a.public and a.migan):
            parser.error("scoring needs --data, --public and --migan; --page alone writes the page again")
        score_all(a.data, a.public, a.migan, a.work)
    FOLDER.with_suffix(".md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
