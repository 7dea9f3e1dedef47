"""Early signs of a failing run: discriminator margin, gradient norms, memory."""

import lightning as L
import torch

from lit_inpaint.memory import peak_bytes
from lit_inpaint.stage import Stage


class Health(L.Callback):
    """Log early signs of a failing run; :class:`Throughput` logs speed and data wait.

    * ``health/margin``: mean logit of real minus mean logit of fake images, over the discriminators of a batch. It
      falls to 0 where a discriminator learns nothing and grows without bound where the generator has lost. It is
      measured before a sigmoid or a hinge, so its scale depends on the method. Logged for methods whose training
      step calls :meth:`Stage.note_margin`.
    * ``health/gradient/<network>``: gradient norm of the network's update, after clipping. Measured in
      logged batches and in the network's first update after one, since not every network is updated in every batch.
    * ``health/memory_gib``: peak memory of the device so far; on a CPU, of the process.

    Non-finite losses are reported with their step by the ``non_finite`` policy of the method.

    >>> isinstance(Health(), L.Callback)
    True
    """

    def __init__(self) -> None:
        self._measured: dict[str, int] = {}  # in which stretch between two logged batches a network was last measured

    def state_dict(self) -> dict[str, dict[str, int]]:
        return {"measured": self._measured}

    def load_state_dict(self, state_dict: dict[str, dict[str, int]]) -> None:
        self._measured = state_dict["measured"]

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        every = trainer.log_every_n_steps or trainer.global_step  # type: ignore[attr-defined]
        stretch = (trainer.global_step - 1) // every
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for name, network in pl_module.named_children():
            if trainer.global_step % every and self._measured.get(name) == stretch:
                continue
            gradients = [p.grad for p in network.parameters() if p.grad is not None and id(p) in own]
            if gradients:
                self._measured[name] = stretch
                norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
                scaler = getattr(trainer.precision_plugin, "scaler", None)
                if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
                    norm = norm / scaler.get_scale()  # fused optimisers take float16's loss scale away in their step
                pl_module.log(f"health/gradient/{name}", norm, batch_size=1)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        values: dict[str, torch.Tensor | float] = {}
        if isinstance(pl_module, Stage) and pl_module.judgements:
            margins = [real.float().mean() - fake.float().mean() for real, fake in pl_module.judgements]
            values["health/margin"] = torch.stack(margins).mean()
        if trainer.global_step % (trainer.log_every_n_steps or 1) == 0:  # type: ignore[attr-defined]
            values["health/memory_gib"] = peak_bytes(pl_module.device) / 2**30
        pl_module.log_dict(values, batch_size=1)
