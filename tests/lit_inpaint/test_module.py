"""The optimisation step, the counters and EMA that all methods share."""

import multiprocessing
import os
import platform
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from experiments.run.loggers import SegmentedCSVLogger
from lit_inpaint.callbacks import EMA, Restart
from lit_inpaint.checkpoint_io import AtomicCheckpointIO
from lit_inpaint.load import load_method, read_checkpoint
from lit_inpaint.method import keyed_generators
from lit_inpaint.module import InpaintingModule
from lit_inpaint.stage import NonFiniteLossError
from masks.convention import InpaintingBatch
from tests.support.contract import ROWS, STAGES, batches, make, trainer


class Scale(InpaintingModule):
    """One weight a network: the generator's is pulled to the image, the discriminator's to 1."""

    year, paper = 2026, "for tests"

    def __init__(self, discriminator_steps: int = 1, fail_at: int = -1, size: int = 0, **optimisation: Any) -> None:
        super().__init__(**optimisation)
        self.save_hyperparameters()
        self.discriminator_steps, self.fail_at, self.fixed_size = discriminator_steps, fail_at, size or None
        self.generator, self.discriminator = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.generator.weight), nn.init.zeros_(self.discriminator.weight)
        self.history: list[float] = []

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Any = None) -> Tensor:
        return self.generator.weight * torch.ones_like(erased)

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(network.parameters(), 0.5) for network in (self.generator, self.discriminator)]

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        optimizer_g, optimizer_d = self.optimizers()
        for _ in range(self.discriminator_steps):
            with self.optimise(optimizer_d) as minimise:
                minimise((self.discriminator.weight - 1).square().sum())
        if (self.trainer.global_step - 1) % self.discriminator_steps == 0:
            with self.optimise(optimizer_g) as minimise:
                assert not self.discriminator.weight.requires_grad
                pull = 0.5 * (self.generator.weight - batch.image.mean()).square().sum()
                if self.trainer.global_step == self.fail_at:
                    pull = pull * float("nan")
                minimise(pull, pull=pull)
        self.history.append(self.generator.weight.item())


def images(values: list[float]) -> DataLoader:
    return DataLoader([InpaintingBatch(torch.full((3, 16, 16), v), torch.ones(1, 16, 16), f"{v}") for v in values])


@pytest.mark.parametrize("discriminator_steps", [1, 2, 5])
def test_a_step_is_a_batch_whatever_the_number_of_optimiser_steps(discriminator_steps: int, tmp_path: Path):
    method = Scale(discriminator_steps)
    run = trainer(tmp_path, max_steps=7)
    run.fit(method, images([0.0] * 20))
    assert (run.global_step, len(method.history)) == (7, 7)
    assert method.generator_updates == len(range(0, 7, discriminator_steps))


def test_checkpoint_names_counters_and_logged_steps_agree(tmp_path: Path):
    saved = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=2, save_top_k=-1)
    logger = SegmentedCSVLogger(str(tmp_path))
    run = trainer(
        tmp_path, max_steps=5, callbacks=[saved], logger=logger, log_every_n_steps=1, enable_checkpointing=True
    )
    run.fit(Scale(discriminator_steps=2), images([0.0] * 5))
    files = {p.stem: read_checkpoint(p) for p in tmp_path.glob("*.ckpt")}
    assert {stem: content["global_step"] for stem, content in files.items()} == {"step=2": 2, "step=4": 4}
    assert [row.split(",")[1] for row in (tmp_path / "metrics.csv").read_text().split()] == ["step", *"12345"]


@pytest.mark.parametrize("discriminator_steps", [1, 2, 5])
@pytest.mark.parametrize("every", [4, 5])
def test_a_save_period_is_a_number_of_batches(every: int, discriminator_steps: int, tmp_path: Path):
    saved = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=every, save_top_k=-1)
    run = trainer(tmp_path, max_steps=11, callbacks=[saved, Restart()], enable_checkpointing=True)
    run.fit(Scale(discriminator_steps), images([0.0] * 6))
    steps = {p.name: read_checkpoint(p)["global_step"] for p in tmp_path.glob("*.ckpt")}
    # The end of a run is saved although it is not a multiple.
    assert steps == {f"step={n}.ckpt": n for n in range(every, 11, every)} | {"last.ckpt": 11}


def test_draws_inside_a_model_differ_from_batch_to_batch_and_are_repeated_after_a_resume(tmp_path: Path):
    class Drawing(Scale):
        def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
            self.history.append(torch.rand(()).item())

    whole, resumed, run = Drawing(), Drawing(), trainer(tmp_path, max_steps=2)
    trainer(tmp_path, max_steps=4).fit(whole, images([0.0] * 4))
    assert len(set(whole.history)) == 4
    run.fit(Drawing(), images([0.0] * 4))
    run.save_checkpoint(tmp_path / "x.ckpt")
    trainer(tmp_path, max_steps=4).fit(resumed, images([0.0] * 4), ckpt_path=tmp_path / "x.ckpt")
    assert resumed.history == whole.history[2:]


def test_a_run_that_ended_inside_an_epoch_is_made_longer_inside_it(tmp_path: Path):
    for steps, ckpt_path in ((3, None), (4, tmp_path / "last.ckpt")):  # of five batches an epoch
        saved = ModelCheckpoint(tmp_path, every_n_train_steps=10, save_top_k=0)
        run = trainer(tmp_path, max_steps=steps, callbacks=[saved, Restart()], enable_checkpointing=True)
        run.fit(Scale(), images([0.0] * 5), ckpt_path=ckpt_path)
    assert run.fit_loop.epoch_progress.current.started == 1 and run.global_step == 4


def test_accumulated_batches_make_one_step_on_their_mean_gradient(tmp_path: Path):
    method = Scale(accumulate=2)
    trainer(tmp_path, max_steps=4).fit(method, images([0.2, 0.6, -0.2, 0.0, 9.0]))
    first = 1 - 0.5 * (1 - 0.4)  # one step of size 0.5 towards the mean of 0.2 and 0.6
    assert method.history == pytest.approx([1, first, first, first - 0.5 * (first + 0.1)], abs=1e-6)
    assert method.generator_updates == 2


def test_the_last_batch_of_an_epoch_steps_on_what_was_accumulated_and_the_next_epoch_begins_anew(tmp_path: Path):
    method = Scale(accumulate=2)
    trainer(tmp_path, max_epochs=2).fit(method, images([0.2, 0.6, -0.2]))
    expected = [1.0]
    for mean, share in ((0.4, 1), (-0.2, 0.5), (0.4, 1), (-0.2, 0.5)):  # a single batch counts as half of an update
        expected.append(expected[-1] - 0.5 * share * (expected[-1] - mean))
    assert method.history == pytest.approx([expected[n] for n in (0, 1, 2, 2, 3, 4)], abs=1e-6)
    assert method.generator_updates == 4


def test_a_validation_between_two_batches_of_one_update_changes_nothing(tmp_path: Path):
    made = []
    for held_out in (None, images([0.5])):
        method = Scale(accumulate=2)
        run = trainer(tmp_path, max_steps=4, val_check_interval=1)
        run.fit(method, images([0.2, 0.6, -0.2, 0.0]), held_out)
        made.append(method.history)
    assert made[0] == made[1] and made[0][0] != made[0][-1]


def test_a_checkpoint_in_the_middle_of_an_update_keeps_its_gradients(tmp_path: Path):
    run = trainer(tmp_path, max_steps=1)
    run.fit(Scale(accumulate=2), images([0.2, 0.6, 9.0]))
    run.save_checkpoint(tmp_path / "x.ckpt")
    method = Scale(accumulate=2)
    trainer(tmp_path, max_steps=2).fit(method, images([0.6, 9.0, 9.0]), ckpt_path=tmp_path / "x.ckpt")
    assert method.history == pytest.approx([1 - 0.5 * (1 - 0.4)], abs=1e-6)  # one step towards the mean of 0.2 and 0.6


@pytest.mark.parametrize(("then", "now"), [(2, 4), (4, 2), (4, 1), (4, 3)])
def test_an_update_that_another_accumulate_began_is_still_one_step_on_a_mean(tmp_path: Path, then: int, now: int):
    done = 1 if then < now else 3  # blocks of 0.2, after which those of 0.6 come
    run = trainer(tmp_path, max_steps=done)
    run.fit(Scale(accumulate=then), images([0.2] * 9))
    run.save_checkpoint(tmp_path / "x.ckpt")
    method, left = Scale(accumulate=now), max(now - done, 1)
    trainer(tmp_path, max_steps=done + left).fit(method, images([0.6] * 9), ckpt_path=tmp_path / "x.ckpt")
    mean = (0.2 * (now - left) + 0.6 * left) / now
    assert method.history[-1] == pytest.approx(1 - 0.5 * (1 - mean), abs=1e-6) and method.generator_updates == 1
    assert method.history[:-1] == [1] * (left - 1)


def test_an_optimiser_that_skips_batches_accumulates_its_own(tmp_path: Path):
    method = Scale(discriminator_steps=2, accumulate=2)  # the generator trains on batches 1, 3, 5 and 7
    trainer(tmp_path, max_steps=7).fit(method, images([0.2, 9.0, 0.6, 9.0, -0.2, 9.0, 0.0, 9.0]))
    first = 1 - 0.5 * (1 - 0.4)
    assert method.history[2] == pytest.approx(first, abs=1e-6)
    assert method.history[6] == pytest.approx(first - 0.5 * (first + 0.1), abs=1e-6)
    assert method.generator_updates == 2


def test_a_clipped_step_has_the_stated_norm(tmp_path: Path):
    method = Scale(clip_norm=0.1)
    trainer(tmp_path, max_steps=1).fit(method, images([0.0]))
    assert method.history == pytest.approx([1 - 0.5 * 0.1], abs=1e-6)


def test_clipping_of_scaled_gradients_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lightning.Trainer.precision", "16-mixed")  # on a CPU Lightning takes bfloat16 instead
    with pytest.raises(ValueError, match="clip_norm is set"):
        trainer(tmp_path, max_steps=1).fit(Scale(clip_norm=0.1), images([0.0]))


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(tmp_path: Path):
    method = Scale(fail_at=2)
    saved = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_last=True)
    run = trainer(tmp_path, max_steps=4, callbacks=[saved], enable_checkpointing=True)
    said = r"loss is nan at step 2 \(epoch 0\), in the update of generator \(pull nan\); this update was skipped"
    with pytest.raises(NonFiniteLossError, match=said):
        run.fit(method, images([0.0] * 4))
    last = read_checkpoint(tmp_path / "last.ckpt")  # of the step before
    assert last["global_step"] == 1 and last["state_dict"]["generator.weight"].item() == 0.5
    assert method.generator.weight.item() == method.history[0] == 0.5
    assert method.discriminator.weight.requires_grad  # restored in spite of the exception


def test_skip_leaves_out_the_one_update_and_counts_it(tmp_path: Path):
    method = Scale(fail_at=2, non_finite="skip")
    trainer(tmp_path, max_steps=3).fit(method, images([0.0] * 4))
    assert method.history == pytest.approx([0.5, 0.5, 0.25])
    assert (method.skipped, method.generator_updates) == (1, 2)


@pytest.mark.parametrize("name", ["GLCIC", "LaMa", "ContextEncoder", "PartialConv", "DeepFillV2", "DSIVQVAE"])
def test_a_batch_that_is_left_out_leaves_nothing_in_statistics_and_averages(name: str, tmp_path: Path):
    arguments = dict(ROWS + STAGES)[name] | {"non_finite": "skip"}
    arguments |= {"completion_steps": 0, "discriminator_steps": 0} if name == "GLCIC" else {}
    good, bad = (InpaintingBatch(x.image, torch.zeros_like(x.mask), x.name) for x in batches(1).dataset)
    bad = bad._replace(image=bad.image * float("nan"))
    states, averages = [], []
    for items in ([good] * 2, [good] * 2 + [bad] * 2):
        method, ema = make(name, arguments), EMA(decay=0.5)
        run = trainer(tmp_path, max_steps=len(items) // 2, callbacks=[ema], limit_val_batches=0)
        run.fit(method, DataLoader(items, batch_size=2))
        states.append(dict(method.named_buffers()))
        averages.append(next(iter(ema.average.values())).state_dict())
    assert method.skipped > 0
    torch.testing.assert_close(states[1], states[0], rtol=0, atol=0)
    torch.testing.assert_close(averages[1], averages[0], rtol=0, atol=0)


def test_a_network_steps_through_its_batch_norm_where_the_update_of_the_other_one_is_left_out(tmp_path: Path):
    class Judged(Scale):
        def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
            optimizer_g, optimizer_d = self.optimizers()
            prediction = self.generator.norm(self.generator.weight * batch.image).square().mean()
            with self.optimise(optimizer_d) as minimise:
                minimise(self.discriminator.weight.sum() * float("nan"))
            with self.optimise(optimizer_g) as minimise:
                minimise(prediction)

    method = Judged(non_finite="skip")
    method.generator.norm = nn.BatchNorm2d(3)
    image = torch.linspace(-1, 1, 3 * 16 * 16).view(3, 16, 16)
    batch = InpaintingBatch(image, torch.ones(1, 16, 16), "x")
    trainer(tmp_path, max_steps=1).fit(method, DataLoader([batch]))
    assert (method.skipped, method.generator_updates) == (1, 1)
    assert (method.generator.norm.weight < 1).all()


def test_ema_is_the_closed_form_over_generator_updates_and_serves_validation(tmp_path: Path):
    method, ema = Scale(discriminator_steps=2), EMA(decay=0.9)
    run = trainer(tmp_path, max_steps=6, val_check_interval=6, callbacks=[ema])
    run.fit(method, images([0.0] * 6), images([0.0]))
    weights = [1.0, 0.5, 0.25, 0.125]  # raw, after 0, 1, 2, 3 updates
    expected = weights[0]
    for weight in weights[1:]:
        expected = 0.9 * expected + 0.1 * weight
    assert ema.average["generator"].weight.item() == pytest.approx(expected, abs=1e-7)
    assert method.generator.weight.item() == pytest.approx(weights[-1])  # given back after validation
    grey_levels = round((expected + 1) * 127.5) - 128  # of the average, against an image of 0, both rounded to 8 bits
    assert run.callback_metrics["val/l1_hole"].item() == pytest.approx(grey_levels / 255, abs=1e-6)

    run.save_checkpoint(tmp_path / "x.ckpt")
    assert load_method(tmp_path / "x.ckpt").generator.weight.item() == pytest.approx(expected, abs=1e-7)
    assert load_method(tmp_path / "x.ckpt", weights="raw").generator.weight.item() == pytest.approx(weights[-1])


@pytest.mark.parametrize("error", [RuntimeError("no metric"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_an_exception_in_validation_leaves_the_raw_weights_in_the_network(error: BaseException, tmp_path: Path):
    class Failing(Scale):
        def validation_step(self, batch: InpaintingBatch, batch_idx: int) -> Tensor:
            self.validated = self.generator.weight.item()
            raise error

    method, ema = Failing(), EMA(decay=0.9)
    run = trainer(tmp_path, max_steps=2, val_check_interval=1, callbacks=[ema])
    with pytest.raises((RuntimeError, KeyboardInterrupt, SystemExit)):
        run.fit(method, images([0.0] * 2), images([0.0]))
    assert method.validated == pytest.approx(0.95)  # the average, 0.9 * 1 + 0.1 * 0.5
    assert method.generator.weight.item() == pytest.approx(0.5)
    assert ema.average["generator"].weight.item() == pytest.approx(0.95)


def test_a_checkpoint_saved_in_validation_holds_the_raw_weights_and_the_average_apart(tmp_path: Path):
    class Saving(Scale):
        def validation_step(self, batch: InpaintingBatch, batch_idx: int) -> Tensor:
            self.trainer.save_checkpoint(tmp_path / "x.ckpt")
            return super().validation_step(batch, batch_idx)

    run = trainer(tmp_path, max_steps=1, val_check_interval=1, callbacks=[EMA(decay=0.9)])
    run.fit(Saving(), images([0.0]), images([0.0]))
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert content["state_dict"]["generator.weight"].item() == pytest.approx(0.5)
    assert content["ema"]["generator"]["weight"].item() == pytest.approx(0.95)


def test_the_average_has_the_buffers_of_the_network_as_they_are(tmp_path: Path):
    class Counting(Scale):
        def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
            self.generator.seen += 1
            super().training_step(batch, batch_idx)

    method, ema = Counting(), EMA(decay=0.9)
    method.generator.register_buffer("seen", torch.zeros(()))
    trainer(tmp_path, max_steps=2, callbacks=[ema]).fit(method, images([0.0] * 2))
    assert ema.average["generator"].seen.item() == 2


def test_statistics_of_batch_norm_are_averaged_as_the_weights_are(tmp_path: Path):
    class Normalised(Scale):
        def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
            self.generator.norm.running_mean += 1
            self.generator.norm.num_batches_tracked += 1
            super().training_step(batch, batch_idx)

    method, ema = Normalised(), EMA(decay=0.9)
    method.generator.norm = nn.BatchNorm2d(3)
    trainer(tmp_path, max_steps=2, callbacks=[ema]).fit(method, images([0.0] * 2))
    norm = ema.average["generator"].norm
    assert norm.running_mean.tolist() == pytest.approx([0.1 + 0.9 * 0.1 + 0.1] * 3)  # of 1, then 2
    assert norm.running_var.tolist() == [1, 1, 1] and norm.num_batches_tracked.item() == 2


def test_a_checkpoint_is_old_or_new_and_its_failure_names_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    io, path = AtomicCheckpointIO(), tmp_path / "x.ckpt"
    io.save_checkpoint({"value": 1}, path)
    dead = multiprocessing.get_context("fork").Process(target=int)
    dead.start()
    dead.join()
    (tmp_path / f".x.ckpt.{platform.node()}-{dead.pid}.part").write_bytes(b"of a killed run")
    living = tmp_path / f".x.ckpt.{platform.node()}-{os.getppid()}.part"
    living.write_bytes(b"of a run that is writing now")

    for error in (OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0: No space left")):
        monkeypatch.setattr(torch, "save", Mock(side_effect=error))
        with pytest.raises(OSError, match=r"x\.ckpt: .*No space left"):
            io.save_checkpoint({"value": 2}, path)
    assert torch.load(path, weights_only=True) == {"value": 1}
    assert {p.name for p in tmp_path.iterdir()} == {"x.ckpt", living.name}


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path: Path):
    marker = tmp_path / "marker"

    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (marker,))

    torch.save({"method": "Scale", "state_dict": {}, "hyper_parameters": Bomb()}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="none of its code was run"):
        read_checkpoint(tmp_path / "x.ckpt")
    assert not marker.exists()


def test_a_fixed_size_network_crops_around_the_hole_or_resizes_and_says_so():
    method = Scale(size=16)
    image, mask = torch.zeros(1, 3, 40, 30), torch.zeros(1, 1, 40, 30)
    mask[..., 30:36, 2:8] = 1
    assert method.adaptation(mask[0]) == "cropped 16x16 around the hole"
    assert method._crop_box(mask[0]) == (24, 0)  # centred on the hole, clamped to the image
    torch.testing.assert_close(method(image, mask), mask.expand_as(image))
    mask[..., 5:36, 2:8] = 1
    assert method.adaptation(mask[0]) == "resized 30x40 to 16x16 and back"
    torch.testing.assert_close(method(image, mask), mask.expand_as(image))


def test_draws_are_keyed_by_seed_name_and_number_alone():
    def draw(*key: Any) -> float:
        return torch.rand(1, generator=keyed_generators(key[0], ["a", key[1]], key[2])[1]).item()

    assert draw(0, "b", 0) == torch.rand(1, generator=keyed_generators(0, ["b"], 0)[0]).item()
    assert len({draw(0, "b", 0), draw(1, "b", 0), draw(0, "c", 0), draw(0, "b", 1)}) == 4


def test_a_network_that_is_not_there_to_be_averaged_is_named(tmp_path: Path):
    class Unnamed(Scale):
        averaged = ("refiner",)

    with pytest.raises(ValueError, match="Unnamed has no network 'refiner' to average"):
        trainer(tmp_path, callbacks=[EMA()]).fit(Unnamed(), batches(1))
