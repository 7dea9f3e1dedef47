"""The page of published programs' completions against its records, and the records against the manifest's values."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import published_outputs as made
from experiments.records.record import Record

SETS, RECORDS = made.read()


def row(facts: dict[str, Any], label: str) -> Record:
    return next(record for record in RECORDS[facts["name"]] if record.label == label)


def test_the_page_is_that_of_its_records():
    text = made.FOLDER.with_suffix(".md").read_text(encoding="utf-8")
    assert text == made.page(), "python -m benchmarks.published_outputs --page writes it again"


@pytest.mark.parametrize("facts", SETS, ids=lambda facts: facts["name"])
def test_a_set_has_the_values_of_the_manifest_and_its_rows_share_images_and_holes(facts: dict[str, Any]):
    own, telea = row(facts, made.short(facts)), row(facts, "Telea")
    for record, lpips, psnr in ((own, "lpips_alex", "psnr_hole"), (telea, "telea_lpips", "telea_psnr_hole")):
        assert made.mean_of_manifest(record, facts, "lpips_alex") == pytest.approx(facts[lpips], abs=1e-3)
        assert made.mean_of_manifest(record, facts, "psnr_hole") == pytest.approx(facts[psnr], abs=0.01)
    rows = {made.short(facts), *made.CLASSICS} | ({"MIGAN"} if facts["name"].startswith(made.MIGAN) else set())
    assert {record.label for record in RECORDS[facts["name"]]} == rows
    assert len({record.hash for record in RECORDS[facts["name"]]}) == 1
    assert all(record.metrics["psnr_hole"].n == facts["n"] for record in RECORDS[facts["name"]])
    assert own.method.outputs is not None and len(own.method.outputs) == facts["n"]
    assert telea.method.outputs is None


def test_all_sets_of_the_manifest_are_there():
    counts = {facts["name"]: facts["n"] for facts in SETS}
    assert counts == {
        "lama": 5, "crfill_places": 19, "madf_places2": 6, "madf_celeba": 3, "madf_psv": 3,
        "repaint_face_a": 8, "repaint_face_b": 8, "ldm_a": 8, "ldm_b": 8,
    }  # fmt: skip
    assert set(RECORDS) == {*counts, *(f"{facts['name']}-raw" for facts in SETS if facts["known_max"])}


@pytest.mark.parametrize("facts", [facts for facts in SETS if facts["known_max"]], ids=lambda facts: facts["name"])
def test_raw_outputs_differ_outside_the_hole_alone(facts: dict[str, Any]):
    """RePaint's program changes known pixels by up to 13 grey levels."""
    assert facts["known_max"] == {"repaint_face_a": 12, "repaint_face_b": 13}.get(facts["name"], 1)
    (raw,), pasted = RECORDS[f"{facts['name']}-raw"], row(facts, made.short(facts))
    assert raw.protocol.definition["measured"] == "raw" and raw.hash != pasted.hash
    assert raw.adaptation is None and "pasted back here" in (pasted.adaptation or "")
    for name, metric in raw.metrics.items():
        same = metric.values == pytest.approx(pasted.metrics[name].values, abs=1e-6)
        assert same == name.endswith("_hole"), name
    worse = [raw.metrics["psnr"].values[key] < value for key, value in pasted.metrics["psnr"].values.items()]  # type: ignore[operator]
    assert all(worse)


def test_a_set_is_taken_by_content_and_scored_in_its_own_sizes(tmp_path: Path):
    """Two images of different size and shape, one with its mask in colour, scored without a crop."""
    rng, files = np.random.default_rng(0), []
    for name, (height, width) in {"wide": (40, 96), "tall": (72, 48)}.items():
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        hole = np.zeros((height, width), np.uint8)
        hole[10:20, 8:30] = 255
        filled = np.where(hole[..., None] > 0, 128, image).astype(np.uint8)
        kinds = {"image": image, "mask": hole[..., None].repeat(3, 2), "result": filled}
        for kind, pixels in kinds.items():
            Image.fromarray(pixels).save(tmp_path / f"{name}_{kind}.png")
        paths = {kind: tmp_path / f"{name}_{kind}.png" for kind in kinds}
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths.values()]
        names = {kind: path.name for kind, path in paths.items()}
        files.append({**names, "size": [height, width], "known_max": 0, "sha256": digests})
    facts = {
        "name": "two", "method": "Grey (nobody)", "repo": "a/b", "commit": "0" * 40, "licence": "none",
        "white": "hole", "threshold": 127, "files": files,
    }  # fmt: skip
    kit = tmp_path / "kit"
    made.gather(facts, made.by_name(tmp_path), kit)
    (protocol,) = made.protocols(facts, kit)
    assert [tuple(protocol.images[i].image.shape) for i in range(2)] == [(3, 72, 48), (3, 40, 96)]
    assert all(protocol.images[i].mask.sum() == 220 for i in range(2))
    assert protocol.definition["size"] == "as it is" and protocol.definition["crop"] == "none"
    (tmp_path / "wide_mask.png").unlink()
    shutil.rmtree(kit)
    with pytest.raises(FileNotFoundError, match=r"wide_mask\.png with SHA-256 .*github\.com/a/b"):
        made.gather(facts, made.by_name(tmp_path), kit)
