"""A sweep's file: W&B's schema (docs.wandb.ai/guides/sweeps/sweep-config-keys), checked."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.files.read import read_yaml, said_by
from experiments.files.variables import expanded
from experiments.sweep.laws import Drawn, Law, check_keys, distinct, number, read_law, whole_number
from experiments.sweep.words import fill, read_command

KEYS = {"method", "metric", "parameters", "command", "program", "early_terminate", "run_cap"}
_OF_WANDB = {  # read by W&B alone
    "name", "description", "project", "entity", "apiVersion", "kind", "controller", "job", "image_uri", "scheduler",
}  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    """One file, checked. The name of a nested parameter is its keys with dots between them."""

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

    def identity(self) -> str:
        """Trials of one folder or database share it; the budget may change from call to call."""
        said: list[object] = [self.method, self.metric, self.maximize, self.parameters, self.command]
        return json.dumps([*said, self.nested] if self.nested else said, sort_keys=True)

    def grid(self) -> Iterator[Drawn]:
        """Every combination of values once, in the order of the file, the last parameter changing fastest."""
        for point in itertools.product(*map(distinct, self.parameters.values())):
            yield dict(zip(self.parameters, point, strict=True))

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
            points = math.prod(len(distinct(spec)) for spec in self.parameters.values())
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
    return Sweep(
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
