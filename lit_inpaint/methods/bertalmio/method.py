"""Bertalmio, Sapiro, Caselles and Ballester 2000: the paper that named image inpainting."""

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from lit_inpaint.classical import ClassicalModule, harmonic_fill, refuse_without_known_pixels
from lit_inpaint.methods.bertalmio.pde import compiled_round, diffusion_term, torch_round


class Bertalmio(ClassicalModule):
    """I^{n+1} = I^n + dt I_t^n in the hole: isophotes are carried inwards, and diffused now and then so that they do
    not cross. Starts from the harmonic fill.

    >>> image, mask = torch.full((1, 3, 16, 16), 0.2), torch.zeros(1, 1, 16, 16)
    >>> mask[..., 4:8, 4:8] = 1
    >>> bool((Bertalmio()(image, mask) - image).abs().max() < 0.01)
    True

    Args:
        transport_steps: The paper's A: steps of transport in a round.
        diffusion_steps: The paper's B: steps of anisotropic diffusion that end it.
        dt: Step size of both, for intensities in [0, 1]; stable up to 0.25.
        rounds: At most so many.
        tolerance: An image is done when a round changes its hole by less on average, in [0, 1].
        ring: Pixels around the hole that the diffusion smooths as well (the result keeps the known ones).
        smoothing_steps: Diffusion steps over the known pixels beforehand, against noise.
        colour: Channels that evolve independently: the paper's "angles" (length of the RGB vector and the sines of its
            two angles), or "rgb".
    """

    year: ClassVar[int] = 2000
    paper: ClassVar[str] = "Bertalmio, Sapiro, Caselles, Ballester, Image inpainting, SIGGRAPH"

    def __init__(
        self,
        transport_steps: int = 15,
        diffusion_steps: int = 2,
        dt: float = 0.1,
        rounds: int = 50,
        tolerance: float = 1e-5,
        ring: int = 3,
        smoothing_steps: int = 1,
        colour: Literal["angles", "rgb"] = "angles",
    ) -> None:
        super().__init__()
        self.save_hyperparameters(
            transport_steps=transport_steps, diffusion_steps=diffusion_steps, dt=dt, rounds=rounds,
            tolerance=tolerance, ring=ring, smoothing_steps=smoothing_steps, colour=colour,
        )  # fmt: skip
        if not 0 < dt <= 0.25:
            raise ValueError(
                f"dt is {dt:g}; expected 0 < dt <= 0.25, beyond which the scheme diverges. The paper has 0.1."
            )
        self.transport_steps, self.diffusion_steps, self.dt, self.rounds = transport_steps, diffusion_steps, dt, rounds
        self.tolerance, self.ring, self.smoothing_steps, self.colour = tolerance, ring, smoothing_steps, colour

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        *_, last = self.progress(erased, mask)
        return last

    def progress(self, erased: Tensor, mask: Tensor) -> Iterator[Tensor]:
        """The images after 0, 1, 2, ... rounds, until the last one is done: (B, 3, H, W) in [-1, 1]."""
        refuse_without_known_pixels(mask)
        start = torch.stack([_initial(image, hole) for image, hole in zip(erased, mask, strict=True)])
        yield start
        hole, weight = mask, torch.stack([ring_weight(one, self.ring) for one in mask])
        image = to_angles(start / 2 + 0.5) if self.colour == "angles" else start / 2 + 0.5
        for _ in range(self.smoothing_steps):
            image = image + self.dt * (1 - hole) * diffusion_term(image)
        one_round = compiled_round if image.device.type == "cpu" else torch_round
        running = mask.flatten(1).amax(1) == 1
        for _ in range(self.rounds):
            if not bool(running.any()):
                return
            after = image.clone()
            after[running] = one_round(
                image[running], hole[running], weight[running], self.transport_steps, self.diffusion_steps, self.dt
            )
            change = ((after - image).abs() * hole).mean(1).sum((1, 2)) / hole.sum((1, 2, 3)).clamp(min=1)
            running = running & (change >= self.tolerance)
            image = after
            yield (from_angles(image) if self.colour == "angles" else image) * 2 - 1


def _initial(erased: Tensor, mask: Tensor) -> Tensor:
    filled = harmonic_fill(erased.permute(1, 2, 0).cpu().double().numpy(), mask[0].cpu().numpy() == 1)
    return torch.from_numpy(filled).permute(2, 0, 1).to(erased)


def ring_weight(mask: Tensor, ring: int) -> Tensor:
    """The paper's g for one mask (1, H, W): 1 in the hole, smoothly 0 at more than ``ring`` pixels from it."""
    known = (mask[0].cpu().numpy() == 0).astype(np.uint8)
    distance = torch.from_numpy(cv2.distanceTransform(known, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)).to(mask)[None]
    ramp = (1 - distance / (ring + 1)).clamp(min=0)
    return ramp**2 * (3 - 2 * ramp)


_BLACK = 1 / 255  # added to R, G and B, so that the angles of a black pixel are those of a grey one


def to_angles(rgb: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] to the paper's (rho, sin phi, sin psi), each in [0, 1]: the length of the RGB vector, its
    angle to the red-green plane, and the angle of its shadow there to the red axis."""
    red, green, blue = (rgb.clamp(min=0) + _BLACK).unbind(1)
    shadow = (red**2 + green**2).sqrt()
    length = (shadow**2 + blue**2).sqrt()
    return torch.stack([length / math.sqrt(3), blue / length, green / shadow], 1)


def from_angles(angles: Tensor) -> Tensor:
    """The inverse of :func:`to_angles`."""
    length, sin_phi, sin_psi = angles[:, 0] * math.sqrt(3), *angles[:, 1:].clamp(0, 1).unbind(1)
    shadow = length * (1 - sin_phi**2).sqrt()
    rgb = torch.stack([shadow * (1 - sin_psi**2).sqrt(), shadow * sin_psi, length * sin_phi], 1)
    return rgb - _BLACK
