"""DSI: draw a structure for the whole image, then complete the image by it."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor

from lit_inpaint.methods.dsi.stages import DSIVQVAE, DSIStructure, DSITexture
from lit_inpaint.methods.dsi.structure import PixelCNN, Structure
from lit_inpaint.methods.dsi.texture import Texture
from lit_inpaint.methods.dsi.vqvae import VQVAE
from lit_inpaint.module import InpaintingModule
from lit_inpaint.stage import Stage
from masks.convention import InpaintingBatch


class DSI(InpaintingModule):
    """Generating Diverse Structure for Image Inpainting with Hierarchical VQ-VAE (Peng et al. 2021).

    Holds the networks of three trainings, put together by ``lit-inpaint assemble DSI``, or of a released checkpoint.
    The codes of the top level, known positions too, are drawn one after the other at temperature 1 as published: 1024
    passes of the PixelCNN for an image of 256x256. Sides are multiples of 8; the released weights were trained at 256.

    Args: sizes, as those of :class:`DSIVQVAE`, :class:`DSIStructure` and :class:`DSITexture`.

    >>> with torch.device("meta"):
    ...     method = DSI()
    >>> f"{sum(p.numel() for p in method.structure.parameters()):,}"
    '63,728,928'
    """

    year: ClassVar[int] = 2021
    paper: ClassVar[str] = (
        "Peng et al., Generating Diverse Structure for Image Inpainting With Hierarchical VQ-VAE, CVPR 2021"
    )
    imports: ClassVar[tuple[str, ...]] = ("tensorflow",)
    trainable: ClassVar[bool] = False
    diverse: ClassVar[bool] = True
    averaged: ClassVar[tuple[str, ...]] = ("vqvae", "structure", "texture")
    called: ClassVar[tuple[str, ...]] = ("structure.condition", "structure.pixelcnn", "texture")
    stages: ClassVar[dict[str, type[Stage]]] = {"vqvae": DSIVQVAE, "structure": DSIStructure, "texture": DSITexture}
    multiple = 8

    def __init__(
        self,
        vq_width: int = 128,
        vq_hidden: int = 64,
        vq_blocks: int = 2,
        channels: int = 64,
        codes: int = 512,
        condition_width: int = 32,
        structure_width: int = 128,
        groups: int = 4,
        blocks: int = 5,
        out_blocks: int = 20,
        heads: int = 8,
        texture_width: int = 64,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.vqvae = VQVAE(vq_width, vq_hidden, vq_blocks, channels, codes)
        streams = structure_width, groups, blocks, out_blocks, heads
        self.structure = Structure(condition_width, PixelCNN(*streams, 8 * condition_width, channels, codes))
        self.texture = Texture(texture_width, channels)

    @classmethod
    def arguments_of(cls, checkpoints: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Sizes of the networks; refuses a generator that was trained on the codes of another VQ-VAE."""
        codes = [_codes(checkpoint) for checkpoint in checkpoints.values()]
        for name, other in zip(checkpoints, codes, strict=True):
            if codes[0].shape != other.shape or not torch.equal(codes[0], other):
                raise ValueError(
                    f"--{name} was trained on the codes of another VQ-VAE than --{next(iter(checkpoints))}."
                )
        arguments: dict[str, Any] = {}
        for checkpoint in checkpoints.values():
            arguments |= checkpoint["hyper_parameters"]
        return {name: arguments[name] for name in inspect.signature(cls).parameters}

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        structure = self.structure.sample(erased, mask, self.vqvae.top.embedding, generators)
        return self.texture(erased, mask, structure)

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> NoReturn:
        raise ValueError(
            "DSI is assembled, not trained: fit DSIVQVAE, then DSIStructure and DSITexture on its checkpoint, then "
            "run `lit-inpaint assemble DSI`."
        )

    def configure_optimizers(self) -> NoReturn:
        self.training_step(InpaintingBatch(torch.empty(0), torch.empty(0), ""), 0)


def _codes(checkpoint: dict[str, Any]) -> Tensor:
    """The top codebook of a stage; the first stage's average, which is what the later ones take."""
    return (
        checkpoint.get("ema", {}).get("vqvae", {}).get("top.embedding", checkpoint["state_dict"]["vqvae.top.embedding"])
    )
