"""The contract, one row per method: what every method must do before any other test of it counts.

Its rows: tests/support/contract.py.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lit_inpaint import methods
from lit_inpaint.callbacks import EMA, Health, Throughput
from lit_inpaint.classical import ClassicalModule
from lit_inpaint.evaluated import for_trainer
from lit_inpaint.load import load_method
from masks.convention import InpaintingBatch, composite
from tests.support.contract import ROWS, batches, make, trainer

by_name = pytest.mark.parametrize(("name", "arguments"), ROWS, ids=[name for name, _ in ROWS])
trained = pytest.mark.parametrize(
    ("name", "arguments"),
    [(n, a) for n, a in ROWS if getattr(methods, n).trainable],
    ids=lambda v: v if isinstance(v, str) else "",
)


def test_every_method_has_a_row():
    optional = {"LatentInpainting"} if find_spec("diffusers") is None else set()
    assert set(methods.__all__) - optional == {name for name, _ in ROWS}


@by_name
def test_known_pixels_come_back_untouched_and_the_hole_is_not_looked_at(name: str, arguments: dict[str, Any]):
    method = make(name, arguments).eval()
    batch = next(iter(batches(1)))
    guides = method.draws(0, batch.name)
    with torch.no_grad():
        out = method(batch.image, batch.mask, **guides)
        other = method(torch.where(batch.mask == 1, 0.7, batch.image), batch.mask, **method.draws(0, batch.name))
    assert torch.equal(out[(batch.mask == 0).expand_as(out)], batch.image[(batch.mask == 0).expand_as(out)])
    torch.testing.assert_close(composite(out, 0 * out, batch.mask), composite(other, 0 * out, batch.mask))
    assert out.abs().max() <= 1


@pytest.mark.parametrize("name", ["ContextEncoder", "DeepFillV2", "GLCIC"])
def test_the_first_batch_logs_the_losses_of_both_networks(name: str, tmp_path: Path):
    arguments = dict(ROWS)[name] | ({"completion_steps": 0, "discriminator_steps": 0} if name == "GLCIC" else {})
    run = trainer(tmp_path, max_steps=1, callbacks=[Health()])
    run.fit(make(name, arguments), batches(1))  # Lightning forgets what a step logged before its last hook
    wanted = {
        "train/discriminator_loss",
        "train/adversarial",
        "health/gradient/generator",
        "health/gradient/discriminator",
    }
    assert wanted <= set(run.callback_metrics)


@trained
def test_two_batches_train_save_load_and_complete_the_same_image(name: str, arguments: dict[str, Any], tmp_path: Path):
    method = make(name, arguments)
    run = trainer(tmp_path, max_steps=2, val_check_interval=2, callbacks=[EMA(0.5), Throughput()])
    before = {k: v.clone() for k, v in method.state_dict().items()}
    run.fit(method, batches(3), batches(1))
    assert run.global_step == 2  # batches, however many optimisers step
    assert any(not torch.equal(before[k], v) for k, v in method.state_dict().items() if k.startswith(method.averaged))
    assert {"val/psnr", "val/psnr_hole", "val/ssim", "val/l1_hole", "images_seen"} <= set(run.callback_metrics)
    assert run.callback_metrics["images_seen"] == 4
    losses = {key for key in run.callback_metrics if key in {"train/loss", "train/generator_loss"}}
    assert losses == ({"train/generator_loss"} if len(run.optimizers) > 1 else {"train/loss"})
    run.save_checkpoint(tmp_path / "x.ckpt")
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert content["method"] == name and set(content["ema"]) == set(method.averaged)

    raw = load_method(tmp_path / "x.ckpt", weights="raw")
    averaged = load_method(tmp_path / "x.ckpt")
    assert (raw.loaded_weights, averaged.loaded_weights) == ("raw", "ema")
    batch = next(iter(batches(1)))
    method.eval()
    with torch.no_grad():
        expected = method(batch.image, batch.mask, **method.draws(0, batch.name))
        torch.testing.assert_close(raw(batch.image, batch.mask, **raw.draws(0, batch.name)), expected)
    (predicted,) = trainer(tmp_path).predict(method, DataLoader([InpaintingBatch(*(b[0] for b in batch))]))
    torch.testing.assert_close(predicted, expected[:1], atol=1e-4, rtol=1e-4)
    assert json.dumps(dict(method.hparams))  # plain values only


@by_name
def test_test_logs_the_same_keys_for_every_method(name: str, arguments: dict[str, Any], tmp_path: Path):
    method = make(name, arguments)
    tested = for_trainer(method) if isinstance(method, ClassicalModule) else method
    (logged,) = trainer(tmp_path).test(tested, batches(1), verbose=False)
    assert type(tested).__name__ == name and dict(tested.hparams) == dict(method.hparams)
    assert set(logged) == {"test/psnr", "test/psnr_hole", "test/ssim", "test/l1_hole"}
    assert 0 < logged["test/psnr"] < 100


@by_name
def test_sides_that_are_no_multiple_are_padded_and_cropped_back(name: str, arguments: dict[str, Any]):
    method = make(name, arguments).eval()
    batch = next(iter(batches(1, 1)))
    image, mask = batch.image[..., :61, :53], batch.mask[..., :61, :53]
    with torch.no_grad():
        out = method(image, mask, **method.draws(0, batch.name))
    assert out.shape == image.shape
    assert torch.equal(out[(mask == 0).expand_as(out)], image[(mask == 0).expand_as(out)])


@pytest.mark.parametrize("name", [n for n, _ in ROWS])
def test_the_published_network_is_built_without_memory_or_files(name: str):
    with torch.device("meta"):
        method = getattr(methods, name)()
    assert all(p.device.type == "meta" for p in method.parameters())
    assert method.year >= 2000 and method.paper


@by_name
def test_what_breaks_the_convention_is_refused_by_all_that_users_call(name: str, arguments: dict[str, Any]):
    method = make(name, arguments).eval()
    batch = next(iter(batches(1)))
    wrong = {
        r"image has values in \[.*255\].*127.5": ((batch.image + 1) * 127.5, batch.mask),
        r"mask has values in \[0, 255\].*Divide": (batch.image, batch.mask * 255),
        "image is uint8": ((batch.image + 1).byte(), batch.mask),
        "mask has shape": (batch.image, batch.mask.expand(2, 3, -1, -1)),
    }
    for said, (image, mask) in wrong.items():
        for call in (method, lambda *pair: method.sample(*pair, 2)):
            with pytest.raises(ValueError, match=said):
                call(image, mask)
