"""Protocols and their hashes, records, benchmark with a kill in the middle, and the intervals of its tables."""

import csv
import io
import json
import math
import multiprocessing
import os
import re
import shutil
import signal
import time
import tracemalloc
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

from datamodules import EvaluationSet, SamplePhotos
from experiments.compare.command import main as compare
from experiments.compare.refuse import refuse_mixed
from experiments.compare.table import plain_table
from experiments.evaluate import benchmark, processes, protocol, source
from experiments.evaluate import measure as evaluate
from experiments.evaluate.job import Job
from experiments.evaluate.protocol import load_protocols, protocol_hash
from experiments.files.find import INSTALLED
from experiments.records import definition
from experiments.records.files import read_record, write_record
from experiments.records.intervals import mean_interval, paired_difference
from experiments.records.record import Bucket, MethodFacts, MetricResult, ProtocolFacts, Record
from experiments.run.journal import Journal
from lit_inpaint import metrics
from lit_inpaint.load import load_method
from lit_inpaint.methods import DeepFillV2, Telea
from lit_inpaint.metrics import CHEAP, inception, metric
from masks import CenterRectangle, MaskFolder
from tests.support.protocols import records, run, without_cost, write_protocol

SIX = {
    "wide": {"class_path": "masks.Wide"},
    "narrow": {"class_path": "masks.Narrow"},
    "super_resolve_2x": {"class_path": "masks.SuperResolve2x"},
    "alternating_lines": {"class_path": "masks.AlternatingLines"},
    "half": {"class_path": "masks.Half"},
    "expand": {"class_path": "masks.Expand"},
}


def write_checkpoint(path: Path, seed: int = 0) -> Path:
    """A small DeepFillV2 as ``fit`` would leave it, its averaged weights unlike its raw ones."""
    torch.manual_seed(seed)
    module = DeepFillV2(width=8, discriminator_width=8)
    average = {k: v + 0.05 * torch.randn_like(v) for k, v in module.generator.state_dict().items()}
    content = {
        "method": "DeepFillV2",
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "ema": {"generator": average},
        "callbacks": {"Throughput": {"images_seen": 640}},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


# ---- a kill in the middle -------------------------------------------------------------------------------------------


def _child(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os._exit(benchmark.main(arguments))


def _lines(out: Path) -> dict[Path, list[bytes]]:
    """Complete lines of every journal."""
    files = out.glob("journal/*/*/journal.jsonl")
    return {path: [line for line in path.read_bytes().splitlines(True) if line.endswith(b"\n")] for path in files}


def _killed_and_started_again(arguments: list[str], out: Path, after: Iterable[int]) -> None:
    """Kill the benchmark when its journals hold so many lines, several times, then let it finish."""
    context, before = multiprocessing.get_context("fork"), {}
    for lines in after:
        process = context.Process(target=_child, args=([*arguments, "--out", str(out)],))
        process.start()
        assert process.pid is not None
        deadline = time.monotonic() + 240
        while sum(map(len, _lines(out).values())) < lines:
            assert process.is_alive() and time.monotonic() < deadline, "finished before it was killed"
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        found = _lines(out)
        assert all(found[path][: len(kept)] == kept for path, kept in before.items()), "finished images were redone"
        before = found
    victim = max(before, key=lambda path: path.stat().st_mtime)
    with open(victim, "ab") as file:
        file.write(b'{"index": 99, "image": "half a li')  # a write that the kill cut off
    assert run(*arguments, "--out", out) == 0
    found = _lines(out)
    assert all(found[path][: len(kept)] == kept for path, kept in before.items()), "finished images were redone"


def test_a_killed_benchmark_goes_on_and_ends_in_the_uninterrupted_table(photos: Path, tmp_path: Path):
    path = write_protocol(tmp_path, masks={"wide": SIX["wide"], "half": SIX["half"]})
    checkpoint = write_checkpoint(tmp_path / "runs" / "small" / "checkpoints" / "last.ckpt")
    arguments = [str(path), "--images", str(photos), "--limit", "4", "--methods", "Telea", "Harmonic", str(checkpoint)]
    assert run(*arguments, "--out", tmp_path / "whole") == 0
    _killed_and_started_again(arguments, tmp_path / "killed", after=(3, 9, 18))
    whole, killed = (without_cost(records(tmp_path / name)) for name in ("whole", "killed"))
    assert len(whole) == 6 and whole == killed
    pictures = {
        p.relative_to(tmp_path / "whole"): p.read_bytes() for p in (tmp_path / "whole" / "images").rglob("*.png")
    }
    assert len(pictures) == 2 * 4 * 6  # truth, mask, input and three methods
    assert all((tmp_path / "killed" / p).read_bytes() == content for p, content in pictures.items())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_six_methods_on_repaints_six_masks_survive_kills(photos: Path, tmp_path: Path):
    path = write_protocol(tmp_path, size=128, masks=SIX)
    checkpoints = [write_checkpoint(tmp_path / f"{seed}.ckpt", seed) for seed in range(2)]
    methods = ["Telea", "NavierStokes", "Harmonic", "Biharmonic", *(f"net{s}={c}" for s, c in enumerate(checkpoints))]
    arguments = [str(path), "--images", str(photos), "--methods", *methods]
    assert run(*arguments, "--out", tmp_path / "whole") == 0
    _killed_and_started_again(arguments, tmp_path / "killed", after=(50, 150))
    whole, killed = (without_cost(records(tmp_path / name)) for name in ("whole", "killed"))
    assert len(whole) == 36 and whole == killed


def test_a_finished_benchmark_measures_nothing_again(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_protocol(tmp_path)
    arguments = (path, "--images", photos, "--limit", 3, "--methods", "Telea", "--out", tmp_path / "out")
    assert run(*arguments) == 0
    before = records(tmp_path / "out")

    def refuse(*_: Any) -> Any:
        raise AssertionError("measured again")

    monkeypatch.setattr(evaluate, "_measure", refuse)
    assert run(*arguments) == 0
    assert records(tmp_path / "out") == before


# ---- failures -------------------------------------------------------------------------------------------------------


class _Broken:
    """Mixed into Telea: fails on the second image."""

    calls = 0

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Any = None) -> Tensor:
        self.calls += 1
        if self.calls == 2:
            raise RuntimeError("out of ideas")
        return erased


def test_one_failing_method_does_not_stop_the_others(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_protocol(tmp_path)

    def load(name: str, *args: Any) -> Any:
        module = load_method(name, *args)
        if name == "NavierStokes" and broken:
            module.fill = _Broken.fill.__get__(_Broken())  # type: ignore[method-assign]
        return module

    monkeypatch.setattr(source, "load_method", load)
    arguments = (path, "--images", photos, "--limit", 3, "--out", tmp_path, "--methods", "NavierStokes", "Telea")
    broken = True
    assert run(*arguments) == 1
    found = {key.rpartition("/")[2]: record for key, record in records(tmp_path).items()}
    assert found["NavierStokes"].not_applicable == "failed: RuntimeError: out of ideas"
    assert found["NavierStokes"].metrics == {}
    assert found["Telea"].metrics["psnr"].n == 3
    broken = False  # fixed, it resumes after the finished image
    assert run(*arguments) == 0
    found = {key.rpartition("/")[2]: record for key, record in records(tmp_path).items()}
    assert found["NavierStokes"].not_applicable is None and found["NavierStokes"].metrics["psnr"].n == 3


def test_a_metric_without_its_backbone_is_left_out_and_the_record_says_so(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("LIT_INPAINT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = write_protocol(tmp_path, metrics=["psnr", "lpips_alex", "fid"])
    assert run(path, "--images", photos, "--limit", 2, "--methods", "Telea", "--out", tmp_path / "out") == 0
    (record,) = records(tmp_path / "out").values()
    assert record.metrics["psnr"].mean is not None and record.metrics["lpips_alex"].mean is None
    assert record.metrics["lpips_alex"].reason == "backbone alexnet is not on this machine"
    assert "lpips_alex left out" in str(record.note)
    printed = capsys.readouterr().out
    assert "torchvision.models.alexnet" in printed
    assert "pip install 'lit-inpaint[metrics]' && python" in printed  # no markup, which [metrics] would be
    assert str(tmp_path) not in json.dumps(record.metrics["lpips_alex"].reason)


@pytest.mark.parametrize(
    ("changes", "arguments", "said"),
    [
        ({"metrcs": ["psnr"]}, [], "unknown key 'metrcs'. Did you mean 'metrics'"),
        ({"metrics": ["psnrr"]}, [], "unknown metric 'psnrr'.*Did you mean 'psnr"),
        ({"mask": {"class_path": "masks.Wyde"}}, [], "Wyde"),
        ({"measured": "both"}, [], "expected composite or raw"),
        ({}, ["--methods", "Teleo"], "Did you mean 'Telea'"),
        ({}, ["--methods", "DeepFillV2"], "give the path of one of its checkpoints.*import-weights` makes one"),
        ({}, ["--methods", "Mine=runs/mine"], "runs/mine is a folder: give runs/mine/checkpoints/last.ckpt instead"),
        ({}, ["--methods", "runs"], "runs is a folder: give a checkpoint in it instead"),
        ({}, ["--methods", "none.ckpt"], "no checkpoint none.ckpt"),
        ({}, ["--methods", "Telea", "Telea"], "'Telea' is taken|given twice"),
        ({}, ["--baseline", "Harmonic"], "is not one of the methods"),
        ({}, ["--batch-size", "-2"], "--batch-size: '-2' is not a whole number from 1"),
        ({}, ["--batch-size", "0"], "--batch-size: '0' is not a whole number from 1"),
        ({}, ["--limit", "0"], "--limit: '0' is not a whole number from 1"),
        ({}, ["--limit", "-1"], "--limit: '-1' is not a whole number from 1"),
        ({"metrics": "psnr"}, [], "metrics is 'psnr'; expected a list of names"),
        ({"metrics": []}, [], "expected a list of names"),
        ({"resize": "shortr"}, [], "resize is 'shortr'; expected shorter or direct or none"),
        ({"resize": None}, [], "resize is None; expected shorter or direct or none"),
        ({"round_to_8_bits": "no"}, [], "round_to_8_bits is 'no'; expected true or false"),
    ],
)
def test_mistakes_are_one_clear_line_before_anything_is_written(
    changes: dict[str, Any],
    arguments: list[str],
    said: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    (tmp_path / "runs/mine/checkpoints").mkdir(parents=True)
    (tmp_path / "runs/mine/checkpoints/last.ckpt").touch()
    monkeypatch.chdir(tmp_path)
    path = write_protocol(tmp_path, **changes)
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=said):
        run(
            path,
            "--images",
            photos,
            "--out",
            out,
            *(["--methods", "Telea"] if "--methods" not in arguments else []),
            *arguments,
        )
    assert not out.exists()


def test_a_protocol_without_images_asks_for_them(tmp_path: Path):
    with pytest.raises(ValueError, match="give --images FOLDER"):
        load_protocols(write_protocol(tmp_path))


def test_images_that_would_share_a_line_of_the_record_are_refused_before_anything_runs(photos: Path, tmp_path: Path):
    folder = tmp_path / "twice"
    folder.mkdir()
    for name in ("a.png", "a.jpg"):
        Image.open(photos / "photo0.png").save(folder / name)
    arguments = ["quickstart", "--images", str(folder), "--methods", "Telea", "--out", str(tmp_path / "out")]
    with pytest.raises(ValueError, match=r"a\.jpg and a\.png"):
        benchmark.main(arguments)
    assert not (tmp_path / "out").exists()


def test_two_benchmarks_do_not_write_one_journal(photos: Path, tmp_path: Path):
    (one,) = load_protocols(write_protocol(tmp_path), photos, limit=2)
    job = Job("Telea", "Telea", one, tmp_path)
    with Journal(job).writing():
        record = evaluate.evaluate(job)
    assert "another process is writing" in str(record.not_applicable)


# ---- hashes ---------------------------------------------------------------------------------------------------------


def test_whatever_changes_a_number_changes_the_hash_and_compare_refuses(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def one(images: Path = photos, **changes: Any) -> protocol.Protocol:
        return load_protocols(write_protocol(tmp_path, **changes), images)[0]

    base = one()
    copy = tmp_path / "copy"
    shutil.copytree(photos, copy)
    assert one(copy).hash == base.hash  # the same images elsewhere
    pixels = np.array(Image.open(copy / "photo3.png"))
    pixels[5, 5, 0] ^= 1
    Image.fromarray(pixels).save(copy / "photo3.png")
    different = {
        "pixel": one(copy),
        "mask seed": one(mask_seed=1),
        "resolution": one(size=65),
        "rounding": one(round_to_8_bits=False),
        "raw": one(measured="raw"),
        "fewer": one(limit=7),
        "metrics": one(metrics=["psnr"]),
    }
    monkeypatch.setattr(metric("psnr"), "definition", "psnr/2: another formula")
    different["definition"] = one()
    hashes = {name: p.hash for name, p in different.items()}
    assert len({base.hash, *hashes.values()}) == 9, hashes
    for other in different.values():
        said = [Record(p.described(), a_method()) for p in (base, other)]
        with pytest.raises(ValueError, match="has two definitions"):
            refuse_mixed(said)


def test_long_lists_stand_in_a_definition_as_one_hash():
    images = {f"{i}.png": f"{i:064d}" for i in range(definition.LISTED + 1)}
    fingerprint = {"images": images, "masks": images, "size": 64, "mask": "law"}
    found = definition.define(fingerprint, ["psnr"])
    assert found["images"]["count"] == definition.LISTED + 1 and "mask" not in found
    changed = definition.define({**fingerprint, "images": {**images, "7.png": "0" * 64}}, ["psnr"])
    assert protocol.hash_of(found) != protocol.hash_of(changed)


def test_two_data_modules_with_equal_evaluation_have_equal_val_hashes():
    first = SamplePhotos(mask=CenterRectangle(), image_size=64, batch_size=2)
    second = SamplePhotos(mask=CenterRectangle(), image_size=64, batch_size=8, seed=5, samples_per_epoch=16)
    third = SamplePhotos(mask=CenterRectangle(0.4), image_size=64)
    hashes = [protocol_hash(data, "val", CHEAP)[0] for data in (first, second, third)]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("path", sorted((INSTALLED / "protocols").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_installed_protocol_loads_and_draws_its_masks(path: Path, photos: Path):
    found = load_protocols(path.stem, photos, limit=2)
    assert found[0].name.startswith(path.stem)
    assert len({p.hash for p in found}) == len(found)
    for one in found:
        mask = one.images[1].mask
        assert one.images.size == yaml.safe_load(path.read_text())["size"] == mask.shape[-1]
        assert 0 < mask.mean() < 0.95
        assert all("published, other mask draws" in row.source for row in one.published)
        assert {name for row in one.published for name in row.metrics} <= set(one.metrics)


def test_published_rows_stand_beside_the_protocol_they_belong_to():
    config = yaml.safe_load((INSTALLED / "protocols" / "repaint_celebahq256.yaml").read_text())
    rows = {row["label"]: row["metrics"]["lpips_alex"] for row in config["masks"]["expand"]["published"]}
    assert rows["RePaint"] == 0.435 and rows["LaMa"] == 0.342  # RePaint, Table 1, last column


def test_the_authors_mask_files_are_taken_as_they_are(photos: Path, tmp_path: Path):
    rng = np.random.default_rng(0)
    for name in ("thick", "thin", "nn2", "ev2li", "genhalf", "ex64"):
        (tmp_path / "masks" / name).mkdir(parents=True)
        for number in range(8):
            known = (rng.random((256, 256)) > 0.5).astype(np.uint8) * 255
            Image.fromarray(known).save(tmp_path / "masks" / name / f"{number:06d}.png")
    found = load_protocols("repaint_celebahq256", photos, tmp_path / "masks")
    known = np.array(Image.open(tmp_path / "masks" / "nn2" / "000005.png"))
    assert np.array_equal(found[2].images[5].mask[0].numpy(), (known == 0).astype(np.float32))
    assert "published, other mask files" in found[2].published[0].source, "made up here"
    facts = found[2].described()
    assert facts.mask_set == {"files": 8, "sha256": MaskFolder(str(tmp_path / "masks" / "nn2"), white="known").sha256()}
    assert str(tmp_path) not in json.dumps(asdict(facts))


@pytest.mark.skipif("LIT_INPAINT_DATA" not in os.environ, reason="needs RePaint's mask files")
def test_repaints_own_sets_are_known_by_their_hash_and_their_first_masks_serve_fewer_images(tmp_path: Path):
    data = Path(os.environ["LIT_INPAINT_DATA"])
    urban, masks = data / "urban100_256", data / "repaint_masks"
    every = load_protocols("repaint_places256", urban, masks)
    assert {len(one.images) for one in every} == {100}
    for image in sorted(urban.iterdir())[:59]:
        shutil.copy(image, tmp_path)
    for fewer, whole in list(zip(load_protocols("repaint_places256", tmp_path, masks), every, strict=True))[::3]:
        assert "published, the authors' mask files" in fewer.published[0].source
        assert fewer.described().mask_set == whole.described().mask_set and whole.described().mask_files
        assert len(fewer.images) == 59 and fewer.hash != whole.hash
        for index in (0, 58):
            assert np.array_equal(fewer.images.draw_mask(index), whole.images.draw_mask(index))
    law = load_protocols("repaint", urban, limit=1)
    for name, drawn in zip(("nn2", "ev2li", "genhalf", "ex64"), law[2:], strict=True):
        assert np.array_equal(
            drawn.images.draw_mask(0), MaskFolder(str(masks / name), white="known").read("000000.png")
        )


def test_a_protocol_that_draws_its_masks_refuses_a_folder_of_files(photos: Path, tmp_path: Path):
    Image.fromarray(np.tri(64, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    drawn = {"class_path": "masks.Wide"}
    for path in ("center_hole", write_protocol(tmp_path, masks={"one": {**drawn, "folder": "."}, "other": drawn})):
        with pytest.raises(ValueError, match=r"names no masks of its authors: .*white: known, pairing: seq"):
            load_protocols(path, photos, tmp_path)
    (found,) = load_protocols(write_protocol(tmp_path, mask={**drawn, "folder": "."}), photos, tmp_path)
    assert found.images.mask == MaskFolder(str(tmp_path), white="known", pairing="sequence")


@pytest.mark.parametrize("given", [["--mask-white", "known"], ["--mask-threshold", "9"], ["--mask-alpha", "opaque"]])
def test_how_mask_files_are_read_is_not_ignored_where_there_is_no_mask_folder(photos: Path, given: list[str]):
    arguments = ["center_hole", "--images", photos, "--methods", "Telea", "--out", photos / "out", *given]
    with pytest.raises(ValueError, match=rf"{given[0]} is about the files of --mask-folder, .* of MaskFolder"):
        benchmark.main([*map(str, arguments)])


# ---- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_trainer_test_and_benchmark_give_equal_numbers_on_one_checkpoint(weights: Any, tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path / "runs" / "small" / "checkpoints" / "last.ckpt")
    settings = {"class_path": "datamodules.SamplePhotos"}
    path = write_protocol(tmp_path, data=settings, mask={"class_path": "masks.DeepFillV2Mask"})
    assert run(path, "--methods", checkpoint, "--weights", weights, "--out", tmp_path / "out") == 0
    (record,) = records(tmp_path / "out").values()
    assert record.method.weights == weights and record.method.images_seen == 640
    assert record.method.label == "DeepFillV2-small" + ("-raw" if weights == "raw" else "")
    data = SamplePhotos(mask=protocol.instantiate(protocol.MaskGenerator, {"class_path": "masks.DeepFillV2Mask"}),
                        image_size=64, batch_size=5, num_workers=0)  # fmt: skip
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
                        default_root_dir=tmp_path, inference_mode=False)  # fmt: skip
    (tested,) = trainer.test(load_method(checkpoint, weights), datamodule=data, verbose=False)
    assert record.metrics["psnr"].n == 12
    for name in CHEAP:
        assert tested[f"test/{name}"] == pytest.approx(record.metrics[name].mean, rel=1e-6)


def test_a_record_holds_what_the_pictures_show(photos: Path, tmp_path: Path):
    path = write_protocol(tmp_path, metrics=["psnr_hole", "psnr_pooled", "l1_hole"])
    assert run(path, "--images", photos, "--methods", "Telea", "--out", tmp_path) == 0
    ((key, record),) = records(tmp_path).items()
    folder = tmp_path / "images" / key.partition("/")[0]
    read = {
        kind: {p.stem: np.array(Image.open(p)).astype(float) / 255 for p in (folder / kind).glob("*.png")}
        for kind in ("_truth", "_mask", "_input", "Telea")
    }
    squared = []
    for name, hole in read["_mask"].items():
        error = read["Telea"][name] - read["_truth"][name]
        squared.append((error**2).mean())
        assert np.abs(error[hole == 0]).max() == 0  # a composite
        assert record.hole_share[name] == pytest.approx(hole.mean())
        assert record.metrics["l1_hole"].values[name] == pytest.approx(np.abs(error[hole == 1]).mean(), rel=1e-5)
        assert record.metrics["psnr_hole"].values[name] == pytest.approx(
            -10 * np.log10((error[hole == 1] ** 2).mean()), rel=1e-5
        )
        assert np.array_equal(read["_input"][name][hole == 0], read["_truth"][name][hole == 0])
    assert record.metrics["psnr_pooled"].mean == pytest.approx(-10 * np.log10(np.mean(squared)), rel=1e-5)
    values = record.metrics["l1_hole"].values
    for bucket, said in record.metrics["l1_hole"].buckets.items():
        low, high = map(float, bucket.split("-"))
        inside = [values[name] for name, share in record.hole_share.items() if low < share <= high]
        assert asdict(said) == {"n": len(inside), "mean": pytest.approx(np.mean(inside))}
    assert sum(b.n for b in record.metrics["l1_hole"].buckets.values()) == 8
    assert record.metrics["l1_hole"].interval is None and record.metrics["l1_hole"].few


def test_diversity_is_of_all_samples_and_the_first_is_measured(
    photos: Path, tmp_path: Path, weights_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    def fill(erased: Tensor, mask: Tensor, *, generators: Any = None) -> Tensor:
        return torch.stack([torch.rand(erased.shape[1:], generator=g) * 2 - 1 for g in generators])

    diverse = Telea()
    diverse.diverse, diverse.fill = True, fill  # type: ignore[misc, method-assign]
    monkeypatch.setattr(source, "load_method", lambda *_: diverse)
    monkeypatch.setattr("lit_inpaint.labels.load_method", lambda *_: None)
    found = []
    for samples, names in ((3, ["l1_hole", "diversity_lpips"]), (1, ["l1_hole"])):
        path = write_protocol(tmp_path, samples=samples, metrics=names)
        assert (
            run(path, "--images", photos, "--limit", 2, "--methods", "Diverse", "--out", tmp_path / str(samples)) == 0
        )
        found += records(tmp_path / str(samples)).values()
    assert found[0].metrics["diversity_lpips"].mean > 0.01
    assert found[0].metrics["l1_hole"].values == found[1].metrics["l1_hole"].values
    plain = write_protocol(tmp_path, samples=3, metrics=["diversity_lpips"])
    monkeypatch.setattr(source, "load_method", load_method)
    assert run(plain, "--images", photos, "--limit", 2, "--methods", "Telea", "--out", tmp_path / "telea") == 0
    (record,) = records(tmp_path / "telea").values()
    assert record.metrics["diversity_lpips"].reason == "n/a: the method gives one completion per image"


def test_set_metrics_stand_on_features_kept_once_an_image(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[int] = []

    def features(image: Tensor) -> Tensor:
        seen.append(len(image))
        return image.mean((2, 3))

    for name in ("fid", "u_ids"):
        monkeypatch.setattr(metric(name), "features", replace(inception.INCEPTION, extract=features))
    monkeypatch.setattr("experiments.evaluate.job.unavailable", lambda name: None)
    monkeypatch.setattr(metric("fid"), "least", 8)
    path = write_protocol(tmp_path, metrics=["psnr", "fid", "u_ids"])
    assert run(path, "--images", photos, "--methods", "Telea", "Harmonic", "--out", tmp_path) == 0
    assert seen == [1] * 24  # the truths serve both methods
    (key, record) = next((k, r) for k, r in records(tmp_path).items() if k.endswith("Harmonic"))
    folder = tmp_path / "images" / key.partition("/")[0]
    fake, real = (
        np.stack([np.array(Image.open(p)).mean((0, 1)) / 127.5 - 1 for p in sorted((folder / kind).glob("*.png"))])
        for kind in ("Harmonic", "_truth")
    )
    assert record.metrics["fid"].mean == pytest.approx(inception.frechet_distance(fake, real), rel=1e-3)
    assert (record.metrics["fid"].n, record.metrics["fid"].interval) == (8, None)
    assert record.metrics["u_ids"].reason == "u_ids needs at least 4096 images, given 8"


def test_a_metric_that_is_defined_is_in_the_record_and_in_every_table_without_another_list(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """One of each kind, planted as a new one would be: a name in the package and in its ``__all__``."""
    of_colour = metrics.Features("colours", lambda image: image.mean((2, 3)), 3)

    @metrics.defined("1: largest error", title="Largest error", higher_is_better=False, decimals=1, unit="levels")
    def worst_pixel(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return (prediction - target).abs().flatten(1).amax(1) * 127.5

    def shift(fake: np.ndarray, real: np.ndarray) -> dict[str, float]:
        return {"colour_match": 1000 - float(np.abs(fake.mean(0) - real.mean(0)).sum())}

    @metrics.defined("1: mean colours of both sets", title="Colour match", higher_is_better=True, decimals=3,
                     features=of_colour, score=shift, least=3)  # fmt: skip
    def colour_match(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        raise AssertionError("a benchmark computes it from kept features")

    for planted in (worst_pixel, colour_match):
        monkeypatch.setattr(metrics, planted.__name__, planted, raising=False)
    monkeypatch.setattr(metrics, "__all__", [*metrics.__all__, "worst_pixel", "colour_match"])
    path = write_protocol(tmp_path, metrics=["worst_pixel", "colour_match"])
    out = tmp_path / "out"
    arguments = (path, "--images", photos, "--methods", "Telea", "Harmonic", "--out", out)
    assert run(*arguments, "--limit", 4) == 0
    screen, markdown = capsys.readouterr().out, next(out.glob("*.md")).read_text()
    found = {key.rpartition("/")[2]: record.metrics for key, record in records(out).items()}
    assert compare([str(out), "--out", str(tmp_path / "page.html")]) == 0
    page, latex = (tmp_path / "page.html").read_text(), next(tmp_path.glob("*.tex")).read_text()
    for name, decimals, arrow in (("worst_pixel", 1, "↓"), ("colour_match", 3, "↑")):
        means = {label: result[name].mean for label, result in found.items()}
        for label, mean in means.items():
            assert mean is not None, (name, label)
            shown = rf"(?<![\d.]){re.escape(f'{mean:.{decimals}f}')}(?!\d)"
            assert all(re.search(shown, text) for text in (screen, markdown, page, latex))
        assert f"{name}/1: " in page and f"<code>{name}</code>" in page and arrow in page
    assert "Largest error, levels. " in page and "Colour match. " in page
    lines = list(csv.DictReader(io.StringIO((tmp_path / "page.csv").read_text())))
    best = {line["metric"]: float(line["mean"]) for line in lines if line["best"] == "1"}
    assert best == {
        "worst_pixel": pytest.approx(min(float(x["mean"]) for x in lines if x["metric"] == "worst_pixel")),
        "colour_match": pytest.approx(max(float(x["mean"]) for x in lines if x["metric"] == "colour_match")),
    }
    few = write_protocol(tmp_path, metrics=["worst_pixel", "colour_match"])
    assert run(few, "--images", photos, "--limit", 2, "--methods", "Telea", "--out", tmp_path / "few") == 0
    (record,) = records(tmp_path / "few").values()
    assert record.metrics["colour_match"].reason == "colour_match needs at least 3 images, given 2"


def test_a_baseline_adds_paired_differences(photos: Path, tmp_path: Path):
    path = write_protocol(tmp_path)
    arguments = (path, "--images", photos, "--methods", "Telea", "Harmonic", "--baseline", "Telea", "--out", tmp_path)
    assert run(*arguments) == 0
    found = {key.rpartition("/")[2]: record.metrics["psnr"] for key, record in records(tmp_path).items()}
    text = next(tmp_path.glob("*.md")).read_text()
    gain = found["Harmonic"].mean - found["Telea"].mean  # type: ignore[operator]
    assert f"| Harmonic | {gain:+.2f}" in text.partition("Paired difference to Telea")[2]


def test_the_file_of_tables_keeps_what_was_measured_before(photos: Path, tmp_path: Path):
    arguments = (write_protocol(tmp_path), "--images", photos, "--limit", 2, "--out", tmp_path, "--methods")
    for methods in (("Telea", "Harmonic"), ("NavierStokes",), ("Harmonic",)):
        assert run(*arguments, *methods) == 0
    (file,), (folder,) = tmp_path.glob("*.md"), (tmp_path / "records").iterdir()
    rows = re.findall(r"^\| (Telea|Harmonic|NavierStokes) ", file.read_text(), re.MULTILINE)
    assert rows == ["Harmonic", "NavierStokes", "Telea"]
    (folder / "Telea.json").write_text("{")
    assert run(*arguments, "NavierStokes") == 0
    assert "Telea" not in file.read_text() and "Harmonic" in file.read_text()


def test_two_devices_give_the_records_of_one(photos: Path, tmp_path: Path):
    (one,) = load_protocols(write_protocol(tmp_path), photos, limit=2)
    jobs = [Job(name, name, one, tmp_path / "out") for name in ("Telea", "Harmonic")]
    told: list[int] = []
    there = processes.run_on_many(jobs, ["cpu", "cpu"], told.append, method="fork")
    assert sorted(told) == told and told[-1] == 4
    alone = [evaluate.evaluate(replace(job, out=tmp_path / "alone")) for job in jobs]
    strip = [{str(i): r for i, r in enumerate(group)} for group in (there, alone)]
    assert without_cost(strip[0]) == without_cost(strip[1])


def a_method() -> MethodFacts:
    return MethodFacts(name="Telea", label="Telea", weights="none", parameters={})


def a_record(n: int = 24) -> Record:
    values: dict[str, float | None] = {f"{i}": 0.1 * i for i in range(n)} | {"x": None}
    known = [v for v in values.values() if v is not None]
    low = [v for i, v in enumerate(known) if i % 2]
    buckets = {"0.1-0.2": Bucket(float(np.mean(low)), len(low))}
    result = MetricResult(
        "psnr/1", values, float(np.mean(known)), mean_interval(known), n, 1, few=True, buckets=buckets
    )
    shares = {name: 0.15 if i % 2 else 0.25 for i, name in enumerate(values)} | {"x": 0.3}
    definition: dict[str, Any] = {"size": 64, "images": {"0": "a" * 64}}
    said = ProtocolFacts("p", protocol.hash_of(definition), definition)
    return Record(said, a_method(), {"psnr": result}, shares, versions={"numpy": np.__version__})


def test_records_come_back_as_they_were_written(tmp_path: Path):
    record = a_record()
    write_record(record, tmp_path / "r.json")
    assert read_record(tmp_path / "r.json") == record
    assert not list(tmp_path.glob("*.part"))
    with pytest.raises(ValueError, match="is not that of its values"):
        write_record(replace(record, metrics={"psnr": replace(record.metrics["psnr"], mean=0.3)}), tmp_path / "r.json")
    assert read_record(tmp_path / "r.json") == record


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [("method", {"seed": "3"}, "method.seed"), ("method", {"parameters": {"g": 1.5}}, "method.parameters.g"),
     ("protocol", {"published": [{"label": "LaMa"}]}, "protocol.published"), ("metrics", {"psnr": {}}, "metrics.psnr")],
    ids=["seed", "parameters", "published", "metrics"],
)  # fmt: skip
def test_a_value_of_another_type_is_not_written(place: str, value: dict[str, Any], said: str, tmp_path: Path):
    record = a_record()
    for key, content in value.items():
        if place == "metrics":
            record.metrics[key] = replace(record.metrics[key], n=1.5, values={}, left_out=0)
        else:
            setattr(getattr(record, place), key, content)
    with pytest.raises(ValueError, match=said):
        write_record(record, tmp_path / "r.json")
    assert not list(tmp_path.iterdir())


def test_a_record_of_0_1_without_newer_keys_is_read_and_unknown_ones_of_its_method_are_no_damage(tmp_path: Path):
    path = tmp_path / "r.json"
    write_record(a_record(), path)
    data = json.loads(path.read_text())
    assert "data" not in data["protocol"] and "path" not in data
    data["method"] |= {"licence": "MIT"}
    for key in ("checkpoint", "run", "seed"):
        del data["method"][key]
    path.write_text(json.dumps(data))
    read = read_record(path)
    assert (read, read.path, read.label, read.method.seed) == (a_record(), path, "Telea", None)
    path.write_text(json.dumps(data | {"path": "elsewhere"}))
    with pytest.raises(ValueError, match="path: Unexpected"):
        read_record(path)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("protocol", "definition", "size"), 128, "its hash is .*, that of its definition"),
        (("protocol", "hash"), "0" * 64, "its hash is 00000000"),
        (("metrics", "psnr", "values", "3"), 0.9, "the mean of psnr"),
        (("metrics", "psnr", "values", "3"), "0.3", "metrics.psnr.values.3: .*valid number"),
        (("metrics", "psnr", "mean"), 1.2, "the mean of psnr, 1.2"),
        (("metrics", "psnr", "mean"), math.nan, "mean: .*finite"),
        (("metrics", "psnr", "interval", 0), 0.8, "the interval of psnr"),
        (("metrics", "psnr", "interval"), None, "the interval of psnr, None"),
        (("metrics", "psnr", "buckets", "0.1-0.2", "mean"), 1.3, "at 0.1-0.2 of hole"),
        (("metrics", "psnr", "n"), 25, r"psnr states 25 \+ 1 images"),
        (("hole_share", "3"), 0.25, "at 0.1-0.2 of hole"),
        (("method", "parameters"), {"generator": "many"}, "generator: .*valid integer"),
        (("method", "label"), None, "label"),
        (("metrics", "psnr", "certain"), True, "certain: Unexpected"),
        (("metrics",), [], "metrics: .*object"),
    ],
    ids=str,
)
def test_a_record_that_was_changed_is_refused_with_its_name(
    place: tuple[Any, ...], value: Any, said: str, tmp_path: Path
):
    path = tmp_path / "r.json"
    write_record(a_record(), path)
    data = inner = json.loads(path.read_text())
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=rf"r\.json is not a benchmark record \(.*{said}"):
        read_record(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"7", b'{"format": 1}', b"\xff\xfe{}", bytes(100), b"[" * 9000])
def test_what_is_no_record_is_named(content: bytes, tmp_path: Path):
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"r\.json is not a benchmark record"):
        read_record(tmp_path / "r.json")


def test_a_record_of_a_newer_format_is_named_as_newer_and_not_measured_again(photos: Path, tmp_path: Path):
    (one,) = load_protocols(write_protocol(tmp_path), photos, limit=2)
    job = Job("Telea", "Telea", one, tmp_path)
    record = evaluate.evaluate(job)
    whole = job.record_path.read_text()
    job.record_path.write_text(whole[:-40])  # damaged: the journal has it
    assert without_cost({"": evaluate.evaluate(job)}) == without_cost({"": record})
    newer = json.dumps(json.loads(whole) | {"format": 2, "proof": "unknown here"})
    job.record_path.write_text(newer)
    with pytest.raises(ValueError, match=r"Telea\.json has format 2, of a newer lit-inpaint; this one reads 1"):
        evaluate.evaluate(job)
    assert job.record_path.read_text() == newer


# ---- intervals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("law", "mean"), [("normal", 0.0), ("lognormal", float(np.exp(0.125)))])
def test_the_95_percent_interval_covers_the_mean_in_92_5_to_97_percent_of_cases(law: str, mean: float):
    rng = np.random.default_rng(7)
    draws = rng.normal(size=(1000, 100)) if law == "normal" else rng.lognormal(sigma=0.5, size=(1000, 100))
    inside = 0
    for values in draws:
        interval = mean_interval(values)
        assert interval is not None
        inside += interval[0] <= mean <= interval[1]
    assert 925 <= inside <= 970, inside


def test_an_interval_of_many_images_takes_no_more_memory_and_has_the_bits_of_one_taken_at_once():
    values = np.random.default_rng(3).random(3000)
    tracemalloc.start()
    try:
        found = mean_interval(values)
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()
    drawn = np.random.default_rng(0).integers(3000, size=(2000, 3000))
    assert found == tuple(np.quantile(values[drawn].mean(1), (0.025, 0.975)))


@pytest.mark.parametrize(("photographs", "holes"), [(50, 4), (30, 1), (25, 20)])
def test_an_interval_of_several_holes_covers_the_mean_of_other_photographs(photographs: int, holes: int):
    """Two fifths to all of the variance is between photographs; drawn as images, holes gave a third of the width."""
    rng, inside, of = np.random.default_rng(7), 0, [*range(photographs)] * holes
    for _ in range(400):
        values = np.tile(rng.normal(size=photographs), holes) + 0.3 * rng.normal(size=photographs * holes)
        low, high = mean_interval(values, of) or (0, 0)
        inside += low <= 0 <= high
    assert 0.89 <= inside / 400 <= 0.98, inside


def test_holes_of_one_photograph_are_drawn_together_even_where_some_are_undefined():
    values, of = np.arange(60.0), [*range(20), *range(20), *range(5), *[5] * 15]
    drawn = np.random.default_rng(0).integers(20, size=(2000, 20))
    of_each = [values[np.array(of) == photograph] for photograph in range(20)]
    slow = [np.concatenate([of_each[photograph] for photograph in line]).mean() for line in drawn]
    assert mean_interval(values, of) == pytest.approx(tuple(np.quantile(slow, (0.025, 0.975))), rel=1e-12)
    assert mean_interval(np.arange(60.0), [*range(19)] * 3 + [0, 1, 2]) is None  # 19 photographs


def test_several_holes_a_photograph_are_no_more_photographs_in_records_and_tables(photos: Path, tmp_path: Path):
    (one,) = load_protocols(write_protocol(tmp_path, metrics=["psnr"]), photos)
    images = EvaluationSet(one.images.files, one.images.mask, 64, repeats=8)
    record = evaluate.evaluate(job := Job("Harmonic", "Harmonic", replace(one, images=images), tmp_path))
    metric = record.metrics["psnr"]
    assert (metric.n, metric.interval, metric.few) == (64, None, True)  # of 8 photographs
    assert len(set(record.protocol.photograph_of(record.hole_share).values())) == 8
    (cell,) = (row.cells["psnr"] for row in plain_table([record], {"psnr": "PSNR"}).rows)
    assert cell.few and paired_difference(cell.values, cell.values, cell.photographs) == (0, None, 64)
    before = replace(
        record, metrics={"psnr": replace(metric, interval=mean_interval([*metric.values.values()]), few=False)}
    )
    write_record(before, job.record_path)  # as 0.2.0 wrote it
    assert read_record(job.record_path).metrics["psnr"].interval is not None
    wrong = replace(metric, interval=(0.0, 1.0))
    with pytest.raises(ValueError, match="the interval of psnr"):
        replace(record, metrics={"psnr": wrong}).check()


def test_a_hole_of_exactly_a_fifth_is_in_the_bucket_up_to_a_fifth(photos: Path, tmp_path: Path):
    mask = {"class_path": "masks.CenterRectangle", "init_args": {"height": 0.5, "width": 0.4}}
    path = write_protocol(tmp_path, size=100, mask=mask, metrics=["psnr"])
    assert run(path, "--images", photos, "--limit", 1, "--methods", "Telea", "--out", tmp_path / "out") == 0
    (record,) = records(tmp_path / "out").values()
    assert [*record.hole_share.values()] == [0.2] and [*record.metrics["psnr"].buckets] == ["0.1-0.2"]


def test_intervals_need_20_values_and_pairs_need_both():
    assert mean_interval(np.arange(19)) is None and mean_interval(np.arange(20)) is not None
    a = {str(i): float(i) for i in range(30)} | {"x": None}
    b = {str(i): i - 2.0 for i in range(5, 40)} | {"x": 1.0}
    difference = paired_difference(a, b)
    assert difference == (2.0, (2.0, 2.0), 25)
    assert paired_difference(a, {"y": 1.0}) is None
