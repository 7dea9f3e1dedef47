"""Every constructor argument does something: give it another value than its default, and something must change.

What counts: parameters and their shapes, completed images, gradients, weights after a few batches, validation; stored
hyper-parameters do not. Arguments are those that the command line takes, read from the classes: a new one that is
forgotten fails here.
"""

import hashlib
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.utils.data import DataLoader

import masks
from lit_inpaint.classes import method_classes, stage_classes
from lit_inpaint.diffusion import samplers
from lit_inpaint.diffusion.schedules import Diffusion
from lit_inpaint.losses.perceptual import VGGFeatures
from lit_inpaint.method import Method, keyed_generators
from lit_inpaint.methods.lama import refinement
from lit_inpaint.methods.lama.loss import HighReceptiveFieldFeatures
from lit_inpaint.module import InpaintingModule
from lit_inpaint.stage import Stage
from masks.convention import InpaintingBatch
from tests.support.contract import ROWS, STAGES, batches, make, trainer

FITTED_OR_NOT = stage_classes() | method_classes()
STAGE_CLASSES = {
    n: c
    for n, c in FITTED_OR_NOT.items()
    if c.__module__.startswith("lit_inpaint.") and not getattr(c, "needed", None)  # those have tests of their own
}
SAMPLERS = {n: c for n in samplers.__all__ if isinstance(c := getattr(samplers, n), type) and hasattr(c, "run")}
SAMPLERS.pop("Sampler")
MASKS = {n: getattr(masks, n) for n in masks.__all__}
CLASSES: dict[str, Any] = STAGE_CLASSES | SAMPLERS | MASKS

# Small enough to build and train in a moment; for the masks, what has no default.
SMALL: dict[str, dict[str, Any]] = {
    **dict(ROWS + STAGES),
    **{name: {"steps": 6} for name in SAMPLERS},
    **{name: {"steps": 6, "jump_length": 2, "resamples": 2} for name in ("RePaint", "RePaintDDIM", "CoPaint")},
    "DDPM": dict(ROWS)["DDPM"] | {"image_size": 32, "attention_resolutions": (16,)},
    "Palette": dict(ROWS)["Palette"] | {"image_size": 32, "attention_resolutions": (16,)},
    "GLCIC": dict(ROWS)["GLCIC"] | {"completion_steps": 1, "discriminator_steps": 1},
    "AreaBounded": {"generator": masks.RandomRectangle(), "low": 0.08, "high": 0.2},
    "Augmented": {"generator": masks.RandomRectangle()},
    "Inset": {"generator": masks.RandomRectangle()},
    "SquareCrop": {"generator": masks.LaMaThick(cap=1)},
    "Mixture": {"generators": (masks.RandomRectangle(), masks.Half()), "weights": (1.0, 2.0)},
}
# Arguments beside which one acts at all.
BESIDE: dict[tuple[str, str], dict[str, Any]] = {
    ("DDPM", "num_heads"): {"num_head_channels": None},
    ("DDPM", "num_heads_upsample"): {"num_head_channels": None},
    ("DDPM", "fixed_variance"): {"learn_sigma": False},
    ("DDPM", "label"): {"num_classes": 4},
    ("DDPM", "use_new_attention_order"): {"num_head_channels": 16},
    ("DDPM", "noise_schedule"): {"diffusion_steps": 24, "sampler": samplers.DDNM(steps=2)},
    ("Palette", "num_heads"): {"num_head_channels": None},
    ("DeepFillV2", "sketch_drop"): {"sketch": True},
    ("DeepFillV2", "canny"): {"sketch": True, "sketch_drop": 0.0},
    ("GLCIC", "adversarial_weight"): {"completion_steps": 0, "discriminator_steps": 0},
    ("ContextEncoder", "l2_weight"): {"overlap_weight": 1.0},  # what it logs is without these weights
    ("ICTTransformer", "decay_steps"): {"warmup_steps": 1, "decay_steps": 8},
    ("DDNM", "travel_length"): {"travel_repeat": 2},
}
# Values for which half (a fraction), twice (an integer) or another choice is invalid.
OTHERS: dict[tuple[str, str], list[Any]] = {
    ("*", "clip_norm"): [1e-3],
    ("AOTGAN", "rates"): [(1, 1, 2, 2)],
    ("DDPM", "channel_mult"): [(1, 2)],
    ("DDPM", "num_head_channels"): [16],
    ("DDPM", "validation_images"): [1],
    ("Palette", "channel_mult"): [(1, 2)],
    ("Palette", "num_head_channels"): [16],
    ("Palette", "norm_groups"): [8],
    ("Palette", "validation_images"): [1],
    ("LatentInpainting", "validation_images"): [1],
    ("DeepFillV1", "variant"): ["daa233"],  # mmagic's want 72 px: tests/lit_inpaint/test_parity_gan_papers.py
    ("DeepFillV2", "variant"): ["nipponjo", "nipponjo_tf"],
    ("DeepFillV2", "sketch_drop"): [0.0, 1.0],
    ("DeepFillV2", "canny"): [(10, 20)],
    ("ICT", "top_k"): [1],
    ("Bertalmio", "tolerance"): [0.1],
    ("AreaBounded", "low"): [0.12],
    ("Augmented", "zoom"): [2.0],
    ("GLCICRectangle", "low"): [48],
    ("Mixture", "weights"): [(2.0, 1.0)],
    ("NoiseBlobs", "high"): [0.22],
    ("NoiseBlobs", "density"): [0.22],
}
NO_TERM = {
    ("PatchMatch", "border_weight"): "the base of a power, by which votes fall with the distance from the border"
}
# What no training step, image or schedule shows, with the reason.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("*", "non_finite"): "acts where a loss is not finite: tests/lit_inpaint/test_module.py",
    ("DDPM", "use_checkpoint"): "saves memory: activations are computed again, the same ones",
    ("Palette", "use_checkpoint"): "saves memory: activations are computed again, the same ones",
    ("LatentInpainting", "prompt_dropout"): "acts on prompts: tests/lit_inpaint/test_latent_inpainting.py",
    ("LatentInpainting", "lora_rank"): "needs peft: tests/lit_inpaint/test_latent_inpainting.py",
    ("LatentInpainting", "guidance"): "acts on prompts: tests/lit_inpaint/test_latent_inpainting.py",
    ("ICTUpsampler", "size"): "the side that images must have; another is refused: tests/lit_inpaint/test_ict.py",
    ("AreaBounded", "tries"): "draws before the error: tests/masks/test_masks.py",
    ("*", "optimizers"): "another class altogether: tests/lit_inpaint/test_optimisers.py",
    ("*", "schedules"): "another class altogether: tests/lit_inpaint/test_optimisers.py",
    ("OwnMasks", "white"): "reads files: tests/datamodules/test_own_masks.py",
    ("OwnMasks", "threshold"): "reads files: tests/masks/test_masks_files.py",
    ("OwnMasks", "alpha"): "reads files: tests/masks/test_masks_reading.py",
    ("MaskFolder", "white"): "reads files: tests/masks/test_masks_files.py",
    ("MaskFolder", "threshold"): "reads files: tests/masks/test_masks_files.py",
    ("MaskFolder", "alpha"): "reads files: tests/masks/test_masks_reading.py",
    ("MaskFolder", "pairing"): "reads files: tests/masks/test_masks_files.py",
}


def arguments_of(cls: type) -> dict[str, tuple[Any, Any]]:
    """Type and default of every argument that the command line takes for a class."""
    parser, hints = ArgumentParser(exit_on_error=False), dict[str, Any]()
    names = parser.add_class_arguments(cls, "of")
    for base in reversed(cls.__mro__):
        hints |= get_type_hints(base if hasattr(base, "__dataclass_fields__") else base.__init__)  # type: ignore[misc]
    defaults = dict(parser.get_defaults().of) if names else {}
    return {name: (hints[name], default) for name, default in defaults.items()}


def others(kind: Any, value: Any) -> list[Any]:
    """Values of a type that differ from ``value``; none for what is neither number, switch nor choice."""
    kinds = [k for k in get_args(kind) if k is not NoneType] if NoneType in get_args(kind) else [kind]
    kind = kinds[0]
    if get_origin(kind) in (Union, UnionType) and int in get_args(kind):  # a size: one number, or two
        kind = int
    if get_origin(kind) is Literal:
        return [choice for choice in get_args(kind) if choice != value]
    if get_origin(kind) in (tuple, list) and get_args(kind)[0] in (int, float) and value is not None:
        return [[others(get_args(kind)[0], part)[0] for part in value]]
    if kind is bool:
        return [not value]
    if kind is int:
        return [2 * value if value else 1]
    return [0.5 * value if value else 0.5] if kind is float else []


def cases() -> Iterator[Any]:
    for name, cls in CLASSES.items():
        for argument, (kind, default) in arguments_of(cls).items():
            if {(name, argument), ("*", argument)} & EXCEPTIONS.keys():
                continue
            base = SMALL.get(name, {}) | BESIDE.get((name, argument), {})
            given = OTHERS.get((name, argument)) or OTHERS.get(("*", argument))
            values = given or others(kind, base.get(argument, default))
            if values:
                yield pytest.param(name, argument, base, values, id=f"{name}-{argument}")


@pytest.fixture(autouse=True)
def backbones_of_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks as deep as VGG and ResNet50, with four channels, so that perceptual losses need no file."""

    class Four(nn.ModuleList):
        def forward(self, image: Tensor) -> list[Tensor]:
            return [layer(image) for layer in self]

    def layers(count: int, inputs: int) -> list[nn.Module]:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return [nn.Conv2d(3 if i == 0 else inputs, 4, 3, padding=1) for i in range(count)]

    monkeypatch.setattr(VGGFeatures, "_load", lambda self: nn.Sequential(*layers(max(self.layers) + 1, 4)))
    monkeypatch.setattr(VGGFeatures, "require", lambda self, otherwise: None)
    monkeypatch.setattr(HighReceptiveFieldFeatures, "_load", lambda self: Four(layers(4, 3)))
    monkeypatch.setattr(HighReceptiveFieldFeatures, "require", lambda self: None)
    monkeypatch.setattr(refinement, "MIN_SIDE", 24)  # of the images that LaMa refines: two scales at 64 px


# ---- what an argument may change ------------------------------------------------------------------------------------


def observations(name: str, arguments: dict[str, Any]) -> Iterator[Any]:
    """Effects of a class's arguments, cheap ones first."""
    if name in MASKS:
        generator = MASKS[name](**arguments)
        yield [digest(torch.from_numpy(generator(96, 80, np.random.default_rng(seed)))) for seed in range(20)]
    elif name in SAMPLERS:
        yield sampled(SAMPLERS[name](**arguments))
    else:
        assert name in SMALL, (
            f"give {name} a row in ROWS or STAGES of tests/support/contract.py, with what makes it small"
        )
        with torch.device("meta"):
            method = STAGE_CLASSES[name](**arguments)
        yield {key: value.shape for key, value in method.state_dict().items()}
        if isinstance(method, Method):
            yield completed(built(name, arguments))
        if getattr(method, "trainable", True):
            yield trained(built(name, arguments))


def digest(*tensors: Tensor | None) -> str:
    content = b"".join(b"-" if t is None else t.detach().contiguous().numpy().tobytes() for t in tensors)
    return hashlib.sha256(content).hexdigest()


def built(name: str, arguments: dict[str, Any]) -> Any:
    """With every parameter moved a little: layers that begin at zero hide what lies below them."""
    method = make(name, arguments)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    if hasattr(method, "vqvae"):
        method.vqvae.top.updates += 1  # trained
    return method


def data(method: Any, count: int = 4) -> DataLoader:
    """Batches of two; of 32 px for the two methods that are small only there."""
    loader = batches(count)
    if method.__class__.__name__ not in ("DDPM", "Palette"):
        return loader
    window = (..., slice(16, 48), slice(16, 48))
    return DataLoader([InpaintingBatch(i.image[window], i.mask[window], i.name) for i in loader.dataset], batch_size=2)


@torch.no_grad()
def completed(method: InpaintingModule) -> list[str]:
    """Images of the size that the network is made for, with generators where it takes them, and without."""
    method.eval()
    batch = next(iter(data(method, 1)))
    torch.manual_seed(3)
    made = [
        method(batch.image, batch.mask, **guides)
        for guides in ([method.draws(0, batch.name), {}] if method.diverse else [{}])
    ]
    return [digest(image) for image in made]


def trained(method: Any) -> list[Any]:
    """Gradients of every optimiser step, the weights after it, and what validation measures."""
    seen: list[Any] = []
    step = LightningOptimizer.step

    def watched(optimizer: LightningOptimizer, *args: Any, **kwargs: Any) -> None:
        owned = [p for group in optimizer.param_groups for p in group["params"]]
        seen.append(digest(*(p.grad for p in owned)))
        step(optimizer, *args, **kwargs)
        seen.append(digest(*owned))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LightningOptimizer, "step", watched)
        run = trainer(Path(), max_steps=4, val_check_interval=4)
        run.fit(method, data(method), data(method, 1))
    return [*seen, {key: float(value) for key, value in run.callback_metrics.items() if key.startswith("val/")}]


def sampled(sampler: Any) -> list[Any]:
    """One image, by a network that looks at the state and at the timestep."""
    torch.manual_seed(0)
    network = nn.Conv2d(3, 6, 3, padding=1)
    known, mask = torch.rand(1, 3, 8, 8) * 2 - 1, torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 3:8] = 1

    def noise(x_t: Tensor, t: Tensor) -> Tensor:
        return network(x_t) * torch.cos(t.to(x_t) + 1).view(-1, 1, 1, 1)

    made = sampler(noise, Diffusion.make("cosine", 30), known, mask, keyed_generators(0, ["a"], 0))
    return [digest(made), sampler.network_calls]


SEEN: dict[str, tuple[list[Any], Iterator[Any]]] = {}


def remembered(name: str, arguments: dict[str, Any]) -> Iterator[Any]:
    """:func:`observations`, each made once however often it is asked for."""
    seen, rest = SEEN.setdefault(f"{name} {arguments}", ([], observations(name, arguments)))
    yield from seen
    for each in rest:
        seen.append(each)
        yield each


def changes(name: str, base: dict[str, Any], other: dict[str, Any]) -> bool:
    return any(a != b for a, b in zip_longest(remembered(name, base), observations(name, other)))


def losses(name: str, arguments: dict[str, Any], term: str) -> tuple[np.ndarray, list[float]]:
    """Minimised and logged values of two batches with fixed weights."""
    minimised: list[float] = []
    logged: list[float] = []
    backward, log = Stage.manual_backward, Stage.log

    def watched_backward(self: Stage, loss: Tensor, **how: bool) -> None:
        minimised.append(float(loss))
        backward(self, loss, **how)

    def watched_log(self: Stage, name: str, value: Any, **kwargs: Any) -> None:
        if name.startswith(f"train/{term}"):
            logged.append(float(value))
        log(self, name, value, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LightningOptimizer, "step", lambda self, *args, **kwargs: None)
        patch.setattr(Stage, "manual_backward", watched_backward)
        patch.setattr(Stage, "log", watched_log)
        method = built(name, arguments)
        trainer(Path(), max_steps=2, limit_val_batches=0).fit(method, data(method, 2))
    return np.array(minimised), logged


# ---- the tests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "argument", "base", "values"), cases())
def test_an_argument_changes_something(name: str, argument: str, base: dict[str, Any], values: list[Any]):
    for value in values:
        assert changes(name, base, base | {argument: value}), f"{name}({argument}={value!r}) is as without it"


@pytest.mark.parametrize("name", sorted(CLASSES.keys() - {"MaskFolder", "OwnMasks"}))
def test_the_same_arguments_change_nothing(name: str):
    base = SMALL.get(name, {})
    assert not changes(name, base, dict(base))


def test_exceptions_name_arguments_that_exist():
    known = {(name, argument) for name, cls in CLASSES.items() for argument in arguments_of(cls)}
    known |= {("*", argument) for _, argument in known}
    assert not [entry for table in (BESIDE, OTHERS, NO_TERM, EXCEPTIONS) for entry in table if entry not in known]


def weights() -> Iterator[Any]:
    for name, cls in STAGE_CLASSES.items():
        for argument, (kind, _) in arguments_of(cls).items():
            if argument.endswith("_weight") and kind is not bool and (name, argument) not in NO_TERM:
                yield pytest.param(name, argument, id=f"{name}-{argument}")


@pytest.mark.parametrize(("name", "argument"), weights())
def test_a_weight_scales_its_term(name: str, argument: str):
    """Large weights, so that float32 tells the term; where its name is logged, it is that term and no other."""
    base, term = SMALL[name] | BESIDE.get((name, argument), {}), argument.removesuffix("_weight")
    (first, logged), (second, _), (third, _) = (losses(name, base | {argument: w}, term) for w in (1e4, 2e4, 4e4))
    slope = (second - first) / 1e4
    np.testing.assert_allclose((third - second) / 2e4, slope, rtol=1e-3, atol=1e-9)
    scaled = slope[slope != 0]
    assert len(scaled), f"no loss of {name} depends on {argument}"
    if logged:
        np.testing.assert_allclose(scaled, logged, rtol=1e-3)
