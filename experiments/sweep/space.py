"""A sweep's file: W&B's schema (docs.wandb.ai/guides/sweeps/sweep-config-keys), and what a trial draws from it."""

import itertools
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from experiments.text_files import read_yaml, said_by

LAWS = {  # distribution: (keys that it must have, keys that it may have)
    "constant": ({"value"}, set()),
    "categorical": ({"values"}, set()),
    "categorical_w_probabilities": ({"values", "probabilities"}, set()),
    "int_uniform": ({"min", "max"}, set()),
    "uniform": ({"min", "max"}, set()),
    "q_uniform": ({"min", "max"}, {"q"}),
    "log_uniform": ({"min", "max"}, set()),
    "log_uniform_values": ({"min", "max"}, set()),
    "q_log_uniform": ({"min", "max"}, {"q"}),
    "q_log_uniform_values": ({"min", "max"}, {"q"}),
    "inv_log_uniform": ({"min", "max"}, set()),
    "inv_log_uniform_values": ({"min", "max"}, set()),
    "normal": (set(), {"mu", "sigma"}),
    "q_normal": (set(), {"mu", "sigma", "q"}),
    "log_normal": (set(), {"mu", "sigma"}),
    "q_log_normal": (set(), {"mu", "sigma", "q"}),
    "beta": (set(), {"a", "b"}),
    "q_beta": (set(), {"a", "b", "q"}),
}
KEYS = {"method", "metric", "parameters", "command", "early_terminate", "run_cap"}
OF_WANDB = {"name", "description", "project", "entity", "program"}  # read by W&B alone
ENVIRONMENT = re.compile(r"\$\{envvar:([A-Za-z0-9_]+)\}")
TINY = 1e-6  # from 0 and 1: where the tails of a normal law are cut


@dataclass(frozen=True)
class Sweep:
    """One file, checked."""

    name: str
    method: str
    metric: str
    maximize: bool
    parameters: dict[str, dict[str, Any]]  # of each: its distribution and the distribution's keys
    command: list[str]
    target: float | None = None
    run_cap: int | None = None
    early_terminate: dict[str, Any] = field(default_factory=dict)

    def identity(self) -> str:
        """Trials of one folder or database share it; the budget may change from call to call."""
        return json.dumps([self.method, self.metric, self.maximize, self.parameters, self.command], sort_keys=True)

    def grid(self) -> list[dict[str, Any]]:
        """Every combination of values, in the order of the file, the last parameter changing fastest."""
        values = [spec.get("values", [spec.get("value")]) for spec in self.parameters.values()]
        return [dict(zip(self.parameters, point, strict=True)) for point in itertools.product(*values)]

    def budget(self, trials: int | None) -> int:
        """Trials in all: as the command line says, else run_cap, else the whole grid.

        Raises:
            ValueError: Nothing says when to stop.
        """
        wanted = trials or self.run_cap
        if self.method == "grid":
            return min(wanted or math.inf, len(self.grid()))  # type: ignore[return-value]
        if not wanted:
            raise ValueError(f"{self.name}: method {self.method} never ends by itself; set run_cap or --trials.")
        return wanted

    def arguments(self, drawn: Mapping[str, Any], folder: Path) -> list[str]:
        """The command of one trial: W&B's macros filled in, and its own folder."""
        words: list[str] = []
        for word in self.command:
            if word == "${args}":
                words += [f"--{name}={text(value)}" for name, value in drawn.items()]
            elif word == "${args_no_equals}":
                words += [part for name, value in drawn.items() for part in (f"--{name}", text(value))]
            elif word == "${interpreter}":
                words.append(sys.executable)
            elif word != "${env}":
                words.append(ENVIRONMENT.sub(_variable, word))
        if words[0] == "lit-inpaint":  # this installation's, whatever PATH says
            words[:1] = [sys.executable, "-m", "experiments"]
        return [*words, f"--trainer.default_root_dir={folder}"]


def _variable(match: re.Match[str]) -> str:
    if match[1] not in os.environ:
        raise ValueError(f"the sweep's command names the environment variable {match[1]}, which is not set.")
    return os.environ[match[1]]


def text(value: Any) -> str:
    """A value as one reads it on the command line.

    >>> text(None), text(True), text(1e-4), text({"class_path": "LaMaThick"})
    ('null', 'true', '0.0001', '{"class_path": "LaMaThick"}')
    """
    return value if isinstance(value, str) else json.dumps(value)


def choices(values: Sequence[Any]) -> list[str]:
    """Values as Optuna keeps them, which takes plain ones only; a value given twice is one choice."""
    return list(dict.fromkeys(map(text, values)))


def read_sweep(path: Path) -> Sweep:
    """Read and check a sweep's file.

    Raises:
        ValueError: Naming the key that is wrong and what is allowed.
    """
    with said_by(path):
        return _sweep(path, read_yaml(path))


def _sweep(path: Path, content: dict[str, Any]) -> Sweep:
    _only(content, KEYS | OF_WANDB, path.name)
    method = content.get("method")
    if method not in {"grid", "random", "bayes"}:
        raise ValueError(f"{path.name}: method is {method!r}; expected grid, random or bayes.")
    metric = content.get("metric") or {}
    _only(metric, {"name", "goal", "target"}, f"{path.name}, metric")
    if not metric.get("name") or metric.get("goal", "minimize") not in {"minimize", "maximize"}:
        raise ValueError(f"{path.name}: metric needs a name such as val/psnr_hole and goal minimize or maximize.")
    command = [str(word) for word in content.get("command") or ()]
    if not command or not {"${args}", "${args_no_equals}"} & set(command):
        raise ValueError(
            f'{path.name}: command must hold "${{args}}", as in [lit-inpaint, fit, --config, quickstart, "${{args}}"].'
        )
    parameters = {name: _law(name, spec, method) for name, spec in (content.get("parameters") or {}).items()}
    if not parameters:
        raise ValueError(f"{path.name}: parameters is empty; name what the sweep varies.")
    return Sweep(
        name=path.stem,
        method=method,
        metric=metric["name"],
        maximize=metric.get("goal") == "maximize",
        target=metric.get("target"),
        parameters=parameters,
        command=command,
        run_cap=content.get("run_cap"),
        early_terminate=_hyperband(content.get("early_terminate") or {}),
    )


def _only(given: Mapping[str, Any], allowed: set[str], where: str) -> None:
    for key in given:
        if key not in allowed:
            near = get_close_matches(str(key), allowed, 1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(sorted(allowed))}."
            raise ValueError(f"{where}: there is no key {key!r} here. {hint}")


def _law(name: str, spec: Any, method: str) -> dict[str, Any]:
    """The distribution of one parameter written out; which it is follows from the keys where W&B says so."""
    if not isinstance(spec, dict) or "parameters" in spec:
        raise ValueError(
            f"parameter {name}: expected value, values or min and max; nested parameters are written with dots."
        )
    if "values" in spec and not (isinstance(spec["values"], list) and spec["values"]):
        raise ValueError(f"parameter {name}: values is {spec['values']!r}; expected a list of at least one.")
    if method == "grid" and not {"value", "values"} & set(spec):
        raise ValueError(f"parameter {name}: a grid needs values; use method random or bayes for a range.")
    implied = {"value": "constant", "probabilities": "categorical_w_probabilities", "values": "categorical"}
    law = spec.get("distribution") or next((implied[key] for key in implied if key in spec), None)
    if law is None:
        ints = isinstance(spec.get("min"), int) and isinstance(spec.get("max"), int)
        law = "int_uniform" if ints else "uniform"
    _only({law: None}, set(LAWS), f"parameter {name}, distribution")
    must, may = LAWS[law]
    _only(spec, must | may | {"distribution"}, f"parameter {name} ({law})")
    if missing := must - set(spec):
        raise ValueError(f"parameter {name} ({law}) lacks {', '.join(sorted(missing))}.")
    given = {**spec, "distribution": law}
    if "min" in given and not given["min"] < given["max"]:
        raise ValueError(f"parameter {name}: min {given['min']} must be below max {given['max']}.")
    if law.endswith("log_uniform_values") and given["min"] <= 0:
        raise ValueError(f"parameter {name}: {law} needs min above 0, given {given['min']}.")
    if law == "categorical_w_probabilities" and len(given["values"]) != len(given["probabilities"]):
        raise ValueError(
            f"parameter {name}: {len(given['values'])} values, {len(given['probabilities'])} probabilities."
        )
    return given


def _hyperband(given: dict[str, Any]) -> dict[str, Any]:
    """W&B's early_terminate as the first rung and the factor between rungs, in validations."""
    if not given:
        return {}
    _only(given, {"type", "min_iter", "max_iter", "s", "eta", "strict"}, "early_terminate")
    eta = int(given.get("eta", 3))
    if given.get("type") != "hyperband" or eta < 2:
        raise ValueError(f"early_terminate: expected type hyperband and an eta of 2 or more, given {given}.")
    if "min_iter" not in given and not {"max_iter", "s"} <= set(given):
        raise ValueError("early_terminate: give min_iter, or max_iter and s.")
    first = given.get("min_iter") or max(1, round(given["max_iter"] / eta ** given["s"]))
    return {"min_resource": int(first), "reduction_factor": eta}


# ---- what a trial draws --------------------------------------------------------------------------------------------


def draw(trial: Any, parameters: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """One value a parameter; ``trial`` is Optuna's. Laws that Optuna lacks are inverse distribution functions."""
    return {name: _draw(trial, name, spec) for name, spec in parameters.items()}


def _draw(trial: Any, name: str, spec: dict[str, Any]) -> Any:
    law = spec["distribution"]
    low, high = spec.get("min", 0), spec.get("max", 0)
    if law == "constant":
        return spec["value"]
    if law == "categorical":
        chosen = trial.suggest_categorical(name, choices(spec["values"]))
        return next(value for value in spec["values"] if text(value) == chosen)
    if law == "int_uniform":
        return trial.suggest_int(name, low, high)
    if law.removeprefix("q_") == "uniform":
        value = trial.suggest_float(name, low, high)
    elif "log_uniform" in law:
        if not law.endswith("_values"):  # min and max are exponents; "inv" is of log(1 / value)
            low, high = (math.exp(-high), math.exp(-low)) if law.startswith("inv") else (math.exp(low), math.exp(high))
        value = trial.suggest_float(name, low, high, log=True)
    else:
        u = trial.suggest_float(name, TINY, 1 - TINY)
        if law == "categorical_w_probabilities":
            return spec["values"][_share(spec["probabilities"], u)]
        value = _inverse(law.removeprefix("q_"), spec, u)
    if law.startswith("q_"):
        step = spec.get("q", 1.0)
        value = round(value / step) * step
    return value


def _inverse(law: str, spec: Mapping[str, Any], u: float) -> float:
    from scipy import stats

    if law == "beta":
        return float(stats.beta.ppf(u, spec.get("a", 1), spec.get("b", 1)))
    normal = float(stats.norm.ppf(u, spec.get("mu", 0), spec.get("sigma", 1)))
    return math.exp(normal) if law == "log_normal" else normal


def _share(probabilities: Sequence[float], u: float) -> int:
    """The entry in whose share of the whole ``u`` lies.

    >>> [_share([1, 3], u) for u in (0.2, 0.3, 0.999)]
    [0, 1, 1]
    """
    ends: Iterator[float] = itertools.accumulate(probabilities)
    whole = sum(probabilities)
    return next((i for i, end in enumerate(ends) if u * whole < end), len(probabilities) - 1)
