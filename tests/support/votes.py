"""Outputs of `benchmark` for `vote`, and the resulting study."""

from pathlib import Path

from PIL import Image

from experiments.compare.reader import read_folders
from experiments.records.files import write_record
from experiments.records.record import MethodFacts, MetricResult, ProtocolFacts, Record, hash_of
from experiments.vote.study import Study, make_study

IMAGES = [f"a/{i:02}" for i in range(24)]


def results(out: Path, labels: tuple[str, ...] = ("RePaint", "LaMa", "Telea")) -> Path:
    """Outputs of `benchmark`, with one colour per method."""
    for number, label in enumerate(labels):
        values: dict[str, float | None] = dict.fromkeys(IMAGES, 0.1 * number)
        record = Record(
            ProtocolFacts("wide", hash_of({"size": 8}), {"size": 8}),
            MethodFacts(name=label, label=label, weights="none", parameters={}),
            {"lpips_alex": MetricResult("lpips 1.0", values, 0.1 * number, (0.1 * number, 0.1 * number), len(IMAGES))},
        )
        write_record(record, out / "records" / "wide-5bc7d730" / f"{label}.json")
        for kind in (label, "_input"):
            for image in IMAGES:
                file = out / "images" / "wide-5bc7d730" / kind / f"{image}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (0, 0, 0) if kind == "_input" else (50 * number + 50, 0, 0)).save(file)
    return out


def study_of(out: Path) -> Study:
    return make_study(read_folders([out])[0], "RePaint")
