"""Wan, Zhang, Chen, Liao: High-Fidelity Pluralistic Image Completion with Transformers, ICCV 2021."""

import logging
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor

from lit_inpaint.methods.ict.networks import Transformer, Upsampler
from lit_inpaint.methods.ict.palette import down_sample, enlarge, hole_of_tokens, quantise
from lit_inpaint.methods.ict.sampling import LONG, Sampling, sample_tokens
from lit_inpaint.methods.ict.stages import ICTTransformer, ICTUpsampler
from lit_inpaint.module import InpaintingModule
from lit_inpaint.stage import Stage
from masks.convention import InpaintingBatch, erase

logger = logging.getLogger(__name__)


class ICT(InpaintingModule):
    """A transformer draws the hole's colours on a coarse grid, token by token; an upsampler makes an image of them.

    Its stages :class:`ICTTransformer` and :class:`ICTUpsampler` are trained apart and put together by
    ``lit-inpaint assemble ICT``. Defaults are FFHQ's model. Completing an image takes one call of the transformer for
    each unknown token: 576 for a centre hole of half the side at 48x48.

    The official program samples all images of a batch at the positions of the first one's hole, and its ``run.py`` does
    not paste the known pixels; here each image has its own hole and :meth:`forward` pastes. A token is unknown where
    the middle pixel of its cell is in the hole, as officially: a hole narrower than a cell may be left to the upsampler
    alone (the authors' advice is to dilate such masks).

    >>> with torch.device("meta"):
    ...     method = ICT()
    >>> f"{sum(p.numel() for p in method.transformer.parameters()):,}"
    '96,276,480'

    Args:
        size: Side of the images: the published models know 256; others are cropped around the hole or resized.
        grid, layers, width, heads, colours: Arguments of the transformer.
        upsampler_width, upsampler_blocks: Arguments of the upsampler.
        top_k: Draw among the so many likeliest colours: 40 in the official ``run.py``; None draws among all.
        sampling: "raster", or "sample_all": all tokens from one call, independently (the official code's ablation).
    """

    year: ClassVar[int] = 2021
    paper: ClassVar[str] = (
        "Wan, Zhang, Chen, Liao. High-Fidelity Pluralistic Image Completion with Transformers. ICCV 2021"
    )
    imports: ClassVar[tuple[str, ...]] = ("official_transformer", "official_upsampler")
    trainable: ClassVar[bool] = False
    diverse: ClassVar[bool] = True
    averaged: ClassVar[tuple[str, ...]] = ("transformer", "upsampler")
    stages: ClassVar[dict[str, type[Stage]]] = {"transformer": ICTTransformer, "upsampler": ICTUpsampler}
    palette: Tensor

    def __init__(
        self,
        size: int = 256,
        grid: int = 48,
        layers: int = 30,
        width: int = 512,
        heads: int = 8,
        colours: int = 512,
        upsampler_width: int = 64,
        upsampler_blocks: int = 8,
        top_k: int | None = 40,
        sampling: Sampling = "raster",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if size % 4:
            raise ValueError(f"size is {size}; it must be a multiple of 4.")
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k is {top_k}; expected 1 or more, or null for all colours.")
        self.fixed_size = size
        self.grid, self.top_k, self.sampling = grid, top_k, sampling
        self._announced = False
        # Black to white until a checkpoint brings the palette that the transformer was trained with.
        self.register_buffer("palette", torch.linspace(0, 255, colours)[:, None].repeat(1, 3))
        self.transformer = Transformer(grid, layers, width, heads, colours)
        self.upsampler = Upsampler(upsampler_width, upsampler_blocks)

    @classmethod
    def arguments_of(cls, checkpoints: dict[str, dict[str, Any]]) -> dict[str, Any]:
        transformer, upsampler = (checkpoints[name]["hyper_parameters"] for name in cls.stages)
        first, second = (checkpoints[name]["state_dict"]["palette"] for name in cls.stages)
        if first.isnan().any():
            raise ValueError("the transformer has no palette: import it with --palette kmeans_centers.npy.")
        if second.isnan().any():  # imported: its file knows neither palette nor grid, and an upsampler needs none
            return cls._arguments(transformer, upsampler)
        for key in ("grid", "colours"):
            if transformer[key] != upsampler[key]:
                raise ValueError(
                    f"{key} is {transformer[key]} in the transformer and {upsampler[key]} in the upsampler."
                )
        if not torch.equal(first, second):
            raise ValueError(
                "transformer and upsampler were trained with different palettes. Train the upsampler with the "
                "transformer's checkpoint as its palette."
            )
        return cls._arguments(transformer, upsampler)

    @staticmethod
    def _arguments(transformer: dict[str, Any], upsampler: dict[str, Any]) -> dict[str, Any]:
        return {
            **{key: transformer[key] for key in ("grid", "layers", "width", "heads", "colours")},
            "size": upsampler.get("size", 256),
            "upsampler_width": upsampler["width"],
            "upsampler_blocks": upsampler["blocks"],
        }

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        hole = hole_of_tokens(mask, self.grid)
        if self.sampling == "raster" and self.grid**2 >= LONG and not self._announced:
            self._announced = True
            logger.info("ICT: a network call for each token of a hole, up to %d", self.grid**2)
        known = quantise(down_sample(erased, self.grid, mask), self.palette)
        tokens = sample_tokens(self.transformer, known, hole, self.top_k, self.sampling, generators)
        prior = enlarge(tokens, self.palette, self.grid, erased.shape[-1])
        return self.upsampler(erase((erased + 1) / 2, mask, 1.0), prior) * 2 - 1

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> NoReturn:
        raise ValueError("ICT is trained in stages: fit ICTTransformer and ICTUpsampler, then `lit-inpaint assemble`.")

    def configure_optimizers(self) -> NoReturn:
        self.training_step(InpaintingBatch(torch.empty(0), torch.empty(0), ""), 0)
