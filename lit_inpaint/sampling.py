"""The sampler of a diffusion model, where the command line names another than the checkpoint's."""

from collections.abc import Sequence
from inspect import isabstract, isclass, signature
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
    sampler = sampler_of(words)
    module.refuse_unsuited(sampler)
    module.sampler = sampler


def sampler_of(words: Sequence[str]) -> "Sampler":
    """
    >>> sampler_of(["RePaint", "steps=50", "jump_length=5", "resamples=5"]).network_calls
    230
    """
    from lit_inpaint.diffusion import samplers

    name, *given = words
    found = [getattr(samplers, one) for one in samplers.__all__]
    kinds = [cls for cls in found if isclass(cls) and issubclass(cls, samplers.Sampler) and not isabstract(cls)]
    classes: dict[str, type[Sampler]] = {cls.__name__: cls for cls in kinds}
    if name not in classes:
        raise ValueError(f"there is no sampler '{name}'. {nearest(name, classes)}")
    arguments, allowed = dict(map(key_value, given)), list(signature(classes[name]).parameters)
    for key in arguments:
        if key not in allowed:
            raise ValueError(f"{name} has no argument '{key}'. {nearest(key, allowed)}")
    return classes[name](**arguments)
