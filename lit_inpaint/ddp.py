"""Check a method for distributed and half-precision training before it starts; meet again after a restart."""

import os
import socket

import lightning as L
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]


def check_strategy(trainer: L.Trainer, module: nn.Module) -> None:
    """Reject settings with wrong gradients and report networks whose BatchNorm sees only one device's images.

    Raises:
        ValueError: If ``static_graph`` is set: networks step in turn, so the graph is another in every backward. Or for
            ``clip_norm`` in float16: gradients carry the loss scale when they are clipped.
    """
    if trainer.precision == "16-mixed" and getattr(module, "clip_norm", None) is not None:
        raise ValueError(
            "precision is 16-mixed and clip_norm is set, but float16 gradients are scaled up when they are clipped. "
            "Set trainer.precision to bf16-mixed, or remove clip_norm."
        )
    strategy = trainer.strategy
    if getattr(strategy, "_ddp_kwargs", {}).get("static_graph"):
        raise ValueError(
            "static_graph gives wrong gradients, because the networks of a method are updated in turn. "
            "Use strategy ddp_find_unused_parameters_true instead."
        )
    if trainer.world_size > 1 and getattr(strategy, "_layer_sync", None) is None and (names := batch_norms(module)):
        rank_zero_warn(
            f"BatchNorm of {', '.join(names)} sees the images of one device, not of all {trainer.world_size}: results "
            "depend on the number of devices. Set trainer.sync_batchnorm to true (GPUs only)."
        )


def batch_norms(module: nn.Module) -> list[str]:
    """Networks of a method, by attribute, with a BatchNorm that is trained on the statistics of its batch."""

    def trains(network: nn.Module) -> bool:
        kinds = nn.modules.batchnorm._BatchNorm
        return any(
            isinstance(m, kinds) and not isinstance(m, nn.SyncBatchNorm) and m.training for m in network.modules()
        )

    return [name for name, network in module.named_children() if trains(network)]


def meet_after_restart() -> None:
    """Let the processes that torchrun has restarted on one machine meet through a store of their own.

    They would meet through the store of torchrun, which still holds the addresses of the processes before the restart:
    whoever looks first finds a dead one (pytorch/pytorch#135712). With several machines, set
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1: each counts its restarts by itself.
    """
    env, restart = os.environ, os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if restart == "0" or env.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or env.get("GROUP_WORLD_SIZE") != "1":
        return
    store, key = TCPStore(env["MASTER_ADDR"], int(env["MASTER_PORT"]), is_master=False), f"lit-inpaint/{restart}"
    if env["RANK"] == "0":
        with socket.socket() as free:
            free.bind(("", 0))
            store.set(key, str(free.getsockname()[1]))
    env["MASTER_PORT"], env["TORCHELASTIC_USE_AGENT_STORE"] = store.get(key).decode(), "False"
