"""otenim/GLCIC-PyTorch: the third phase of train.py (352-423)."""

import importlib
from pathlib import Path
from typing import Any

import torch
from torch.nn import BCELoss
from torch.optim import Adadelta

from benchmarks.published import checkout
from benchmarks.training.steps import Pair, State, eighth, images, unequal
from lit_inpaint.methods import GLCIC
from lit_inpaint.methods.glcic import method
from lit_inpaint.methods.glcic import weights as glcic_weights
from masks.convention import InpaintingBatch

SIZE, LOCAL, AROUND, ANYWHERE = 128, 96, (16, 32), (3, 29)  # areas of fake and real, top and left


def otenim(public: Path) -> Pair:
    """Both networks; the discriminator's gradients of the generator's backward pass enter its next step, as there."""
    checkout(public, "otenim/GLCIC-PyTorch", "datasets/make_dataset.py")
    models, losses = importlib.import_module("models"), importlib.import_module("losses")
    with eighth():
        completion = models.CompletionNetwork()
        context = models.ContextDiscriminator((3, LOCAL, LOCAL), (3, SIZE, SIZE), arc="celeba")
    opt_cn, opt_cd = Adadelta(completion.parameters()), Adadelta(context.parameters())
    bce, alpha, mpv = BCELoss(), 4e-4, torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)
    image, mask = images(SIZE), unequal(SIZE)
    x, (top, left), (real_top, real_left) = (image + 1) / 2, AROUND, ANYWHERE

    def step() -> dict[str, Any]:
        fake, real = torch.zeros(2, 1), torch.ones(2, 1)
        output = completion(torch.cat([x - x * mask + mpv * mask, mask], 1))
        area = (..., slice(top, top + LOCAL), slice(left, left + LOCAL))
        other = x[..., real_top : real_top + LOCAL, real_left : real_left + LOCAL]
        of_fake = bce(context((output.detach()[area], output.detach())), fake)
        of_real = bce(context((other, x)), real)
        discriminator_loss = (of_fake + of_real) * alpha / 2
        discriminator_loss.backward()
        opt_cd.step()
        opt_cd.zero_grad()
        completed = losses.completion_network_loss(x, output, mask)
        adversarial = bce(context((output[area], output)), real)
        ((completed + alpha * adversarial) / 2).backward()
        opt_cn.step()
        opt_cn.zero_grad()
        return {
            "discriminator_loss": discriminator_loss,
            "completion": completed,
            "adversarial": adversarial,
        }

    ours = GLCIC(0, 0, SIZE, LOCAL, 8, 128, mean=(0.5, 0.4, 0.3), variant="otenim")

    def corner(holes: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        at = AROUND if holes.any() else ANYWHERE
        return torch.full((2,), at[0]), torch.full((2,), at[1])

    method.random_corner = corner

    def convert(states: dict[str, State]) -> State:
        found = glcic_weights.convert(states["generator"], "otenim")["state_dict"]
        return found | glcic_weights.convert(states["discriminator"], "otenim_discriminator")["state_dict"]

    networks = {"generator": completion, "discriminator": context}
    return Pair(ours, InpaintingBatch(image, mask, [""] * 2), networks, convert, step)
