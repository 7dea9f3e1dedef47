"""Network calls are those that the networks see; progress, estimates and records know them."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from datamodules import SamplePhotos
from experiments.evaluate import source
from experiments.evaluate.job import Job
from experiments.evaluate.measure import evaluate
from experiments.evaluate.protocol import Protocol
from experiments.inpaint import large
from experiments.records.files import read_record
from lit_inpaint.calls import counted
from lit_inpaint.diffusion.samplers import DDIM, DPS, RePaint
from lit_inpaint.method import keyed_generators
from lit_inpaint.methods import Telea
from lit_inpaint.module import InpaintingModule
from masks import CenterRectangle
from tests.support.contract import ROWS, make

# The networks that a completion passes through, as attributes.
NETWORKS = {
    "DDPM": ["denoiser"],
    "Palette": ["denoiser"],
    "LatentInpainting": ["denoiser"],
    "DSI": ["structure.condition", "structure.pixelcnn", "texture"],
    "ICT": ["transformer", "upsampler"],
    "DeepFillV2": ["generator"],
    "Telea": [],
}


def watched(name: str, **changes: Any) -> tuple[InpaintingModule, Counter[str]]:
    """A small method, and how often each of its networks is asked: a wrapper around each, and no hook."""
    torch.manual_seed(0)
    method: InpaintingModule = make(name, dict(ROWS)[name] | changes).eval()
    seen: Counter[str] = Counter()
    for path in NETWORKS[name]:
        network = method.get_submodule(path)

        def wrapper(*inputs: Any, forward: Any = network.forward, path: str = path, **named: Any) -> Any:
            seen[path] += 1
            return forward(*inputs, **named)

        network.forward = wrapper  # type: ignore[method-assign]
    return method, seen


def completed(method: InpaintingModule, side: int = 64) -> Tensor:
    image, mask = torch.zeros(1, 3, side, side), torch.zeros(1, 1, side, side)
    mask[..., side // 4 : side // 2, side // 4 : side // 2] = 1
    guides = {"generators": keyed_generators(0, ["x"], 0)} if method.diverse else {}
    with torch.no_grad():
        return method(image, mask, **guides)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("DDPM", {"sampler": RePaint(6, 2, 2), "diffusion_steps": 50}, RePaint(6, 2, 2).network_calls),
        ("Palette", {"sampler": DDIM(3), "inference_steps": 50}, 3),
        ("LatentInpainting", {"sampler": DDIM(3), "diffusion_steps": 50}, 3),
        ("LatentInpainting", {"sampler": DDIM(3), "diffusion_steps": 50, "guidance": 2.0}, 3),  # of twice the batch
        ("DSI", {}, 66),  # condition, 8 x 8 codes, texture
        ("ICT", {}, None),
        ("DeepFillV2", {}, 1),
        ("Telea", {}, 0),
    ],
)
def test_counted_calls_are_those_that_the_networks_saw(name: str, changes: dict[str, Any], expected: int | None):
    method, seen = watched(name, **changes)
    told: list[int] = []
    with counted(method, told.append) as calls:
        completed(method)
    assert calls.count == sum(told) == seen.total() and expected in (None, calls.count)
    assert name != "ICT" or (seen["transformer"] > 2 and seen["upsampler"] == 1)
    completed(method)
    assert calls.count == sum(told)  # nothing is counted outside


def test_a_gradient_through_the_network_is_a_call_as_the_sampler_states():
    method, seen = watched("DDPM", sampler=DPS(4), diffusion_steps=50)
    with counted(method) as calls:
        completed(method)
    assert (calls.count, seen["denoiser"]) == (DPS(4).network_calls, 4)


def test_a_record_holds_the_calls_per_image_and_one_of_before_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    method, seen = watched("DSI")
    monkeypatch.setattr(source, "load_method", lambda *_: method)
    data = SamplePhotos(mask=CenterRectangle(), image_size=64).evaluation_set("test")
    data.samples = data.images = 2
    job = Job("DSI", "DSI", Protocol("calls", data, ("l1_hole",)), tmp_path)
    record = evaluate(job)
    assert record.network_calls == seen.total() / 2 == 66
    text = job.record_path.read_text()
    job.record_path.write_text(text.replace(' "network_calls": 66,\n', "").replace(' "network_calls": 66.0,\n', ""))
    assert '"network_calls"' not in job.record_path.read_text()
    assert read_record(job.record_path).network_calls is None


@pytest.mark.parametrize("side", [64, 80])
def test_calls_per_image_do_not_depend_on_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int):
    """At 80 px a network of 64 px completes a batch image by image."""
    method, seen = watched("DDPM", sampler=RePaint(4, 2, 2), diffusion_steps=50, image_size=64)
    monkeypatch.setattr(source, "load_method", lambda *_: method)
    data = SamplePhotos(mask=CenterRectangle(), image_size=side).evaluation_set("test")
    data.samples = data.images = 2
    record = evaluate(Job("DDPM", "DDPM", Protocol("calls", data, ("l1_hole",)), tmp_path, batch_size=2))
    assert record.network_calls == RePaint(4, 2, 2).network_calls
    assert seen.total() == record.network_calls * (1 if side == 64 else 2)


def test_another_sampler_completes_anew_and_the_record_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    method, _ = watched("DDPM", sampler=RePaint(4, 2, 2), diffusion_steps=50)
    monkeypatch.setattr(source, "load_method", lambda *_: method)
    data = SamplePhotos(mask=CenterRectangle(), image_size=64).evaluation_set("test")
    data.samples = data.images = 1
    job = Job("DDPM", "DDPM", Protocol("calls", data, ("l1_hole",)), tmp_path)
    own, other = evaluate(job), evaluate(replace(job, sampler=("DDNM", "steps=3")))
    assert (own.network_calls, other.network_calls) == (RePaint(4, 2, 2).network_calls, 3)
    assert "sampled by DDNM(" in (other.note or "") and "steps=3" in (other.note or "") and own.note is None
    monkeypatch.setattr(source, "load_method", lambda *_: Telea())
    refused = evaluate(replace(job, sampler=("DDNM",)))
    assert "Telea does not sample" in (refused.not_applicable or "") and not refused.refused


def test_a_probe_reaches_every_network_and_repeats_none_for_ever():
    method, seen = watched("ICT")
    peak = large._probe(method, 64, 64)
    assert seen["transformer"] == 2 and seen["upsampler"] == 1 and peak > 0
    method, seen = watched("DDPM", sampler=RePaint(50), diffusion_steps=50)
    large._probe(method, 64, 64)
    assert seen["denoiser"] == 2
    method, seen = watched("DSI")
    large._probe(method, 64, 64)
    assert seen["texture"] == 1 and seen["structure.pixelcnn"] <= 2 * 8  # 8 shapes: the rows down to its own
    before = seen.total()
    completed(method)
    assert seen.total() == before + 66  # the networks are themselves again
