"""The distributions of W&B's sweep files: required keys, and sampling."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from masks.nearest import nearest

if TYPE_CHECKING:
    from optuna import Trial

Law = dict[str, Any]  # of one parameter: its distribution and the distribution's keys
Drawn = dict[str, Any]  # by parameter, the value that a trial draws

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
_TINY = 1e-6  # from 0 and 1: where the tails of a normal law are cut


def check_keys(given: Mapping[str, object], allowed: set[str], where: str) -> None:
    for key in given:
        if key not in allowed:
            raise ValueError(f"{where}: there is no key {key!r} here. {nearest(str(key), allowed)}")


def number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        hint = " (YAML reads 1e-5 as text: write 1.0e-5)" if isinstance(value, str) else ""
        raise ValueError(f"{where} is {value!r}; expected a number{hint}.")
    return value


def whole_number(value: object, where: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{where} is {value!r}; expected a whole number of {least} or more.")
    return value


def read_law(name: str, spec: object, method: str) -> Law:
    """The full distribution of one parameter, inferred from its keys as in W&B."""
    if not isinstance(spec, dict):
        raise ValueError(
            f"parameter {name}: expected value, values, min and max, or nested parameters, given {spec!r}."
        )
    if method == "grid" and not {"value", "values"} & set(spec):
        raise ValueError(f"parameter {name}: a grid needs values; use method random or bayes for a range.")
    implied = {"value": "constant", "probabilities": "categorical_w_probabilities", "values": "categorical"}
    law = spec.get("distribution") or next((implied[key] for key in implied if key in spec), None)
    if law is None:
        ints = isinstance(spec.get("min"), int) and isinstance(spec.get("max"), int)
        law = "int_uniform" if ints else "uniform"
    check_keys({law: None}, set(LAWS), f"parameter {name}, distribution")
    must, may = LAWS[law]
    check_keys(spec, must | may | {"distribution"}, f"parameter {name} ({law})")
    if missing := must - set(spec):
        raise ValueError(f"parameter {name} ({law}) lacks {', '.join(sorted(missing))}.")
    given = {**spec, "distribution": law}
    json.dumps(given)  # a date or another object of YAML's could not be kept
    if "values" in given:
        _check_values(name, given)
    _check_numbers(name, given)
    return given


def _check_values(name: str, given: Law) -> None:
    if not isinstance(given["values"], list) or not given["values"]:
        raise ValueError(f"parameter {name}: values is {given['values']!r}; expected a list of at least one.")
    if "probabilities" not in given:
        return
    shares = [number(share, f"parameter {name}, probabilities") for share in given["probabilities"]]
    if len(given["values"]) != len(shares):
        raise ValueError(f"parameter {name}: {len(given['values'])} values, {len(shares)} probabilities.")
    if min(shares) < 0 or not sum(shares):
        raise ValueError(f"parameter {name}: probabilities must be 0 or more and not all 0, given {shares}.")


def _check_numbers(name: str, given: Law) -> None:
    law = given["distribution"]
    for key in {"min", "max", "q", "mu", "sigma", "a", "b"} & set(given):
        number(given[key], f"parameter {name}, {key}")
        if key in {"q", "sigma", "a", "b"} and given[key] <= 0:
            raise ValueError(f"parameter {name}: {key} must be above 0, given {given[key]}.")
    if "min" not in given:
        return
    if law == "int_uniform" and not (isinstance(given["min"], int) and isinstance(given["max"], int)):
        raise ValueError(f"parameter {name}: int_uniform needs whole numbers, given {given['min']}, {given['max']}.")
    if not given["min"] < given["max"]:
        raise ValueError(f"parameter {name}: min {given['min']} must be below max {given['max']}.")
    if law.endswith("log_uniform_values") and given["min"] <= 0:
        raise ValueError(f"parameter {name}: {law} needs min above 0, given {given['min']}.")
    if "log_uniform" in law and not law.endswith("_values") and max(abs(given["min"]), abs(given["max"])) > 700:
        raise ValueError(f"parameter {name}: min and max of {law} are exponents of e; {law}_values takes the values.")


def text(value: object) -> str:
    """A value as pages and Optuna's journal show it.

    >>> text(None), text(True), text(1e-4), text({"class_path": "LaMaThick"})
    ('null', 'true', '0.0001', '{"class_path": "LaMaThick"}')
    """
    return value if isinstance(value, str) else json.dumps(value)


def choices(values: Sequence[object]) -> list[str]:
    """Values in Optuna's plain form; duplicates are one choice."""
    return list(dict.fromkeys(map(text, values)))


def distinct(spec: Law) -> list[object]:
    """The values of a grid's parameter: duplicates, or values that are equal on the command line, count once.

    >>> distinct({"values": [1, 2, 1, "2", None]})
    [1, 2, None]
    """
    kept: dict[str, object] = {}
    for value in spec.get("values", [spec.get("value")]):
        kept.setdefault(str(value), value)
    return list(kept.values())


def draw(trial: "Trial", parameters: Mapping[str, Law]) -> Drawn:
    """One value per parameter; ``trial`` is Optuna's. Laws that Optuna lacks are inverse distribution functions."""
    return {name: _draw(trial, name, spec) for name, spec in parameters.items()}


def _draw(trial: "Trial", name: str, spec: Law) -> object:
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
        u = trial.suggest_float(name, _TINY, 1 - _TINY)
        if law == "categorical_w_probabilities":
            return spec["values"][_share(spec["probabilities"], u)]
        value = _inverse(law.removeprefix("q_"), spec, u)
    if law.startswith("q_"):
        step = spec.get("q", 1.0)
        value = round(value / step) * step
    return value


def _inverse(law: str, spec: Law, u: float) -> float:
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
