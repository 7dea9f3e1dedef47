"""The sampler of a diffusion model, where the command line names another than the checkpoint's."""

from collections.abc import Sequence
from inspect import isabstract, isclass, signature
from typing import TYPE_CHECKING, TypeGuard

from lit_inpaint import plugins
from lit_inpaint.method import Method
from lit_inpaint.options import key_values
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
    """A sampler of ours by its name, or one's own as ``package.module.Name``, which is imported.

    >>> sampler_of(["RePaint", "steps=50", "jump_length=5", "resamples=5"]).network_calls
    230

    Raises:
        ValueError: There is no such sampler, or it does not take these arguments.
    """
    name, *given = words
    cls = _class_of(name)
    arguments, allowed = key_values(given), list(signature(cls).parameters)
    for key in arguments:
        if key not in allowed:
            raise ValueError(f"{name} has no argument '{key}'. {nearest(key, allowed)}")
    try:
        return cls(**arguments)
    except TypeError as error:  # an argument without a default, of one's own
        raise ValueError(f"{name}: {error}.") from error


def _class_of(name: str) -> "type[Sampler]":
    from lit_inpaint.diffusion import samplers

    ours = {one: getattr(samplers, one) for one in samplers.__all__}
    classes = {one: cls for one, cls in ours.items() if _is_sampler(cls)}
    if name not in classes and "." not in name:
        raise ValueError(f"there is no sampler '{name}'. {nearest(name, classes)}")
    cls = classes[name] if name in classes else plugins.find(name)
    if not _is_sampler(cls):
        raise ValueError(f"{name} is no sampler: expected a subclass of lit_inpaint.diffusion.samplers.Sampler.")
    return cls


def _is_sampler(thing: object) -> "TypeGuard[type[Sampler]]":
    from lit_inpaint.diffusion.samplers import Sampler

    return isclass(thing) and issubclass(thing, Sampler) and not isabstract(thing)
