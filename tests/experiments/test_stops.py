"""A run stopped by signals wherever they fall, also again before the first stop is made up for, leaves no trace."""

import functools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lit_inpaint import methods
from tests.support import processes, stops
from tests.support.runs import METHODS, model
from tests.support.stops import Fit, TwoNetworks

ACCUMULATED = functools.partial(TwoNetworks, 2)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit_inpaint.callbacks.restart.say", lambda text: None)


SOON = {
    # Lightning does not count the epoch that begins after a resume from the last batch of another.
    "batches": (Fit(epoch=2, steps=3, validate=9), {2: "after step 2", 1: "after step 3"}),
    "validation": (Fit(epoch=2, steps=4, validate=3), {2: "after step 2", 3: "in a validation after step 3"}),
    # And in the validation after that batch it would stay in that epoch for ever.
    "epoch end": (Fit(epoch=2, steps=3, validate=2), {3: "in a validation after step 2"}),
    "made up": (Fit(epoch=2, steps=3, validate=2), {2: "after step 2", 1: "in a validation after step 2"}),
    # Saved between two batches of an update, and once more before its gradients were given back.
    "accumulated": (
        Fit(ACCUMULATED, epoch=3, steps=2, validate=1), {1: "after step 1", 2: "in a validation after step 1"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SOON)
def test_a_run_stopped_again_soon_after_its_resume_leaves_no_trace(what: str, tmp_path: Path):
    fit, places = SOON[what]
    assert fit.run(tmp_path / "whole") == 0
    assert fit.stopped(tmp_path / "stopped", *places) == [*places.values()]
    assert stops.differing(tmp_path / "stopped", stops.result(tmp_path / "whole")) == []


@pytest.mark.slow
@pytest.mark.xdist_group("ddp")
def test_two_ranks_of_which_one_is_stopped_again_soon_after_its_resume_leave_no_trace(tmp_path: Path):
    fits = {what: (replace(fit, ranks=2), places) for what, (fit, places) in SOON.items()}
    port = processes.free_port()
    ranks = [
        processes.start(
            stops.stop_rank, fits, folder=tmp_path, log=f"{rank}.txt", env=processes.rank_env(rank, 2, port)
        )
        for rank in range(2)
    ]  # fmt: skip
    for process in ranks:
        process.join(240)
        for other in ranks if process.exitcode else []:
            other.kill()  # it waits for this one
    assert [process.exitcode for process in ranks] == [0, 0], (tmp_path / "0.txt").read_text()[-3000:]
    for what in SOON:
        assert stops.differing(tmp_path / what / "stopped", stops.result(tmp_path / what / "whole")) == [], what


def real(name: str) -> Any:
    spec = model(name)
    return getattr(methods, name)(**spec["init_args"])


SWEPT = {
    "validations inside an epoch and across its end": Fit(epoch=2, steps=5, validate=3, save=100),
    "a validation at every epoch's end": Fit(epoch=2, steps=5, validate=2, save=1),
    "epochs of one batch": Fit(epoch=1, steps=4, validate=1, save=2),
    "accumulated": Fit(ACCUMULATED, epoch=3, steps=5, validate=2, save=3),
    **{name: Fit(functools.partial(real, name), epoch=2, steps=3, validate=2, save=9, size=64) for name in METHODS},
}


@pytest.mark.slow
@pytest.mark.timeout(1200)  # hundreds of short runs: 20 to 90 s of a core
@pytest.mark.parametrize("what", SWEPT)
def test_a_run_stopped_at_any_two_of_its_checks_for_a_signal_leaves_no_trace(what: str, tmp_path: Path):
    """A signal acts where the run next looks for one, so these are all the moments that differ."""
    fit, tried = SWEPT[what], 0
    with stops.checks() as passed:
        assert fit.run(tmp_path / "whole") == 0
    whole = stops.result(tmp_path / "whole")
    for first in range(1, len(passed) + 1):
        for second in range(1, len(passed) - first + 3):  # the validation that is made up comes on top
            where = fit.stopped(tmp_path / "stopped", first, second)
            assert stops.differing(tmp_path / "stopped", whole) == [], where
            shutil.rmtree(tmp_path / "stopped")
            tried += 1
    assert tried > 10


@pytest.mark.slow
@pytest.mark.parametrize("fit", [SWEPT["accumulated"], Fit(epoch=2, steps=6, validate=3, save=2)])
def test_a_run_killed_after_any_of_its_writes_leaves_no_trace_nor_if_it_had_been_resumed(fit: Fit, tmp_path: Path):
    whole = tmp_path / "whole"
    with stops.snapshots(whole, tmp_path / "first") as taken:
        assert fit.run(whole) == 0
    left = [*taken]
    for number, folder in enumerate(taken):
        with stops.snapshots(folder, tmp_path / f"second-{number}") as again:
            assert fit.run(folder) == 0
        left += [folder, *again]
    for folder in left:
        assert fit.run(folder) == 0
        assert stops.differing(folder, stops.result(whole)) == [], folder
    assert len(left) > 20
