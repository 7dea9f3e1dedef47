"""DiffusersInpaint: a pretrained pipeline of diffusers as a method."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lit_inpaint import plugins
from lit_inpaint.backbones import sha256
from lit_inpaint.classical import ClassicalModule, UnfillableError
from lit_inpaint.methods.diffusers_inpaint import loading
from lit_inpaint.prompts import Prompts, Words
from masks.convention import from_levels, to_pixels
from masks.nearest import nearest
from masks.size import Size, sides

_OURS = ("image", "mask_image", "height", "width", "generator", "output_type", "return_dict", "num_images_per_prompt")


class DiffusersInpaint(ClassicalModule):
    """Any inpainting pipeline of diffusers with its pretrained weights. Nothing is trained.

    The pipeline gets each image alone, with grey (0) in the hole, and a generator of its own: the batch size has no
    effect. Known pixels are pasted back; records say how far the pipeline had moved them. A safety checker is not
    loaded, because it replaces completions by black images. Needs the extra ``diffusers``.

    >>> DiffusersInpaint.called, DiffusersInpaint.prompted, DiffusersInpaint.trainable
    (('denoiser',), True, False)

    Args:
        source: A folder that ``save_pretrained`` of diffusers wrote, or ``hf://user/name[@revision]``; safetensors.
        pipeline: A class of diffusers (``FluxFillPipeline``), or one of your own as ``package.module.Name``. Default:
            the one that model_index.json names.
        prompt: What the hole shows, for all images.
        negative_prompt: What it does not show.
        prompts: A CSV or TSV file with the columns ``image`` and ``prompt`` (and ``negative_prompt``): a prompt per
            image, instead of ``prompt``. With neither, the prompts of the protocol, if it has any.
        steps: Steps of the sampler (``num_inference_steps``). Default here and below: the pipeline's own.
        strength: Share of the noise to begin with. Below 1, the grey of the hole shines through.
        guidance_scale: Weight of the prompt.
        size: The only side, or (height, width), at which it runs, 512 for Stable Diffusion 1.5: other images are
            cropped around the hole, or resized and back. Default: every size, padded to the pipeline's multiple.
        dtype: Precision of the weights.
        variant: Files of the weights, such as ``fp16`` for ``diffusion_pytorch_model.fp16.safetensors``.
        arguments: Further arguments of the pipeline's call: ``{true_cfg_scale: 4.0}``.
    """

    year: ClassVar[int] = 2022
    paper: ClassVar[str] = (
        "von Platen et al., Diffusers: state-of-the-art diffusion models, 2022; the pipeline's own paper stands in its "
        "documentation"
    )
    diverse: ClassVar[bool] = True
    called: ClassVar[tuple[str, ...]] = ("denoiser",)
    one_by_one: ClassVar[bool] = True
    moves_known: ClassVar[bool] = True
    prompted: ClassVar[bool] = True
    needed: ClassVar[dict[str, str]] = {"source": "any inpainting pipeline of diffusers: a folder or hf://user/name"}

    def __init__(
        self,
        source: str = "",
        pipeline: str | None = None,
        prompt: str = "",
        negative_prompt: str | None = None,
        prompts: str | None = None,
        steps: int | None = None,
        strength: float | None = None,
        guidance_scale: float | None = None,
        size: Size | None = None,
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        variant: str | None = None,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(
            source=source, pipeline=pipeline, prompt=prompt, negative_prompt=negative_prompt, prompts=prompts,
            steps=steps, strength=strength, guidance_scale=guidance_scale, size=size, dtype=dtype, variant=variant,
            arguments=arguments,
        )  # fmt: skip
        self.words = Words(prompt, negative_prompt)
        self.prompts = Prompts(prompts) if prompts else None
        self.call: dict[str, Any] = {}
        self._told: set[str] = set()
        if source:
            self._open(source, pipeline, dtype, variant)
            given = {"num_inference_steps": steps, "strength": strength, "guidance_scale": guidance_scale}
            self.call = {k: v for k, v in given.items() if v is not None} | (arguments or {})
            self._taken([*self.call, *self.words.given, *["prompt"] * bool(self.prompts)])
            self._sizes(size)

    @classmethod
    def content(cls, **arguments: Any) -> dict[str, str]:
        return {"source": loading.content(arguments["source"])} | _prompts_of(arguments)

    def _open(self, source: str, name: str | None, dtype: str, variant: str | None) -> None:
        self.libraries = loading.libraries()
        self.folder = loading.located(source, variant)
        own = {*plugins.named(), *([name.rpartition(".")[0]] if name and "." in name else [])}
        index = loading.read_index(self.folder.path, own)
        cls = loading.pipeline_class(name, index, self.folder.path)
        self.pipeline = loading.opened(cls, self.folder.path, dtype, variant)
        self.multiple = loading.multiple(self.pipeline)
        for role, network in loading.networks(self.pipeline).items():
            self.add_module(role, network)

    def _taken(self, names: Iterable[str]) -> None:
        """
        Raises:
            ValueError: The pipeline takes no such argument, or it is set here.
        """
        cls = type(self.pipeline)
        for name in names:
            if name in _OURS or not loading.accepts(cls, name):
                said = "is set for each image" if name in _OURS else f"is not taken by {cls.__name__}"
                settable = set(loading.takes(cls)) - {"self", "kwargs", *_OURS}
                raise ValueError(f"the argument {name} {said}. {nearest(name, settable)}")

    def _sizes(self, size: Size | None) -> None:
        if size is not None and any(side % self.multiple for side in sides(size, "size")):
            name = type(self.pipeline).__name__
            raise ValueError(f"size is {size}; {name} takes multiples of {self.multiple}.")
        self.fixed_size = size

    def draws(self, seed: int, names: Sequence[str], number: int = 0) -> dict[str, Any]:
        words = [self.asked_words or self._words_of(name) for name in names]
        return super().draws(seed, names, number) | {"words": words}

    def _words_of(self, name: str) -> Words:
        """Those of its own table, its own prompt, or the prompt of the protocol."""
        if self.prompts:
            return self.prompts.of(name)
        return Words(self.told[name]) if self.told and not self.words.prompt else self.words

    @property
    def asked_words(self) -> Words | None:
        """The prompt of a user who has asked for one since the method was loaded."""
        return None if self.asked is None else Words(self.asked)

    def fill(
        self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None,
        words: Sequence[Words] | None = None,
    ) -> Tensor:  # fmt: skip
        filled = erased.clone()
        for i in range(len(erased)):
            if bool(mask[i].any()):
                said = words[i] if words else self.asked_words or self.words
                filled[i] = self._filled(erased[i], mask[i], generators[i] if generators else None, said, i)
        return filled

    def _filled(
        self, erased: Tensor, mask: Tensor, generator: torch.Generator | None, words: Words, index: int
    ) -> Tensor:
        """One image, (3, H, W), by way of 8-bit pictures, which every pipeline takes and gives."""
        height, width = erased.shape[-2:]
        hole = Image.fromarray((mask[0] * 255).byte().cpu().numpy())
        said = Words(*(own if own is not None else other for own, other in zip(words, self.words, strict=True)))
        self._taken(said.given)
        given: dict[str, Any] = said._asdict() | {"image": Image.fromarray(to_pixels(erased)), "mask_image": hole}
        given |= {"generator": generator, "height": height, "width": width, "output_type": "pil"}
        cls = type(self.pipeline)
        taken = {name: value for name, value in given.items() if value is not None and loading.accepts(cls, name)}
        with loading.heard(self._told):
            made = self.pipeline(**taken, **self.call)
        if any(getattr(made, "nsfw_content_detected", None) or []):
            raise UnfillableError("the pipeline's own safety checker has blackened it", index)
        picture = made.images[0]
        if picture.size != (width, height):
            raise ValueError(
                f"{type(self.pipeline).__name__} returned {picture.size[0]}x{picture.size[1]} for {width}x{height}."
            )
        pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
        return from_levels(pixels).to(erased)

    def facts(self) -> dict[str, Any]:
        """What the pipeline is and how it was called, defaults of the pipeline included."""
        arguments, cls = self.hparams, type(self.pipeline)
        known = loading.takes(cls)
        plain = {
            name: known[name].default
            for name in ("num_inference_steps", "strength", "guidance_scale", "true_cfg_scale", "eta")
            if name in known and isinstance(known[name].default, int | float)
        }
        words = {"prompts": self.prompts.path} if self.prompts else {"prompt": self.words.prompt}
        if self.told and not self.prompts and not self.words.prompt:
            words = {"prompts": "those of the protocol"}
        words |= {"negative_prompt": self.words.negative_prompt} if "negative_prompt" in known else {}
        return {
            "source": arguments["source"],
            "content": {"source": loading.content(arguments["source"], self.folder)} | _prompts_of(arguments),
            "pipeline": f"{cls.__module__}.{cls.__qualname__}",
            "scheduler": type(getattr(self.pipeline, "scheduler", None)).__name__,
            "call": words | plain | self.call,
            "size": arguments["size"],
            "multiple": self.multiple,
            "dtype": arguments["dtype"],
            "variant": arguments["variant"],
            "libraries": self.libraries,
        }

    @property
    def origin(self) -> tuple[str | None, str | None]:
        return self.folder.repository, self.folder.revision


def _prompts_of(arguments: Mapping[str, Any]) -> dict[str, str]:
    return {"prompts": sha256(Path(arguments["prompts"]))} if arguments.get("prompts") else {}
