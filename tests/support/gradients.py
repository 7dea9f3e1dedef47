"""The gradients with which each optimiser would step: of one process, of a rank of two, or of one rank's half alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from torch.overrides import TorchFunctionMode
from torch.utils.data import DataLoader

from lit_inpaint import methods, stage
from lit_inpaint.losses.hinge import hinge_discriminator, hinge_generator
from lit_inpaint.losses.wasserstein import gradient_penalty, wasserstein_discriminator, wasserstein_generator
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch, composite
from tests.support.contract import ROWS, STAGES, batches, make, trainer

Form = Literal["hinge", "wgan_gp", "wgan_gp_apart", "r1_apart"]


class Forms(InpaintingModule):
    """Every form of adversarial loss, on networks of three layers; real and fake may take one forward pass or two."""

    year, paper = 2026, "for tests"

    def __init__(
        self, form: Form = "hinge", discriminator_steps: int = 1, spectral: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.form, self.discriminator_steps, self.dropout = form, discriminator_steps, dropout
        self.generator = nn.Sequential(nn.Conv2d(4, 8, 5, 2, 2), nn.ELU(), nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh())
        wrap = spectral_norm if spectral else nn.Identity()
        self.discriminator = nn.Sequential(wrap(nn.Conv2d(3, 8, 4, 2, 1)), nn.SiLU(), wrap(nn.Conv2d(8, 1, 4, 2, 1)))

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Any = None) -> Tensor:
        x = F.dropout(torch.cat([erased, mask], 1), self.dropout, self.training)
        weights = x.flatten(2)  # each channel attends to all
        attended = F.scaled_dot_product_attention(weights, weights, weights, dropout_p=self.dropout)
        return self.generator(x + attended.view_as(x) if self.dropout else x)

    def configure_optimizers(self) -> Any:
        return [torch.optim.Adam(network.parameters()) for network in (self.generator, self.discriminator)]

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        image, mask = batch.image, batch.mask
        optimizer_g, optimizer_d = self.optimizers()  # type: ignore[attr-defined]
        completed = composite(self.predict(image, mask), image, mask)
        for _ in range(self.discriminator_steps):
            with self.optimise(optimizer_d) as minimise:
                real, fake = self.discriminator(image), self.discriminator(completed.detach())
                self.note_margin(real, fake)
                if self.form == "hinge":
                    minimise(hinge_discriminator(real, fake))
                elif self.form == "r1_apart":  # lazy R1: a backward of the penalty alone
                    minimise(hinge_discriminator(real, fake))
                    image.requires_grad_()
                    (slope,) = torch.autograd.grad(self.discriminator(image).sum(), image, create_graph=True)
                    minimise(5 * slope.square().sum((1, 2, 3)).mean())
                    image.requires_grad_(False)
                else:
                    discriminator_loss = wasserstein_discriminator(real, fake)
                    penalty = 10 * gradient_penalty(self.discriminator, image, completed)
                    for loss in (
                        (discriminator_loss, penalty)
                        if self.form == "wgan_gp_apart"
                        else (discriminator_loss + penalty,)
                    ):
                        minimise(loss)
        with self.optimise(optimizer_g) as minimise:
            judged = self.discriminator(completed)
            adversarial = hinge_generator(judged) if self.form == "hinge" else wasserstein_generator(judged)
            minimise((completed - image).abs().mean() + adversarial)


SMALL_DDPM = dict(ROWS)["DDPM"] | {"image_size": 32, "attention_resolutions": [16]}  # for time
# name: (class, arguments, batches). Every trained method and stage as its contract row has it (DSIStructure: with
# dropout), then what no row reaches.
CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    name: (name, arguments, 2) for name, arguments in ROWS if getattr(methods, name).trainable
} | {name: (name, arguments, 1) for name, arguments in STAGES if name != "DSIStructure"} | {
    "DDPM": ("DDPM", SMALL_DDPM, 1),
    "Palette": ("Palette", dict(ROWS)["Palette"] | {"image_size": 32, "attention_resolutions": [16]}, 1),
    "GLCIC, all phases": ("GLCIC", dict(ROWS)["GLCIC"] | {"completion_steps": 1, "discriminator_steps": 1}, 3),
    "GLCIC otenim, all phases": (
        "GLCIC", dict(ROWS)["GLCIC"] | {"variant": "otenim", "completion_steps": 1, "discriminator_steps": 1}, 4,
    ),
    "DeepFillV1, discriminator updates 2": ("DeepFillV1", dict(ROWS)["DeepFillV1"] | {"discriminator_updates": 2}, 3),
    "DeepFillV1, discriminator updates 5": ("DeepFillV1", dict(ROWS)["DeepFillV1"] | {"discriminator_updates": 5}, 6),
    "DDPM, t by second moment": ("DDPM", SMALL_DDPM | {"timestep_sampling": "loss-second-moment"}, 1),
    "hinge": ("Forms", {}, 1),
    "hinge, spectral norm, two forwards": ("Forms", {"spectral": True}, 2),
    "WGAN-GP in one backward": ("Forms", {"form": "wgan_gp"}, 1),
    "WGAN-GP, penalty as a backward of its own": ("Forms", {"form": "wgan_gp_apart"}, 1),
    "R1 as a backward of its own": ("Forms", {"form": "r1_apart"}, 1),
    "R1, spectral norm": ("Forms", {"form": "r1_apart", "spectral": True}, 1),
    "functional dropout": ("Forms", {"dropout": 0.5}, 1),
    "DSIStructure, dropout": ("DSIStructure", dict(STAGES)["DSIStructure"] | {"dropout": 0.5}, 1),
    "discriminator updates 2 in a batch": ("Forms", {"discriminator_steps": 2}, 1),
    "discriminator updates 5 in a batch": ("Forms", {"discriminator_steps": 5, "form": "wgan_gp_apart"}, 1),
}  # fmt: skip
# A loss in which the images of a batch meet: two halves have another gradient than the whole, by the paper's design.
COUPLED = {
    "GLCIC, all phases": "the discriminator crops the real image where the mask of the batch's next image lies",
    "DSIStructure, dropout": "the cross-entropy is a sum over the images of a process",
    "ICTUpsampler": "L1 over the image is divided by the mean of the batch's masks",
}


def gradients(
    case: str, role: Literal["ranks", "whole", "half"], rank: int = 0, **where: Any
) -> list[list[Tensor | None]]:
    """Gradients of every optimiser step of ``case``, in float64 with BatchNorm in eval mode, no dropout, fixed weights.

    ``where``: arguments of the Trainer instead of the CPU's; the gradients are on the CPU whatever they say.
    """
    name, arguments, count = CASES[case]
    torch.manual_seed(0)
    method = (Forms(**arguments) if name == "Forms" else make(name, arguments)).double()
    for layer in method.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm | nn.RNNBase):
            layer.eval()
    if name in ("DSIStructure", "DSITexture"):
        method.vqvae.top.updates += 1  # counts as trained
    side = arguments.get("image_size", 64)
    window = (..., slice(32 - side // 2, 32 + side // 2), slice(32 - side // 2, 32 + side // 2))
    items: Sequence[Any] = [
        InpaintingBatch(i.image[window].double(), i.mask[window].double(), i.name) for i in batches(count, 4).dataset
    ]
    # As the sampler deals them: rank r of two has every second sample of the global batch.
    loader = DataLoader(items if role == "whole" else items[rank::2], batch_size=4 if role == "whole" else 2)
    world = 1 if role == "whole" else 2
    ranks = {"devices": 2, "strategy": "ddp_find_unused_parameters_true"} if role == "ranks" else {}
    steps: list[list[Tensor | None]] = []

    def keep(optimizer: LightningOptimizer, *args: Any, **kwargs: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        steps.append([None if p.grad is None else p.grad.cpu().clone() for p in parameters])

    with patch.object(LightningOptimizer, "step", keep), rows_of_the_global_batch(rank, world), NoDropout():
        run = trainer(Path(), max_steps=count, use_distributed_sampler=False, limit_val_batches=0, **(ranks | where))
        run.fit(method, loader)
    return steps


class NoDropout(TorchFunctionMode):
    """Dropout passes its input on, whether a module calls it, a function or an attention."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if "dropout" in getattr(func, "__name__", ""):
            return args[0] if args else kwargs["input"]
        if func is F.scaled_dot_product_attention and len(args) > 4:
            args = (*args[:4], 0.0, *args[5:])
        elif func is F.scaled_dot_product_attention:
            kwargs["dropout_p"] = 0.0
        return func(*args, **kwargs)


@contextmanager
def rows_of_the_global_batch(rank: int, world: int) -> Iterator[None]:
    """A draw with a row per image is made for the global batch, and a rank takes its rows. No float32 islands."""
    torch.set_default_dtype(torch.float64)
    rand, integers, multinomial, key = torch.rand, torch.randint, torch.multinomial, stage.key

    def all_rows(draw: Any) -> Tensor:
        return draw[rank::world].contiguous()

    patches = [
        patch.object(torch, "rand", lambda n, *s, **k: all_rows(rand(n * world, *s, **k))),
        patch.object(torch, "randn_like", lambda x: all_rows(torch.randn(len(x) * world, *x.shape[1:]))),
        patch.object(torch, "randint", lambda high, s, **k: all_rows(integers(high, (s[0] * world, *s[1:]), **k))),
        patch.object(torch, "multinomial", lambda p, n, **k: all_rows(multinomial(p, n * world, **k))),
        patch.object(stage, "key", lambda seed, step, rank: key(seed, step, 0)),
        patch.object(Tensor, "float", Tensor.double),
    ]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()
        torch.set_default_dtype(torch.float32)


def write_all(role: Literal["ranks", "whole", "half"], rank: int) -> None:
    """The body of one process: gradients of every case, into a file."""
    cases = [case for case in CASES if role != "half" or case in COUPLED]
    torch.save({case: gradients(case, role, rank) for case in cases}, f"{role}-{rank}.pt")
