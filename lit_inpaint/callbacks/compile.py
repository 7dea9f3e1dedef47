"""``torch.compile`` for the networks of a method that it suits."""

from collections.abc import Sequence

import lightning as L
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from lit_inpaint.method import parameter_counts
from lit_inpaint.stage import Stage


def compile_in_place(network: torch.nn.Module, backend: str = "inductor") -> None:
    """``network.compile()`` whose cached code is reused only on processors with the same vector units.

    The key of Inductor's cache on disk omits the vector units (torch 2.14.1). C++ generated for AVX-512 and then built
    for AVX2 fills half of each vector; the other way round it writes beyond its buffers. Such caches meet in a shared
    folder, in a container image, and under ``ATEN_CPU_CAPABILITY``. The tag is part of the key. (The key also lacked
    the number of threads once: github.com/pytorch/pytorch/pull/185049.)
    """
    capability, tag = torch.backends.cpu.get_cpu_capability(), torch.compiler.config.cache_key_tag
    if capability not in tag.split():
        torch.compiler.config.cache_key_tag = f"{tag} {capability}".strip()
    network.compile(backend=backend)


class Compile(L.Callback):
    """Compile networks in place when a fit begins (``module.compile()``): names in checkpoints stay as they are.

    The first batches take minutes, and so does the first of every other shape or mode (validation). On a GPU this
    pays off for runs of hours, on a CPU rarely (docs/speed.md).

    >>> Compile(networks=["generator"]).networks
    ['generator']

    Args:
        networks: Attributes of the method; None for those used in evaluation, if they can be compiled.
        backend: Backend of ``torch.compile``.
    """

    def __init__(self, networks: Sequence[str] | None = None, backend: str = "inductor") -> None:
        self.networks, self.backend = networks, backend

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Raises:
        ValueError: If a name is not a network of the method or cannot be compiled, with the reason.
        """
        if stage != "fit":
            return
        assert isinstance(pl_module, Stage)
        kept_out, name = pl_module.uncompiled, type(pl_module).__name__
        suited = [network for network in parameter_counts(pl_module) if network not in kept_out]
        chosen = [n for n in pl_module.averaged if n in suited] if self.networks is None else list(self.networks)
        if wrong := [n for n in chosen if n not in suited]:
            reasons = "".join(f" {n}: {kept_out[n]}." for n in wrong if n in kept_out)
            raise ValueError(
                f"Compile: networks is {chosen}; of {name} it may name {suited or 'none'}, not {wrong}.{reasons}"
            )
        if not chosen:
            reasons = ", ".join(f"{network}: {reason}" for network, reason in kept_out.items())
            raise ValueError(f"Compile: {name} has no network to compile ({reasons}). Remove the callback.")
        for network in chosen:
            compile_in_place(getattr(pl_module, network), self.backend)
        rank_zero_info(f"compiling {', '.join(chosen)} of {name}: the first batches take minutes")
