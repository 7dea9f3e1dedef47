"""Every method trains in bf16-mixed: 200 steps of its own, which a loss that is not finite would stop."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lit_inpaint import methods
from masks.convention import InpaintingBatch
from tests.support.contract import ROWS, STAGES, batches, make, trainer

# test_aotgan.py, test_lama.py and test_dsi.py do so for theirs and look at what is learnt.
ELSEWHERE = ("AOTGAN", "LaMa", "DSI")
TINY = {name: dict(ROWS)[name] | {"image_size": 16, "attention_resolutions": [8]} for name in ("DDPM", "Palette")}
TRAINED = {
    name: arguments
    for name, arguments in (dict(ROWS + STAGES) | TINY).items()
    if not name.startswith(ELSEWHERE)
    and getattr(getattr(methods, name, None), "trainable", name not in methods.__all__)
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_two_hundred_steps_in_bfloat16_stay_finite(name: str, tmp_path: Path):
    method = make(name, TRAINED[name] | {"non_finite": "stop"})
    side = TRAINED[name].get("image_size", 64)
    window = (..., slice(16, 16 + side), slice(16, 16 + side)) if side < 64 else ...
    items: Any = [InpaintingBatch(i.image[window], i.mask[window], i.name) for i in batches(4).dataset]
    before = {k: v.clone() for k, v in method.state_dict().items()}
    run = trainer(tmp_path, max_steps=200, precision="bf16-mixed", limit_val_batches=0)
    run.fit(method, DataLoader(items * 50, 2))
    assert run.global_step == 200 and method.skipped == 0 and method.generator_updates > 0
    losses = {k: v for k, v in run.callback_metrics.items() if k.startswith("train/")}
    assert losses and all(torch.isfinite(v) for v in losses.values())
    state = method.state_dict()
    assert all(torch.isfinite(v).all() for v in state.values() if v.is_floating_point())
    assert any(not torch.equal(v, before[k]) for k, v in state.items() if k.startswith(method.averaged))
