"""Try the commands of a sweep's trials before the first one trains: their settings, and the metric that they log."""

import contextlib
import io
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments import cli
from experiments.sweep.laws import Drawn, Law, distinct, draw, text
from experiments.sweep.space import DECIDE, Sweep, combinations

MOST = 8  # values of a parameter that are tried
_FIT = ["-m", "experiments", "fit"]  # as words.py starts it


def check_trials(sweep: Sweep) -> None:
    """Parse what `lit-inpaint fit` would be given, with each value of each parameter at least once for each method.

    Raises:
        ValueError: A method has no such argument, a value is not allowed, or the metric is not logged or better at
            the other end.
    """
    with tempfile.TemporaryDirectory() as folder:  # a command may ask for a file of its arguments
        _check_in(Path(folder), sweep)


def _check_in(folder: Path, sweep: Sweep) -> None:
    command = sweep.arguments({}, folder)
    if not any(command[i : i + 3] == _FIT for i in range(len(command))):
        return  # a program of the user's

    for drawn in examples(sweep):
        words = sweep.arguments(drawn, folder)
        said = ", ".join(f"{name}={text(value)}" for name, value in drawn.items())
        try:
            config = parsed(words[words.index("fit") :])
        except ValueError as error:
            raise ValueError(f"no trial can train with {said}: {error}") from error
        check_goal(sweep, config)


def examples(sweep: Sweep) -> Iterator[Drawn]:
    """For each method, as many draws as a parameter has values (of more than MOST, some), of a range its ends."""
    deciding = {name: law for name, law in sweep.common.items() if name in DECIDE and "min" not in law}
    for method in combinations(deciding):
        laws = {name: law for name, law in (sweep.common | sweep.own(method)).items() if name not in method}
        values = max((len(distinct(law)) if "values" in law else 2 for law in laws.values()), default=1)
        for number in range(0, values, max(1, values // MOST)):
            yield method | draw(_At(number), {name: _each(law) for name, law in laws.items()})  # type: ignore[arg-type]


def _each(law: Law) -> Law:
    return law | {"distribution": "categorical"} if "probabilities" in law else law


@dataclass
class _At:
    """Stands for a trial of Optuna's that draws the value of this number, or an end of a range."""

    number: int

    def suggest_categorical(self, name: str, choices: list[str]) -> str:
        return choices[self.number % len(choices)]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return high if self.number % 2 else low

    def suggest_float(self, name: str, low: float, high: float, log: bool = False) -> float:
        return high if self.number % 2 else low


def parsed(words: list[str]) -> dict[str, Any]:
    """The configuration of a command line, which begins with ``fit``.

    Raises:
        ValueError: With what `lit-inpaint` says of it.
    """
    printed, said = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of jsonargparse, about what it prints
            cli.main([*words, "--print_config"])
    except SystemExit as end:
        if end.code:
            raise ValueError(said.getvalue().strip().rpartition("lit-inpaint: ")[2]) from None
    found: dict[str, Any] = yaml.safe_load(printed.getvalue())
    return found


def check_goal(sweep: Sweep, config: dict[str, Any]) -> None:
    """
    Raises:
        ValueError: A trial with this configuration does not log the metric, or the goal is its worse end.
    """
    from lit_inpaint import plugins, renamed
    from lit_inpaint.logged import never_logged, worse_end

    cls = plugins.find(config["model"]["class_path"])
    key = renamed.logged(sweep.metric, cls.__name__)
    if said := never_logged(key, cls, config.get("val_metrics") or ()):
        raise ValueError(f"the sweep's metric is {sweep.metric!r}, which {said}")
    if worse_end(key, sweep.maximize):
        end, better = ("lower", "minimize") if sweep.maximize else ("higher", "maximize")
        raise ValueError(f"the sweep's metric is {sweep.metric}, of which {end} is better: set its goal to {better}.")
