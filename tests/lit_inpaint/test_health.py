"""Health logs the actual gradients and discriminator logits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor

from lit_inpaint.callbacks import Health
from lit_inpaint.methods.lama.loss import mean_over_hole
from lit_inpaint.module import InpaintingModule
from tests.support.contract import ROWS, STAGES, batches, make, trainer
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


def test_norms_and_margin_are_those_of_the_batch(tmp_path: Path):
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


LABELS_DIFFER = {"AOTGAN"}  # from patch to patch: there is no one number


@pytest.mark.parametrize(("name", "arguments"), [*ROWS, *STAGES], ids=[name for name, _ in (*ROWS, *STAGES)])
def test_every_discriminator_shows_its_margin(name: str, arguments: dict[str, Any], tmp_path: Path):
    if name == "DSITexture":
        vqvae = make("DSIVQVAE", dict(STAGES)["DSIVQVAE"])
        saved = {"method": "DSIVQVAE", "state_dict": vqvae.state_dict(), "hyper_parameters": dict(vqvae.hparams)}
        torch.save(saved, tmp_path / "vqvae.ckpt")
        arguments = arguments | {"vqvae": str(tmp_path / "vqvae.ckpt")}
    method = make(name, arguments | ({"completion_steps": 0, "discriminator_steps": 0} if name == "GLCIC" else {}))
    trainable = not isinstance(method, InpaintingModule) or method.trainable
    judged = [child for child, _ in method.named_children() if child.startswith("discriminator")]
    if not judged or not trainable:
        return
    run = trainer(tmp_path, max_steps=1, callbacks=[Health()], limit_val_batches=0, log_every_n_steps=1)
    run.fit(method, batches(1))
    assert ("health/margin" in run.callback_metrics) == (name not in LABELS_DIFFER)
    if name not in LABELS_DIFFER:
        real, fake = zip(*((a.float().mean(), b.float().mean()) for a, b in method.judgements), strict=True)
        expected = torch.stack(real).mean() - torch.stack(fake).mean()
        assert run.callback_metrics["health/margin"].item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)


def test_the_margin_of_lama_is_that_of_the_patches_over_the_hole():
    logits, mask = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 16, 16)
    logits[..., 1, 1], mask[..., 4:8, 4:8] = 3.0, 1
    assert mean_over_hole(logits, mask).item() == 3.0
    assert mean_over_hole(logits, 0 * mask).item() == 0.0
