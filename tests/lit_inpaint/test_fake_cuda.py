"""Every step of every method on a GPU that is not there: no tensor of the CPU is mixed in, and the host waits no more
often than tests/lit_inpaint/fake_cuda_waits.json says.

After a change that is meant: ``FAKE_CUDA_WRITE=1 pytest tests/lit_inpaint/test_fake_cuda.py -n 0`` writes the numbers,
git shows which. A number that rises costs every user of a GPU time in every batch.
"""

import contextlib
import inspect
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from torch import Tensor

import lit_inpaint.losses.perceptual
import lit_inpaint.metrics.inception
import lit_inpaint.metrics.perceptual
from lit_inpaint.callbacks import EMA, Health, Throughput
from lit_inpaint.classes import method_classes, stage_classes
from lit_inpaint.classical import ClassicalModule
from lit_inpaint.diffusion import samplers
from lit_inpaint.diffusion.schedules import Diffusion
from lit_inpaint.evaluated import for_trainer
from lit_inpaint.method import keyed_generators
from lit_inpaint.methods.lama.loss import DilatedResNet50
from lit_inpaint.metrics import CHEAP, NAMES, ImageMean, InceptionMetrics, metric
from lit_inpaint.stage import Stage
from tests.support.contract import ROWS, STAGES
from tests.support.fake_cuda import FakeCuda
from tests.support.fake_steps import Steps, batch

WAITS = Path(__file__).with_name("fake_cuda_waits.json")
EVERY = stage_classes() | method_classes()
OURS = {
    name: cls
    for name, cls in EVERY.items()
    if cls.__module__.startswith("lit_inpaint.methods.") and not getattr(cls, "needed", None)  # others' networks
}
# Fewer rounds of the same code than in the contract test: what repeats needs no repetition here.
SMALLER: dict[str, dict[str, Any]] = {
    "Bertalmio": {"rounds": 1, "transport_steps": 1, "diffusion_steps": 1},
    "ICTUpsampler": {"size": 32},
    "GLCIC": {"completion_steps": 0, "discriminator_steps": 1},  # the discriminator's phase, then both
    "PatchMatch": {"radius": 2, "rounds": 1, "rounds_per_level": 0, "iterations": 1},
}
# Choices that need more, and the sides of the images where a module has no size of its own.
LARGER = {("DeepFillV1", "mmagic"): {"size": 80}, ("DeepFillV2", "mmagic"): {"width": 12}}
SIDE, SIDES = 32, {"AOTGAN": 40, "DSI": 16, "PatchMatch": 24, "mmagic": 72}
# Metrics of a set are measured through ``InceptionMetrics``: the rest of their work is numpy's.
MEASURED = sorted(  # clip_score needs prompts, and weights that are not here
    [*(name for name in NAMES if not metric(name).features and not metric(name).of_prompts), "InceptionMetrics"]
)
every_module = pytest.mark.parametrize("name", sorted(OURS))


@pytest.fixture(scope="module", autouse=True)
def zero_backbones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Networks whose files are not here, with weights of zero; those of LaMa are read from a file as published."""
    torchvision_models = pytest.importorskip("torchvision").models

    def zeros(name: str) -> dict[str, Tensor]:
        with torch.device("meta"):
            state = getattr(torchvision_models, name)().features.state_dict()
        return {key: torch.zeros(()).expand(value.shape) for key, value in state.items()}

    extractor = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    file = tmp_path_factory.mktemp("weights") / "encoder.pth"
    with torch.device("meta"):
        state = DilatedResNet50().state_dict()
    torch.save({key: torch.zeros((), dtype=value.dtype).expand(value.shape) for key, value in state.items()}, file)
    with pytest.MonkeyPatch.context() as patch:
        for module in (lit_inpaint.losses.perceptual, lit_inpaint.metrics.perceptual):
            patch.setattr(module, "features_state", zeros)
        for module in (lit_inpaint.losses.perceptual, lit_inpaint.metrics.inception):
            patch.setattr(module, "backbone", lambda name: file)
        patch.setattr(extractor, "load_state_dict", lambda self, state: None)
        yield {"segmentation_weights": str(file)}


@pytest.fixture(autouse=True)
def fresh_networks() -> None:
    """A fake GPU does not outlive its test, and what is cached on it must not."""
    lit_inpaint.metrics.perceptual._network.cache_clear()
    lit_inpaint.metrics.inception._network.cache_clear()


def arguments(name: str, files: dict[str, str]) -> dict[str, Any]:
    """Small, and with every loss of the published method: the contract test leaves out those that need a file."""
    small = dict(ROWS + STAGES)
    assert name in small, f"{name} has no small arguments in tests/support/contract.py: give it a row."
    kept = {key: value for key, value in small[name].items() if not (key.endswith("_weight") and value == 0)}
    needed = {key: value for key, value in files.items() if key in inspect.signature(OURS[name]).parameters}
    return kept | SMALLER.get(name, {}) | needed


def made(name: str, given: dict[str, Any]) -> Stage:
    torch.manual_seed(0)
    module = OURS[name](**given)
    if hasattr(module, "vqvae_checkpoint"):  # a stage on a VQ-VAE that counts as trained
        module.vqvae.top.updates.fill_(1)
    return for_trainer(module) if isinstance(module, ClassicalModule) else module


@contextlib.contextmanager
def running(name: str, given: dict[str, Any], dtype: torch.dtype | None = None) -> Iterator[Steps]:
    module = made(name, given)
    side = given.get("size", given.get("image_size", SIDES.get(name, SIDES.get(given.get("variant", ""), SIDE))))
    callbacks = [EMA(0.5)] if getattr(module, "trainable", True) else []
    with FakeCuda() as cuda:
        yield Steps(cuda, module, side, dtype, callbacks)


def committed(kind: str, name: str, waits: Any) -> None:
    """Compare with the committed number, or write it."""
    numbers = json.loads(WAITS.read_text()) if WAITS.exists() else {}
    if os.environ.get("FAKE_CUDA_WRITE"):
        numbers.setdefault(kind, {})[name] = waits
        WAITS.write_text(json.dumps(numbers, indent=1, sort_keys=True) + "\n")
    assert numbers.get(kind, {}).get(name) == waits


@every_module
def test_every_step_stays_on_the_gpu_and_waits_as_often_as_committed(name: str, zero_backbones: dict[str, str]):
    with running(name, arguments(name, zero_backbones)) as module:
        waits = module.all()
    committed("steps", name, waits)


@every_module
def test_every_step_stays_on_the_gpu_under_bfloat16(name: str, zero_backbones: dict[str, str]):
    with running(name, arguments(name, zero_backbones), torch.bfloat16) as module:
        if module.trainable:
            module.training()
        module.evaluation("validation")  # of which test and sample are parts


SAMPLERS = {
    name: getattr(samplers, name)
    for name in samplers.__all__
    if isinstance(getattr(samplers, name), type)
    and issubclass(getattr(samplers, name), samplers.Sampler)
    and not inspect.isabstract(getattr(samplers, name))
}


def sampled(name: str, network: Callable[[Tensor, Tensor], Tensor]) -> dict[str, int]:
    """The waits of a sampler with every jump and repetition it has, images drawn from their own generators."""
    cls = SAMPLERS[name]
    numbers = {f.name: 2 for f in fields(cls) if isinstance(f.default, int) and not isinstance(f.default, bool)}
    sampler = cls(**(numbers | {"steps": 4}))
    with FakeCuda() as cuda:
        image, mask, names = batch(16)
        cuda.waits.clear()
        out = sampler(network, Diffusion.make("cosine", 8), image, mask, keyed_generators(0, names, 0))
        assert out.device.type == "cuda"
        return dict(sorted(cuda.waits.items()))


def two_outputs(x: Tensor, t: Tensor) -> Tensor:
    assert x.device == t.device
    return torch.cat([x, x], 1) * t.view(-1, 1, 1, 1)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_sampler_stays_on_the_gpu(name: str):
    committed("samplers", name, sampled(name, two_outputs))


@pytest.mark.parametrize("name", MEASURED)
def test_every_metric_stays_on_the_gpu(name: str):
    with FakeCuda() as cuda:
        image, mask = (x[:1] for x in batch(48)[:2])
        prediction = image.flip(-1)

        metrics = InceptionMetrics().to("cuda:0")

        def measured() -> Any:
            if name == "InceptionMetrics":
                metrics.update(prediction, image, mask)
                return metrics.fake[0]
            if name == "diversity_lpips":
                return metric(name)(torch.stack([image, prediction]), image, mask)
            return metric(name)(prediction, image, mask)

        measured()  # reads the backbone
        cuda.waits.clear()
        assert measured().device.type == "cuda"
        committed("metrics", name, dict(sorted(cuda.waits.items())))


def test_watching_a_run_costs_the_waits_that_are_committed(zero_backbones: dict[str, str]):
    with running("DeepFillV2", arguments("DeepFillV2", zero_backbones)) as watched:
        watched.callbacks.extend([Health(), Throughput()])
        committed("callbacks", "EMA, Health, Throughput", dict(sorted(watched.training().items())))


def test_the_committed_numbers_are_those_of_all_modules_samplers_and_metrics():
    numbers = json.loads(WAITS.read_text())
    assert sorted(numbers["steps"]) == sorted(OURS)
    assert sorted(numbers["samplers"]) == sorted(SAMPLERS)
    assert sorted(numbers["metrics"]) == MEASURED


# ---- the harness itself: faults are planted, and found --------------------------------------------------------------

NETWORK = dict(ROWS)["PartialConv"]
loss = "lit_inpaint.methods.partial_conv.method.hole_total_variation"


def run_training() -> Counter[str]:
    with running("PartialConv", NETWORK) as module:
        return module.training()


def run_evaluation() -> Counter[str]:
    with running("PartialConv", NETWORK) as module:
        return module.evaluation("validation")


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_a_constant_of_the_cpu_in_a_loss_is_found(dtype: torch.dtype | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loss, lambda completed, mask: (completed * torch.ones(3, 1, 1)).mean())
    with (
        running("PartialConv", NETWORK, dtype) as module,
        pytest.raises(RuntimeError, match=r"two (different )?devices,? cuda:0(,| and) cpu"),
    ):
        module.training()


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("item", lambda x: x.mean() * x.mean().item()),
        ("item", lambda x: x.mean() if x.mean() > 0 else -x.mean()),
        ("item", lambda x: x.mean() * torch.equal(x, x)),
        ("to_host", lambda x: x.mean() * float(x.cpu().mean())),
        ("to_host", lambda x: x.mean() * x.flatten().tolist()[0]),
        ("to_device", lambda x: (x * torch.tensor([1.0, 2.0, 3.0], device=x.device).view(3, 1, 1)).mean()),
        ("shape", lambda x: x[x > 0].mean()),
        ("shape", lambda x: x.mean() * len((x > 0).nonzero())),
    ],
)
def test_whatever_makes_the_host_wait_in_a_step_is_counted(
    kind: str, fault: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loss, lambda completed, mask: completed.mean())
    clean = run_training()
    monkeypatch.setattr(loss, lambda completed, mask: fault(completed))
    assert run_training() - clean == {kind: 1}


def test_a_generator_of_the_cpu_that_draws_on_the_gpu_is_found(monkeypatch: pytest.MonkeyPatch):
    def draw(self: samplers.Noise, like: Tensor) -> Tensor:
        assert self.generators is not None
        return torch.stack(
            [torch.randn(x.shape, generator=g, device=x.device) for x, g in zip(like, self.generators, strict=True)]
        )

    monkeypatch.setattr(samplers.Noise, "__call__", draw)
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
        sampled("RePaint", two_outputs)


def test_a_constant_of_the_cpu_in_a_metric_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lit_inpaint.metrics.mean.round_to_8_bits", lambda image: image * torch.ones(3, 1, 1))
    with pytest.raises(RuntimeError, match="different devices"):
        run_evaluation()


def test_a_wait_in_a_metric_is_counted(monkeypatch: pytest.MonkeyPatch):
    clean = run_evaluation()
    update = ImageMean.update
    monkeypatch.setattr(ImageMean, "update", lambda self, *images: update(self, *images) or self.count.item())
    assert run_evaluation() - clean == {"item": len(CHEAP)}


def test_an_average_that_ema_keeps_on_the_cpu_is_found(monkeypatch: pytest.MonkeyPatch):
    begin = EMA.on_fit_start

    def on_the_cpu(self: EMA, *arguments: Any) -> None:
        begin(self, *arguments)
        for network in self.average.values():
            network.cpu()

    monkeypatch.setattr(EMA, "on_fit_start", on_the_cpu)
    with pytest.raises(RuntimeError, match="on the same device"):
        run_training()


def test_a_wait_in_ema_is_counted(monkeypatch: pytest.MonkeyPatch):
    clean, update = run_training(), EMA.on_generator_update

    def waiting(self: EMA, trainer: Any, module: Any) -> None:
        assert next(module.parameters()).isfinite().all()
        update(self, trainer, module)

    monkeypatch.setattr(EMA, "on_generator_update", waiting)
    assert run_training() - clean == {"item": 1}


@pytest.mark.slow
@every_module
def test_every_choice_of_an_argument_stays_on_the_gpu(name: str, zero_backbones: dict[str, str]):
    """Each Boolean and each Literal of a constructor at each other value, one at a time."""
    given = arguments(name, zero_backbones)
    for choice in choices(OURS[name]):
        try:
            with running(name, given | choice | LARGER.get((name, *choice.values()), {})) as module:
                if module.trainable:
                    module.training()
                module.evaluation("test")
        except Exception as error:
            error.add_note(f"{name}, {choice}")
            raise


def choices(cls: type) -> Iterator[dict[str, Any]]:
    hints = get_type_hints(cls.__init__)
    for key, parameter in inspect.signature(cls).parameters.items():
        for kind in (hints[key], *get_args(hints[key])):
            values = (True, False) if kind is bool else get_args(kind) if get_origin(kind) is Literal else ()
            yield from ({key: value} for value in values if value != parameter.default)


def test_branches_see_the_true_values_and_the_cpu_program_gives_the_same():
    """Shapes that depend on values, in-place writes through views and draws on the CPU: all are the real ones."""
    module = made("ContextEncoder", dict(ROWS)["ContextEncoder"]).eval()
    with torch.no_grad():
        with FakeCuda():
            image, mask, _ = batch(64)
        expected = module(image.value, mask.value)  # type: ignore[attr-defined]
        with FakeCuda():
            image, mask, _ = batch(64)
            out = module.to("cuda:0")(image, mask)
    assert out.device.type == "cuda"
    torch.testing.assert_close(out.value, expected)
