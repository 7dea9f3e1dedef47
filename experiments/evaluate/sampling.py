"""The sampler of a diffusion model, where the command line names another than the checkpoint's."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from inspect import isabstract
from typing import TYPE_CHECKING

from lit_inpaint.method import Method
from lit_inpaint.options import key_value
from masks.nearest import nearest

if TYPE_CHECKING:
    from lit_inpaint.diffusion.samplers import Sampler


def choose(module: Method, words: Sequence[str]) -> None:
    """Let a method complete with this sampler.

    Raises:
        ValueError: It does not sample, or there is no such sampler.
    """
    from lit_inpaint.denoising import DenoisingModule

    if not isinstance(module, DenoisingModule):
        raise ValueError(f"{type(module).__name__} does not sample; --sampler is for diffusion models.")
    module.sampler = sampler_of(words)


def sampler_of(words: Sequence[str]) -> "Sampler":
    """
    >>> sampler_of(["RePaint", "steps=50", "jump_length=5", "resamples=5"])
    RePaint(steps=50, jump_length=5, resamples=5)
    """
    from lit_inpaint.diffusion import samplers

    name, *given = words
    classes = {n: c for n in samplers.__all__ if isinstance(c := getattr(samplers, n), type) and is_dataclass(c)}
    classes = {n: c for n, c in classes.items() if issubclass(c, samplers.Sampler) and not isabstract(c)}
    if name not in classes:
        raise ValueError(f"there is no sampler '{name}'. {nearest(name, classes)}")
    arguments, allowed = dict(map(key_value, given)), [one.name for one in fields(classes[name]) if one.init]
    for key in arguments:
        if key not in allowed:
            raise ValueError(f"{name} has no argument '{key}'. {nearest(key, allowed)}")
    return classes[name](**arguments)
