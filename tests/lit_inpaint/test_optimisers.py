"""Optimisers and schedules of a configuration, over those of the papers."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from lit_inpaint.classes import stage_classes
from lit_inpaint.methods import AOTGAN, ContextEncoder, DeepFillV1, LaMa, PartialConv
from lit_inpaint.optimisers import configured, networks_of
from lit_inpaint.stage import Stage
from tests.support.contract import ROWS, STAGES, batches, make, trainer
from tests.support.killing import digest

COSINE = {"class_path": "torch.optim.lr_scheduler.CosineAnnealingLR", "init_args": {"T_max": 10}}
WARM_COSINE = {  # as lightning#20552 has it
    "class_path": "SequentialLR",
    "init_args": {
        "schedulers": [{"class_path": "LinearLR", "init_args": {"start_factor": 0.5, "total_iters": 3}}, COSINE],
        "milestones": [3],
    },
}


class Seen(L.Callback):
    """Learning rates of every batch, and the hashes of the optimisers' states before the first."""

    def __init__(self) -> None:
        self.rates: list[list[float]] = []
        self.states: list[str] = []

    def on_before_optimizer_step(self, run: L.Trainer, module: Any, optimizer: Any) -> None:
        if not self.states:
            self.states = [digest(each.state_dict()["state"]) for each in run.optimizers]

    def on_train_batch_end(self, run: L.Trainer, *given: Any) -> None:
        self.rates.append([optimizer.param_groups[0]["lr"] for optimizer in run.optimizers])


def fitted(model: Stage, folder: Path, steps: int, more: str | None = None, epoch: int = 1) -> tuple[Seen, Path]:
    """``epoch``: its batches; this loader starts over in an epoch that is resumed."""
    seen = Seen()
    run = trainer(folder, max_steps=steps, limit_val_batches=0, callbacks=[seen])
    run.fit(model, batches(epoch), ckpt_path=more)
    run.save_checkpoint(folder / f"{steps}.ckpt")
    return seen, folder / f"{steps}.ckpt"


def small(**arguments: Any) -> LaMa:
    return make("LaMa", dict(ROWS)["LaMa"] | arguments)  # type: ignore[return-value]


def test_every_network_of_every_method_takes_an_optimiser_and_a_schedule_of_its_own():
    trained = set()
    for name, arguments in [*ROWS, *STAGES]:
        cls = stage_classes().get(name)
        if cls is None or not getattr(cls, "trainable", True):
            continue
        model = make(name, arguments)
        defaults: Any = model.configure_optimizers()
        for paper in defaults if isinstance(defaults, list) else [defaults]:
            network = networks_of(model, paper)[-1]
            sgd = {network: {"class_path": "SGD", "init_args": {"momentum": 0.5}}}
            optimizers, (schedule,) = configured(model, defaults, sgd, {network: COSINE})
            (used,) = (each for each in optimizers if isinstance(each, torch.optim.SGD))
            assert schedule.optimizer is used and networks_of(model, used) == networks_of(model, paper), name
            assert used.param_groups[0]["initial_lr"] == paper.param_groups[0]["lr"], name
            assert [group["params"] for group in used.param_groups] == [group["params"] for group in paper.param_groups]
            trained.add(f"{name}.{network}")
    assert {"AOTGAN.discriminator", "DDPM.denoiser", "GLCIC.generator", "ICTTransformer.transformer"} <= trained


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"schedules": {"generater": COSINE}}, "schedules names the network 'generater', which LaMa does not train"),
        ({"schedules": {"generator": {"class_path": "CosineAnealingLR"}}}, "is no LRScheduler.*CosineAnnealingLR"),
        ({"schedules": {"generator": {"class_path": "StepLR"}}}, r"schedules\.generator: StepLR does not take.*step_s"),
        ({"schedules": {"generator": {"class_path": "ReduceLROnPlateau"}}}, "follows a metric"),
        ({"schedules": {"generator": "StepLR"}}, "expected {class_path: NAME"),
        ({"optimizers": {"generator": {"class_path": "Adam", "lr": 1}}}, "has the key 'lr'; expected class_path"),
        ({"optimizers": {"generator": {"class_path": "torch.nn.Linear"}}}, "'torch.nn.Linear' is no Optimizer"),
        ({"optimizers": {"generator": {"class_path": "lab.Lion"}}}, "add --import lab"),
    ],
)
def test_a_wrong_specification_is_named(wrong: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        small(**wrong).configure_optimizers()


def test_two_networks_of_one_optimiser_have_one_schedule():
    both = {"discriminator_global": COSINE, "discriminator_local": COSINE}
    with pytest.raises(ValueError, match="share one optimiser"):
        make("DeepFillV1", dict(ROWS)["DeepFillV1"] | {"schedules": both}).configure_optimizers()
    one = make("DeepFillV1", dict(ROWS)["DeepFillV1"] | {"schedules": {"discriminator_local": COSINE}})
    assert isinstance(one, DeepFillV1) and len(one.configure_optimizers()[1]) == 1  # type: ignore[arg-type]
    without = make("ContextEncoder", dict(ROWS)["ContextEncoder"] | {"adversarial_weight": 0})
    assert isinstance(without, ContextEncoder)
    without.schedules = {"discriminator": COSINE}
    with pytest.raises(ValueError, match="ContextEncoder does not train"):
        without._configured()


def test_a_schedule_steps_after_every_batch_of_both_networks_and_is_logged(tmp_path: Path):
    """lightning#3051: a schedule per batch, also of the two networks of a GAN."""
    model = small(schedules={"generator": COSINE, "discriminator": WARM_COSINE}, accumulate=2)
    seen, path = fitted(model, tmp_path, 6, epoch=4)
    generator, discriminator = ([row[n] for row in seen.rates] for n in (0, 1))

    def plain(rate: float, make: Any) -> list[float]:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], rate)
        schedule, rates = make(optimizer), []
        for _ in range(6):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return rates

    schedulers = torch.optim.lr_scheduler
    cosine = plain(1e-3, lambda optimizer: schedulers.CosineAnnealingLR(optimizer, 10))
    warm = plain(
        1e-4,
        lambda o: schedulers.SequentialLR(
            o, [schedulers.LinearLR(o, 0.5, total_iters=3), schedulers.CosineAnnealingLR(o, 10)], [3]
        ),
    )
    assert generator == cosine and discriminator == warm and len(set(cosine)) == 6
    logged = model.trainer.callback_metrics
    assert logged["train/generator_learning_rate"].item() == pytest.approx(cosine[-1])
    assert logged["train/discriminator_learning_rate"].item() == pytest.approx(warm[-1])
    assert torch.load(path, weights_only=True)["lr_schedulers"]  # plain values alone


def test_the_papers_own_schedule_gives_way_and_scales_a_stated_rate(tmp_path: Path):
    arguments = dict(STAGES)["ICTTransformer"] | {"warmup_steps": 4}
    half = {"class_path": "StepLR", "init_args": {"step_size": 1, "gamma": 0.5}}
    seen, _ = fitted(make("ICTTransformer", arguments | {"schedules": {"transformer": half}}), tmp_path, 3)
    assert [row[0] for row in seen.rates] == pytest.approx([3e-4, 1.5e-4, 0.75e-4])
    sgd = {"transformer": {"class_path": "SGD", "init_args": {"lr": 0.4}}}
    seen, _ = fitted(make("ICTTransformer", arguments | {"optimizers": sgd}), tmp_path, 3)
    assert [row[0] for row in seen.rates] == pytest.approx([0.1, 0.2, 0.3])


def test_another_learning_rate_on_resume_keeps_the_moments_of_adam(tmp_path: Path):
    """lightning#12118, lightning#4044 and pytorch/examples#816: the saved rate silently wins over the one given."""
    first, path = fitted(small(), tmp_path, 4)
    moments = [digest(state["state"]) for state in torch.load(path, weights_only=True)["optimizer_states"]]
    kept, _ = fitted(small(), tmp_path / "same", 6, str(path))
    changed, after = fitted(small(learning_rate=5e-4), tmp_path / "changed", 6, str(path))
    assert kept.rates == [[1e-3, 1e-4]] * 2 and changed.rates == [[5e-4, 1e-4]] * 2
    assert changed.states == kept.states == moments != first.states
    again, _ = fitted(small(learning_rate=5e-4), tmp_path / "again", 7, str(after))
    assert again.rates == [[5e-4, 1e-4]]


def test_another_schedule_on_resume_is_where_it_would_be_by_now(tmp_path: Path):
    """lightning#20552: a longer decay, without the warm-up once more."""
    longer = WARM_COSINE | {"init_args": WARM_COSINE["init_args"] | {"milestones": [2]}}
    whole, _ = fitted(small(schedules={"generator": longer}), tmp_path, 6)
    _, short = fitted(small(schedules={"generator": COSINE}), tmp_path, 4)
    changed, _ = fitted(small(schedules={"generator": longer}), tmp_path, 6, str(short))
    assert changed.rates == whole.rates[4:]
    removed, without = fitted(small(), tmp_path, 5, str(short))
    assert removed.rates == [[1e-3, 1e-4]]
    added, _ = fitted(small(schedules={"generator": longer}), tmp_path, 6, str(without))
    assert added.rates == whole.rates[5:]


def test_schedules_of_torch_resume_from_plain_values(tmp_path: Path):
    for name, arguments in {
        "MultiStepLR": {"milestones": [2, 4]}, "OneCycleLR": {"max_lr": 0.01, "total_steps": 8},
        "CosineAnnealingWarmRestarts": {"T_0": 3}, "CyclicLR": {"base_lr": 1e-3, "max_lr": 1e-2},
    }.items():  # fmt: skip
        schedules = {"generator": {"class_path": name, "init_args": arguments}}
        row = dict(ROWS)["PartialConv"] | {"schedules": schedules}
        whole, end = fitted(make("PartialConv", row), tmp_path, 6)
        _, path = fitted(make("PartialConv", row), tmp_path, 4)
        rest, also = fitted(make("PartialConv", row), tmp_path / "rest", 6, str(path))
        assert rest.rates == whole.rates[4:] and len(set(map(tuple, whole.rates))) > 1, name
        states = [torch.load(each, weights_only=True)["state_dict"] for each in (end, also)]
        assert digest(states[0]) == digest(states[1]), name


def test_weights_do_not_depend_on_how_they_were_learnt():
    plain = {"optimizers": {}, "schedules": {"generator": COSINE}}
    assert not {"optimizers", "schedules"} & set(AOTGAN.function_arguments(plain))
    assert PartialConv.function_arguments(plain) == {}
