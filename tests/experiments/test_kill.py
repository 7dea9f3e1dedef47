"""kill -9 and resume: weights, EMA, optimisers, samples and curves equal those of an uninterrupted run."""

from pathlib import Path
from typing import Any

import pytest

from lit_inpaint import methods
from tests.support import killing
from tests.support.contract import ROWS, STAGES
from tests.support.killing import Kill
from tests.support.runs import model

TRAINED = [name for name, _ in ROWS if getattr(methods, name).trainable] + [
    name
    for name, _ in STAGES
    if name not in ("DSIStructure", "DSITexture")  # need a trained VQ-VAE
]


def check(
    tmp_path: Path, config: dict[str, Any], kills: list[Kill], ranks: int = 1, steps: int = killing.STEPS
) -> None:
    assert killing.run(tmp_path / "whole", config, ranks=ranks) == [0] * ranks
    assert sorted(killing.samples(tmp_path / "whole", ranks)) == list(range(1, steps + 1))
    for number, kill in enumerate(kills):
        killing.killed_and_resumed(tmp_path / f"{number}", config, kill, ranks)
        assert killing.differences(tmp_path / f"{number}", tmp_path / "whole", ranks) == [], kill


def test_a_run_killed_before_its_validation_goes_on_without_a_trace(tmp_path: Path):
    # After the second last.ckpt: the values of step 6 are not logged yet, and its validation is due.
    check(tmp_path, killing.settings(model("DeepFillV2")), [Kill("after a write", 4)])


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_every_method_goes_on_from_three_kills(name: str, tmp_path: Path):
    kills = [Kill("between updates", 5), Kill("in a write", 4, 0.6), Kill("last batch", 8)]
    check(tmp_path, killing.settings(model(name)), kills)


@pytest.mark.slow
def test_what_the_last_step_had_still_to_do_is_made_up_when_nothing_is_left_to_train(tmp_path: Path):
    settings = killing.settings(model("DeepFillV2"), steps=9)  # step 9 is validated
    kills = [Kill("after a write", 6), Kill("in validation", 9)]  # the sixth file is the last one
    check(tmp_path, settings, kills, steps=9)


@pytest.mark.slow
@pytest.mark.xdist_group("ddp")
@pytest.mark.parametrize(("workers", "ranks"), [(2, 1), (4, 1), (0, 2)])
def test_workers_and_ranks_leave_no_trace_either(workers: int, ranks: int, tmp_path: Path):
    kills = [Kill("in a step", 5, 0.7), Kill("in validation", 6)]
    check(tmp_path, killing.settings(model("PartialConv"), workers, ranks), kills, ranks)


@pytest.mark.slow
def test_gradients_that_wait_for_their_step_survive(tmp_path: Path):
    settings = killing.settings(model("DeepFillV2"))
    settings["model"]["init_args"]["accumulate"] = 2
    check(tmp_path, settings, [Kill("between steps", 5)])  # step 3 was saved between two updates
