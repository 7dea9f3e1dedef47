"""Assign trials to workers: the budget is met exactly for any number of workers and any failures.

Every worker sees the same trials, numbered by the storage. A trial counts unless it is *lost*: its worker died or was
stopped, so its slot in the budget is free again. A new trial may run if fewer than ``budget`` trials of a lower
number count; that needs no lock, because numbers are given in order and a trial is signed in the write that makes it.
"""

import hashlib
import itertools
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from experiments.run.processes import born, machine
from experiments.sweep.laws import Drawn, choices, draw, text
from experiments.sweep.space import Sweep
from experiments.sweep.storage import DAMAGED, open_storage

BEAT = 15.0  # seconds between heartbeats
SILENCE = 180.0  # seconds after which a worker on another machine counts as dead
_WAIT = 0.2


class Ledger:
    def __init__(self, sweep: Sweep, place: str, budget: int, seed: int | None = None, out: Path | None = None) -> None:
        """``seed``: seed of the trials' draws, stored with the trials (default: from the file's name and content).
        ``out``: folder of the trials, refused before anything is written if those there are another sweep's."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.sweep, self.budget = sweep, budget
        there = out is not None and any((out / "trials").glob("[0-9]*"))  # looked at first: a trial is signed before it
        self.storage = open_storage(place, sweep.name, sweep.maximize)
        studies = optuna.get_all_study_summaries(self.storage, include_best_trial=False)
        if there and not any(study.n_trials for study in studies if study.study_name == sweep.name):
            raise ValueError(
                f"{out}/trials holds trials that are not of {sweep.name} in {place}. Give another --out, or the file "
                "and --storage that they were run with."
            )
        self.study = optuna.create_study(
            study_name=sweep.name,
            storage=self.storage,
            direction="maximize" if sweep.maximize else "minimize",
            pruner=_Halving(**sweep.early_terminate) if sweep.early_terminate else optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
        known = self.study.user_attrs.get("sweep")
        if known is None:
            self.study.set_user_attr("sweep", sweep.identity())
        elif known != sweep.identity():
            raise ValueError(
                f"{place} holds trials of another search space under the name {sweep.name}. Rename the file, and "
                "give another --out."
            )
        kept = self.study.user_attrs.get("seed")
        if kept is None:
            digest = hashlib.sha256(f"{sweep.name} {sweep.identity()}".encode()).digest()
            self.study.set_user_attr("seed", int.from_bytes(digest[:4], "big") if seed is None else seed)
        elif seed not in (None, kept):
            raise ValueError(
                f"{place} holds trials drawn with --seed {kept}, given {seed}. Leave it out to resume, or give another "
                "--out."
            )

    def trials(self) -> list[FrozenTrial]:
        """All, lost ones included, by number."""
        return sorted(self.study.get_trials(deepcopy=False), key=lambda trial: trial.number)

    def held(self) -> list[FrozenTrial]:
        """The trials that count: running, or finished regularly."""
        return [trial for trial in self.trials() if not lost(trial)]

    def best(self) -> FrozenTrial | None:
        complete = [t for t in self.held() if t.state == TrialState.COMPLETE]
        return (max if self.sweep.maximize else min)(complete, key=lambda t: t.value or 0.0) if complete else None

    def spent(self) -> bool:
        """Whether no trial is left to run: the budget is met, or the target."""
        held = self.held()
        return self._enough(held) and all(trial.state.is_finished() for trial in held)

    def _enough(self, held: list[FrozenTrial]) -> bool:
        best, target = self.best(), self.sweep.target
        reached = target is not None and best is not None and best.value is not None
        if reached and (best.value >= target if self.sweep.maximize else best.value <= target):  # type: ignore[union-attr,operator]
            return True
        return len(held) >= self.budget

    # ---- one trial -------------------------------------------------------------------------------------------------

    def claim(self) -> tuple[optuna.Trial, Drawn] | None:
        """The next trial and its parameters; None when the budget is met. Waits while others may still lose theirs."""
        while True:
            self.reclaim_from_dead_workers()
            held = self.held()
            if not self._enough(held):
                trial = self._sign()
                if sum(other.number < trial.number for other in self.held()) < self.budget:
                    drawn = self._point(trial) if self.sweep.method == "grid" else self._drawn(trial)
                    trial.set_user_attr("drawn", drawn)
                    return trial, drawn
                self.lose(trial.number, "one more than the budget")
            elif all(trial.state.is_finished() for trial in held):
                return None
            time.sleep(_WAIT)

    def _sign(self) -> optuna.Trial:
        """A running trial, signed by its worker from the first write on."""
        signature = {"machine": machine(), "pid": os.getpid(), "born": born(os.getpid()), "beat": time.time()}
        template = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs=signature)
        study = self.storage.get_study_id_from_name(self.study.study_name)
        return optuna.Trial(self.study, self.storage.create_new_trial(study, template_trial=template))

    def _drawn(self, trial: optuna.Trial) -> Drawn:
        # Each slot in the budget has its own seed: a lost trial is redrawn identically, by TPE too where it has learnt
        # from the same trials.
        taken = {other.user_attrs.get("place", other.number) for other in self._below(trial)}
        place = next(place for place in itertools.count() if place not in taken)
        trial.set_user_attr("place", place)
        seed = self._seed(place)
        if self.sweep.method == "random":
            self.study.sampler = optuna.samplers.RandomSampler(seed=seed)
        else:
            self.study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        drawn = draw(trial, self.sweep.common)
        return drawn | draw(trial, self.sweep.own(drawn))

    def _seed(self, place: int) -> int:
        return int(np.random.SeedSequence([self.study.user_attrs["seed"], place]).generate_state(1)[0])

    def _below(self, trial: optuna.Trial) -> list[FrozenTrial]:
        """The counting trials with a lower number, once all of them have their parameters."""
        while True:
            below = [other for other in self.held() if other.number < trial.number]
            if all("drawn" in other.user_attrs for other in below):
                return below
            self.reclaim_from_dead_workers()
            time.sleep(_WAIT)

    def _point(self, trial: optuna.Trial) -> Drawn:
        """The first grid point not taken by a trial with a lower number."""
        taken = {json.dumps(other.user_attrs["drawn"], sort_keys=True) for other in self._below(trial)}
        point = next(p for p in self.sweep.grid() if json.dumps(p, sort_keys=True) not in taken)
        for name, spec in self.sweep.parameters.items():  # recorded as if drawn, for the importance of each
            if "values" in spec and name in point:
                law = optuna.distributions.CategoricalDistribution(choices(spec["values"]))
                self.storage.set_trial_param(self._id(trial.number), name, law.to_internal_repr(text(point[name])), law)
        return point

    def finish(self, number: int, state: TrialState, value: float | None = None, **facts: object) -> bool:
        """Record the end of a trial; False if it was declared lost meanwhile."""
        try:
            for key, fact in facts.items():
                self.storage.set_trial_user_attr(self._id(number), key, fact)
            return bool(
                self.storage.set_trial_state_values(self._id(number), state, None if value is None else [value])
            )
        except RuntimeError:  # of Optuna: the trial is finished
            return False

    def _id(self, number: int) -> int:
        study = self.storage.get_study_id_from_name(self.study.study_name)
        return int(self.storage.get_trial_id_from_study_id_trial_number(study, number))

    def lose(self, number: int, why: str) -> bool:
        """Fail a trial that its worker cannot finish; its slot in the budget is free again."""
        return self.finish(number, TrialState.FAIL, lost=why)

    def beat(self, trial: optuna.Trial) -> bool:
        """Send a heartbeat; False if the trial no longer belongs to this worker."""
        try:
            trial.set_user_attr("beat", time.time())
            return True
        except RuntimeError:
            return False

    def reclaim_from_dead_workers(self) -> None:
        """Declare trials of dead workers lost, and end their remaining processes on this machine."""
        for trial in self.trials():
            signed = trial.user_attrs
            if trial.state.is_finished():
                continue
            if "pid" not in signed:  # a trial and its worker are entered in one line
                self.lose(trial.number, DAMAGED)
                continue
            here = signed["machine"] == machine()
            if born(signed["pid"]) != signed["born"] if here else time.time() - signed["beat"] > SILENCE:
                group = signed.get("group")
                if here and group and born(group[0]) == group[1]:
                    os.killpg(group[0], signal.SIGKILL)
                self.lose(trial.number, f"its worker {signed['pid']} on {signed['machine'].split('/')[0]} died")


class _Halving(optuna.pruners.SuccessiveHalvingPruner):
    """Asynchronous successive halving among the trials that count: the successor of a lost one has its rungs too."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return super().prune(_Counted(study), trial)  # type: ignore[arg-type]


class _Counted:
    """A study as pruners see it, without its lost trials."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> object:
        return getattr(self._study, name)

    def get_trials(self, deepcopy: bool = True) -> list[FrozenTrial]:
        return [trial for trial in self._study.get_trials(deepcopy=deepcopy) if not lost(trial)]


def lost(trial: FrozenTrial) -> bool:
    """Lost, or finished without its parameters because the journal was damaged."""
    failed = trial.state == TrialState.FAIL and "lost" in trial.user_attrs
    return failed or (trial.state.is_finished() and "drawn" not in trial.user_attrs)


def why_lost(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get("lost", DAMAGED))
