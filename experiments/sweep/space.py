"""A sweep's file: W&B's schema (docs.wandb.ai/guides/sweeps/sweep-config-keys), checked."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.files.chosen import ONLY, chosen
from experiments.files.read import read_yaml, said_by
from experiments.files.variables import expanded
from experiments.sweep.laws import Drawn, Law, check_keys, distinct, number, read_law, whole_number
from experiments.sweep.words import fill, read_command
from masks.nearest import nearest

KEYS = {"method", "metric", "parameters", "command", "program", "early_terminate", "run_cap"}
DECIDE = ("config", "model", "model.class_path")  # parameters from which a trial has its method
_OF_WANDB = {  # read by W&B alone
    "name", "description", "project", "entity", "apiVersion", "kind", "controller", "job", "image_uri", "scheduler",
}  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    """One file, checked. The name of a nested parameter is its keys with dots between them; below ``only`` and the name
    of a method are the parameters of trials of this method alone."""

    name: str
    method: str
    metric: str
    maximize: bool
    parameters: dict[str, Law]
    command: list[str]
    nested: dict[str, list[str]] = field(default_factory=dict)  # name: its keys
    target: float | None = None
    run_cap: int | None = None
    early_terminate: dict[str, int] = field(default_factory=dict)

    @property
    def common(self) -> dict[str, Law]:
        """The parameters of every trial."""
        return {name: law for name, law in self.parameters.items() if self.method_for(name) is None}

    def own(self, drawn: Drawn) -> dict[str, Law]:
        """The parameters of the method that a trial has drawn, beside those of every trial."""
        method = chosen(drawn.get("model"), drawn.get("model.class_path"), filter(None, [drawn.get("config")]))
        return {name: law for name, law in self.parameters.items() if method and self.method_for(name) == method}

    def method_for(self, name: str) -> str | None:
        """The method whose trials alone have this parameter; None for a parameter of every trial."""
        keys = self.nested.get(name, [])
        return keys[1].rpartition(".")[2] if keys and keys[0] == ONLY else None

    def identity(self) -> str:
        """Trials of one folder or database share it; the budget may change from call to call."""
        said: list[object] = [self.method, self.metric, self.maximize, self.parameters, self.command]
        return json.dumps([*said, self.nested] if self.nested else said, sort_keys=True)

    def grid(self) -> Iterator[Drawn]:
        """Every combination of values once, in the order of the file, the last parameter changing fastest."""
        for point in combinations(self.common):
            for own in combinations(self.own(point)):
                yield point | own

    def points(self) -> int:
        """Length of the grid, without walking it."""
        methods = {name: law for name, law in self.common.items() if name in DECIDE}
        rest = math.prod(len(distinct(law)) for name, law in self.common.items() if name not in DECIDE)
        return rest * sum(
            math.prod(len(distinct(law)) for law in self.own(point).values()) for point in combinations(methods)
        )

    def budget(self, trials: int | None) -> int:
        """Total number of trials: from the command line, else run_cap, else the whole grid.

        Raises:
            ValueError: There is no limit, or it is below one.
        """
        if trials is not None and trials < 1:
            raise ValueError(
                f"--trials is {trials}; expected 1 or more. --workers 0 writes the page and trains nothing."
            )
        wanted = trials or self.run_cap
        if self.method == "grid":
            points = self.points()
            return min(wanted or points, points)
        if not wanted:
            raise ValueError(f"{self.name}: method {self.method} never ends by itself; set run_cap or --trials.")
        return wanted

    def arguments(self, drawn: Drawn, folder: Path) -> list[str]:
        """The command of one trial."""
        passed: Drawn = {}
        for name, value in drawn.items():
            *above, last = self.nested.get(name, [name])
            inner = passed
            for key in above:
                inner = inner.setdefault(key, {})
            inner[last] = value
        return fill(self.command, passed, folder)


def combinations(parameters: Mapping[str, Law]) -> Iterator[Drawn]:
    """Every combination of their values.

    >>> list(combinations({"a": {"value": 1}, "b": {"values": [2, 3]}}))
    [{'a': 1, 'b': 2}, {'a': 1, 'b': 3}]
    """
    for point in itertools.product(*map(distinct, parameters.values())):
        yield dict(zip(parameters, point, strict=True))


def read_sweep(path: Path) -> Sweep:
    """Read and check a sweep's file.

    Raises:
        ValueError: Naming the key that is wrong and what is allowed.
    """
    with said_by(path):
        return _sweep(path, {k: v if k == "command" else expanded(v, path) for k, v in read_yaml(path).items()})


def _sweep(path: Path, content: dict[str, Any]) -> Sweep:
    check_keys(content, KEYS | _OF_WANDB, path.name)
    method = content.get("method")
    if method not in {"grid", "random", "bayes"}:
        raise ValueError(f"{path.name}: method is {method!r}; expected grid, random or bayes.")
    metric = content.get("metric") or {}
    check_keys(metric, {"name", "goal", "target", "impute", "impute_while_running"}, f"{path.name}, metric")
    if not metric.get("name") or metric.get("goal", "minimize") not in {"minimize", "maximize"}:
        raise ValueError(f"{path.name}: metric needs a name such as val/psnr_hole and goal minimize or maximize.")
    target, run_cap = metric.get("target"), content.get("run_cap")
    given = list(_flat(content.get("parameters") or {}))
    parameters = {".".join(keys): read_law(".".join(keys), spec, method) for keys, spec in given}
    if not parameters:
        raise ValueError(f"{path.name}: parameters is empty; name what the sweep varies.")
    if len(parameters) < len(given):
        raise ValueError(f"{path.name}: a parameter is given twice, nested and dotted.")
    sweep = Sweep(
        name=path.stem,
        method=method,
        metric=metric["name"],
        maximize=metric.get("goal") == "maximize",
        target=None if target is None else number(target, "metric, target"),
        parameters=parameters,
        nested={".".join(keys): list(keys) for keys, _ in given if len(keys) > 1},
        command=read_command(content.get("command"), content.get("program")),
        run_cap=None if run_cap is None else whole_number(run_cap, "run_cap", 1),
        early_terminate=_hyperband(content.get("early_terminate") or {}),
    )
    _check_methods(sweep)
    return sweep


def _check_methods(sweep: Sweep) -> None:
    """Whether each method that has parameters of its own is one that trials train, and how fit gets them."""
    own = [name for name in sweep.parameters if name == ONLY or name.startswith(f"{ONLY}.")]
    methods = {name: law for name, law in sweep.common.items() if name in DECIDE}
    if own and not methods:
        raise ValueError(f"parameter {own[0]}: which method a trial trains must be drawn as well, as model or config.")
    trained = (
        [
            chosen(p.get("model"), p.get("model.class_path"), filter(None, [p.get("config")]))
            for p in combinations(methods)
        ]
        if own
        else []
    )
    for name in own:
        keys = sweep.nested.get(name, [])
        if len(keys) < 3:
            raise ValueError(f"parameter {name}: expected {ONLY}, the name of a method, and an option of fit, nested.")
        method, option = sweep.method_for(name), ".".join(keys[2:])
        if method not in trained:
            known = sorted(filter(None, trained))
            raise ValueError(f"parameter {name}: no trial trains {keys[1]}. {nearest(keys[1], known)}")
        if option in sweep.common:
            raise ValueError(f"parameter {option} is given for all trials and for those of {method} alone.")
    if own and any(word in ("${args_json}", "${args_json_file}") for word in sweep.command):
        raise ValueError(f'parameter {own[0]}: put "${{args}}" into the command; a JSON configuration has no {ONLY}.')


def _flat(parameters: Mapping[str, object], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """The keys and the law of each parameter, nested ones included."""
    for name, spec in parameters.items():
        keys = (*above, str(name))
        if isinstance(spec, dict) and isinstance(spec.get("parameters"), dict):
            check_keys(spec, {"parameters"}, f"parameter {'.'.join(keys)}")
            yield from _flat(spec["parameters"], keys)
        else:
            yield keys, spec


def _hyperband(given: Mapping[str, object]) -> dict[str, int]:
    """W&B's early_terminate as the first rung and the factor between rungs, in validations."""
    if not given:
        return {}
    check_keys(given, {"type", "min_iter", "max_iter", "s", "eta", "strict"}, "early_terminate")
    eta = int(number(given.get("eta", 3), "early_terminate, eta"))
    if given.get("type") != "hyperband" or eta < 2:
        raise ValueError(f"early_terminate: expected type hyperband and an eta of 2 or more, given {given}.")
    if "min_iter" in given:
        first = whole_number(given["min_iter"], "early_terminate, min_iter", 1)
    elif {"max_iter", "s"} <= set(given):
        last = whole_number(given["max_iter"], "early_terminate, max_iter", 1)
        first = max(1, round(last / eta ** number(given["s"], "early_terminate, s")))
    else:
        raise ValueError("early_terminate: give min_iter, or max_iter and s.")
    return {"min_resource": first, "reduction_factor": eta}
