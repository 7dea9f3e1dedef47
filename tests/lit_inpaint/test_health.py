"""What Health logs is what the gradients and the discriminator's logits were."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor

from lit_inpaint.callbacks import Health
from lit_inpaint.losses import margin
from tests.support.contract import batches, trainer
from tests.support.gradients import Forms


@pytest.mark.parametrize("fused", [True, False])
def test_norms_are_without_float16_s_loss_scale(tmp_path: Path, fused: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Forms, "configure_optimizers", lambda self: [
        torch.optim.Adam(network.parameters(), 1e-3, fused=fused) for network in (self.generator, self.discriminator)
    ])  # fmt: skip
    norms = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=1024.0)):
        torch.manual_seed(0)
        plugins = [MixedPrecision("16-mixed", "cpu", scaler)] if scaler else []
        run = trainer(
            tmp_path, max_steps=1, callbacks=[Health()], limit_val_batches=0, log_every_n_steps=1, plugins=plugins
        )
        run.fit(Forms(), batches(1))
        norms.append(run.callback_metrics["health/gradient/generator"].item())
    assert norms[1] == pytest.approx(norms[0], rel=0.05)


def test_norms_and_margin_are_those_of_the_batch_and_nothing_listens_afterwards(tmp_path: Path):
    torch.manual_seed(0)
    method = Forms()
    (batch,) = batches(1)
    norms: dict[str, float] = {}
    step = torch.optim.Adam.step

    def keep(optimizer: torch.optim.Adam, closure: object = None) -> None:
        for name, network in method.named_children():
            if optimizer.param_groups[0]["params"][0] is next(network.parameters()):
                gradients = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
                norms[name] = torch.cat(gradients).norm().item()
        step(optimizer, closure)

    with torch.no_grad():
        completed = method.predict(batch.image, batch.mask) * batch.mask + batch.image * (1 - batch.mask)
        difference: Tensor = method.discriminator(batch.image).mean() - method.discriminator(completed).mean()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", keep)
        run = trainer(tmp_path, max_steps=1, callbacks=[Health()], limit_val_batches=0, log_every_n_steps=1)
        run.fit(method, batches(1))
    logged = {key: value.item() for key, value in run.callback_metrics.items()}
    assert logged["health/margin"] == pytest.approx(difference.item(), rel=1e-4)
    assert logged["health/gradient/generator"] == pytest.approx(norms["generator"], rel=1e-5)
    assert logged["health/gradient/discriminator"] == pytest.approx(norms["discriminator"], rel=1e-5)
    assert 0.1 < logged["health/memory_gib"] < 100
    assert not margin.watchers
