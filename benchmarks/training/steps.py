"""The same weights, batch and draws through a published training step and ours, both in float64."""

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.data import DataLoader

from lit_inpaint.losses.perceptual import VGGFeatures
from lit_inpaint.methods.lama.loss import HighReceptiveFieldFeatures
from lit_inpaint.stage import Stage
from masks.convention import InpaintingBatch

State = dict[str, Tensor]
STEPS = 3


class Pair(NamedTuple):
    """A published program's step and our stage.

    Args:
        networks: The program's, by role.
        convert: From states of those networks by role to our names and layout; it only renames and reorders, so
            that it turns gradients as it turns weights.
        step: One step of the program; returns its loss terms under the names that ours are logged by.
        cycle: Batches of ours for one call of ``step``.
        buffers: Ours that a step moves, compared as updates are.
        settle: Brings the program's spectral norms to their fixed point, for the control run.
    """

    ours: Stage
    batch: InpaintingBatch
    networks: dict[str, nn.Module]
    convert: Callable[[dict[str, State]], State]
    step: Callable[[], dict[str, Any]]
    cycle: int = 1
    buffers: tuple[str, ...] = ()
    settle: Callable[[], Any] | None = None


class Trace(NamedTuple):
    """Gradients before the first update of each parameter, the state before and after every step, and loss terms."""

    gradients: State
    states: list[State]
    terms: dict[str, float]


def images(size: int, count: int = 2, seed: int = 1) -> Tensor:
    """(count, 3, size, size) in [-1, 1]: blotches with noise, so that no output is flat."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 8, 8, generator=rng) * 2 - 1
    fine = torch.rand(count, 3, size, size, generator=rng) * 2 - 1
    return 0.7 * nn.functional.interpolate(coarse, (size, size), mode="bilinear") + 0.3 * fine


def square(size: int, first: int, last: int, count: int = 2) -> Tensor:
    """Masks (count, 1, size, size) with the same square hole."""
    mask = torch.zeros(count, 1, size, size)
    mask[..., first:last, first:last] = 1
    return mask


def unequal(size: int) -> Tensor:
    """Two masks of unequal area, off the centre: a mean over the batch's holes is none over each image's."""
    mask = torch.zeros(2, 1, size, size)
    mask[0, :, size // 8 : size // 2, size // 4 : 3 * size // 4] = 1
    mask[1, :, size // 2 : 3 * size // 4, size // 2 : 5 * size // 8] = 1
    return mask


def thin(name: str, inplace: bool = False) -> Any:
    """``features`` of torchvision's VGG with an eighth of the channels and weights of one seed: what is compared is how
    programs use it."""
    blocks = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}[name]
    layers: list[nn.Module] = []
    with torch.random.fork_rng():
        torch.manual_seed(7)
        inputs = 3
        for outputs, convolutions in zip((8, 16, 32, 64, 64), blocks, strict=True):
            for _ in range(convolutions):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace)]
                nn.init.kaiming_normal_(layers[-2].weight)  # type: ignore[arg-type]
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
    network = nn.Module()
    network.features = nn.Sequential(*layers)
    return network.eval().requires_grad_(False)


@contextlib.contextmanager
def wide() -> Iterator[None]:
    """float64 wherever either side writes ``.float()``, uniform draws that depend on the batch's size alone, backbones
    of one seed, and no GPU."""
    default, uniform = torch.get_default_dtype(), torch.rand

    def shares(*shape: Any, **options: Any) -> Tensor:
        if "generator" in options or len(shape) != 4 or shape[1:] != (1, 1, 1):
            return uniform(*shape, **options)
        return torch.linspace(0.2, 0.7, shape[0]).view(shape)

    torch.set_default_dtype(torch.float64)
    made = {name: thin(name, True) for name in ("vgg16", "vgg19")}
    backbones = {name: lambda *a, n=name, **k: copy.deepcopy(made[n]) for name in made}
    try:
        with (
            mock.patch.object(Tensor, "float", lambda self, *a, **k: self.to(torch.get_default_dtype())),
            mock.patch.object(Tensor, "cuda", lambda self, *a, **k: self),
            mock.patch.object(nn.Module, "cuda", lambda self, *a, **k: self),
            mock.patch("torch.rand", shares),
            mock.patch.multiple("torchvision.models", **backbones),
            mock.patch.multiple("torchvision.models.vgg", **backbones),
            mock.patch.multiple(VGGFeatures, require=lambda *a: None),
            mock.patch.object(HighReceptiveFieldFeatures, "require", lambda self: None),
            mock.patch.object(VGGFeatures, "_load", lambda self: thin(self.name).features[: max(self.layers) + 1]),
        ):
            yield
    finally:
        torch.set_default_dtype(default)


@contextlib.contextmanager
def eighth() -> Iterator[None]:
    """Layers of torch with an eighth of their channels, less an image's own (67 are 8 and 3), for programs that have no
    option for it."""

    counted = {"in_channels", "out_channels", "in_features", "out_features", "num_features"}

    def fewer(count: Any) -> Any:
        return count // 8 + count % 8 if count > 7 else count

    def thinner(make: Callable[..., None], counts: int) -> Callable[..., None]:
        def init(self: nn.Module, *arguments: Any, **options: Any) -> None:
            given = [fewer(x) if i < counts else x for i, x in enumerate(arguments)]
            make(self, *given, **{k: fewer(v) if k in counted else v for k, v in options.items()})

        return init

    kinds = {nn.Conv2d: 2, nn.ConvTranspose2d: 2, nn.Linear: 2, nn.BatchNorm2d: 1}
    with contextlib.ExitStack() as stack:
        for kind, counts in kinds.items():
            stack.enter_context(mock.patch.object(kind, "__init__", thinner(kind.__init__, counts)))
        yield


@torch.no_grad()
def settle(network: nn.Module) -> None:
    """Vectors of torch's spectral norms and of ours at their fixed point, so that it does not matter how often a step
    passes."""
    for module in network.modules():
        for weight, prefix in (("weight_orig", "weight_"), ("weight", "")):
            kernel, own = getattr(module, weight, None), [getattr(module, prefix + x, None) for x in "uv"]
            if isinstance(own[0], Tensor) and isinstance(kernel, Tensor):
                left, _, right = torch.linalg.svd(kernel.flatten(1), full_matrices=False)
                for vector, value in zip(own, (left[:, 0], right[0]), strict=True):
                    if vector is not None:
                        vector.copy_(value)


def settled(pair: Pair) -> Pair:
    """The same with the vectors of both sides at their fixed point before every step."""
    again, start = pair.settle, pair.ours.on_train_batch_start
    assert again is not None

    def begin(batch: Any, batch_idx: int) -> None:
        start(batch, batch_idx)
        settle(pair.ours)

    pair.ours.on_train_batch_start = begin  # type: ignore[method-assign]
    return pair._replace(step=lambda: (again(), pair.step())[1])


@contextlib.contextmanager
def recorded() -> Iterator[dict[int, Tensor]]:
    """The gradient that every parameter had when an optimiser first stepped it, by ``id``."""
    found: dict[int, Tensor] = {}

    def note(optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    found.setdefault(id(parameter), parameter.grad.detach().clone())

    handle = register_optimizer_step_pre_hook(note)
    try:
        yield found
    finally:
        handle.remove()


def theirs(pair: Pair) -> Trace:
    """The program's step, ``STEPS`` times."""

    def state() -> State:
        now = {
            role: {k: v.detach().clone() for k, v in net.state_dict().items()} for role, net in pair.networks.items()
        }
        return pair.convert(now)

    states, terms = [state()], {}
    with recorded() as found:
        for _ in range(STEPS):
            said = pair.step()
            terms = terms or {name: float(value) for name, value in said.items()}
            states.append(state())
    gradients = {}
    for role, network in pair.networks.items():
        known = {name: found.get(id(p), torch.zeros_like(p)) for name, p in network.named_parameters()}
        gradients[role] = {k: v.detach() for k, v in network.state_dict().items()} | known
    return Trace(pair.convert(gradients), states, terms)


class _Watch(L.Callback):
    """State after every cycle, and what the first one logged."""

    def __init__(self, cycle: int) -> None:
        self.cycle = cycle
        self.states: list[State] = []
        self.terms: dict[str, float] = {}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx < self.cycle:
            logged = {k.removeprefix("train/"): float(v) for k, v in trainer.callback_metrics.items()}
            self.terms = logged | self.terms
        if (batch_idx + 1) % self.cycle == 0:
            self.states.append({k: v.detach().clone() for k, v in pl_module.state_dict().items()})


def ours(pair: Pair, start: State) -> Trace:
    """Our training step inside a Trainer, from the program's weights ``start``."""
    _, unexpected = pair.ours.load_state_dict(start, strict=False)
    assert not unexpected, unexpected
    first, watch = {k: v.detach().clone() for k, v in pair.ours.state_dict().items()}, _Watch(pair.cycle)
    trainer = L.Trainer(
        accelerator="cpu", devices=1, max_epochs=1, logger=False, enable_checkpointing=False, callbacks=[watch],
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    with recorded() as found:
        trainer.fit(pair.ours, DataLoader([pair.batch] * (STEPS * pair.cycle), batch_size=None))  # type: ignore[arg-type]
    gradients = {name: found[id(p)] for name, p in pair.ours.named_parameters() if id(p) in found}
    return Trace(gradients, [first, *watch.states], watch.terms)


def quiet(threads: int) -> None:
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(threads)
    torch.manual_seed(0)
