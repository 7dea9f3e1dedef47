"""Names, places and damage of the files of a benchmark: what is refused before anything runs, and what is mended."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from experiments import evaluate
from experiments.evaluate import kit, protocols
from experiments.evaluate.protocol import load_protocols
from lit_inpaint import metrics
from tests.support.protocols import records, run, write_protocol

COLOURS = metrics.Features("colours", lambda image: image.mean((2, 3)), 3)


@metrics.defined(
    "1: distance of mean colours", title="Colours", higher_is_better=False, features=COLOURS,
    score=lambda fake, real: {"colours": float(abs(fake - real).sum())},
)  # fmt: skip
def colours(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    return torch.zeros(())


@pytest.mark.parametrize("damage", [b"", b"\0" * 200])
@pytest.mark.parametrize("whose", ["Telea", "_truth_*"])
def test_a_damaged_feature_file_is_written_again(whose: str, damage: bytes, photos: Path, tmp_path: Path):
    path = write_protocol(tmp_path, metrics=["psnr", f"{__name__}.colours"])
    arguments = (path, "--images", photos, "--limit", 3, "--out", tmp_path / "out", "--methods")
    assert run(*arguments, "Telea") == 0
    (before,) = records(tmp_path / "out").values()
    assert before.metrics[f"{__name__}.colours"].mean
    (file,) = (tmp_path / "out/journal").glob(f"*/{whose}/**/1.npy")
    file.write_bytes(damage)
    next((tmp_path / "out/records").glob("*/Telea.json")).unlink()
    assert run(*arguments, "Telea", "Harmonic") == 0
    after = records(tmp_path / "out")
    assert [r.metrics for key, r in after.items() if key.endswith("Telea")] == [before.metrics]
    assert all(r.metrics[f"{__name__}.colours"].mean for r in after.values())


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX alone")
def test_a_name_that_is_not_utf8_is_refused_before_anything_runs(photos: Path, tmp_path: Path):
    folder, path = tmp_path / "named", write_protocol(tmp_path)
    folder.mkdir()
    shutil.copy(photos / "photo0.png", os.fsencode(folder) + b"/caf\xe9.png")
    with pytest.raises(ValueError, match=r"name 'caf\\udce9.png' is not UTF-8, which a record cannot hold; rename it"):
        run(path, "--images", folder, "--methods", "Telea", "--out", tmp_path / "out")
    with pytest.raises(ValueError, match="is not UTF-8"):
        kit.export(load_protocols(path, folder), tmp_path / "kit")
    assert not (tmp_path / "out").exists() and not (tmp_path / "kit").exists()
    with pytest.raises(ValueError, match="is not UTF-8"):  # files of outputs are in the record too
        run(path, "--images", photos, "--methods", f"outputs:{folder}", "--out", tmp_path / "out")
    checkpoint = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.ckpt")
    Path(checkpoint).touch()
    with pytest.raises(ValueError):
        run(path, "--images", photos, "--methods", checkpoint, "--out", tmp_path / "out")


@pytest.mark.parametrize("out", ["photos", "photos/results", "other/../photos/results"])
def test_an_out_whose_pictures_would_be_taken_for_images_is_refused(out: str, photos: Path, tmp_path: Path):
    shutil.copytree(photos, tmp_path / "photos")
    path = write_protocol(tmp_path)
    given: dict[str, tuple[Any, ...]] = {
        "images": (path, "--images", tmp_path / "photos", "--methods", "Telea"),
        "outputs": (path, "--images", photos, "--methods", f"Mine=outputs:{tmp_path / 'photos'}"),
    }
    for arguments in given.values():
        with pytest.raises(
            ValueError, match=r"lies in .*photos, whose pictures are all taken; choose a folder elsewhere"
        ):
            run(*arguments, "--out", tmp_path / out)
    with pytest.raises(ValueError, match="lies in"):
        protocols.main(
            ["export", str(path), "--images", str(tmp_path / "photos"), "--out", str(tmp_path / out / "kit")]
        )
    assert not (tmp_path / "photos/results").exists()


def test_masks_with_a_dash_are_named_in_full(photos: Path, tmp_path: Path):
    masks = {"thin-256": {"class_path": "masks.Narrow"}, "wide-256": {"class_path": "masks.Wide"}}
    path = write_protocol(tmp_path, masks=masks, metrics=["psnr"])
    arguments = (path, "--images", photos, "--limit", 1, "--methods", "Harmonic", "--out", tmp_path / "out", "--masks")
    with pytest.raises(ValueError, match=r"has no mask '256'. .*Allowed: thin-256, wide-256"):
        run(*arguments, "256")
    assert run(*arguments, "thin-256") == 0
    assert [key.rpartition("-")[0] for key in records(tmp_path / "out")] == ["try-thin-256"]
    with pytest.raises(ValueError, match="2 masks, thin-256, wide-256; give one: mask='thin-256'"):
        evaluate("Harmonic", path, tmp_path / "out", images=photos)


def test_export_of_no_image_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="--limit: '0' is not a whole number from 1"):
        protocols.main(["export", "quickstart", "--limit", "0", "--out", str(tmp_path / "kit")])
    assert not (tmp_path / "kit").exists()
