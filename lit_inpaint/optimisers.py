"""Optimisers and learning-rate schedules of a configuration, over the defaults of a paper."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from torch import nn, optim
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lit_inpaint import plugins
from masks.nearest import nearest

Specs: TypeAlias = Mapping[str, Mapping[str, Any]]  # by network: {class_path, init_args}


def networks_of(module: nn.Module, optimizer: Optimizer) -> list[str]:
    """The names of the networks that an optimiser trains."""
    own = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return [name for name, network in module.named_children() if own & {id(p) for p in network.parameters()}]


def rates(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a method's arguments that say how fast it learns: a resumed run may change them.

    >>> rates({"learning_rate": 0.1, "width": 8})
    {'learning_rate': 0.1, 'optimizers': {}, 'schedules': {}}
    """
    named = {name: value for name, value in arguments.items() if name == "lr" or "learning_rate" in name}
    return named | {name: arguments.get(name) or {} for name in ("optimizers", "schedules")}


def configured(
    module: nn.Module, defaults: Optimizer | Sequence[Optimizer], optimizers: Specs, schedules: Specs
) -> tuple[list[Optimizer], list[LRScheduler]]:
    """The optimisers of a paper, those of the named networks replaced, and the schedules.

    A replacement trains the same groups of parameters, at the paper's learning rate unless it states ``lr``.

    >>> net = nn.ModuleDict({"generator": nn.Linear(1, 1), "discriminator": nn.Linear(1, 1)})
    >>> paper = [optim.Adam(net[name].parameters(), 0.5) for name in net]
    >>> halving = {"class_path": "StepLR", "init_args": {"step_size": 1, "gamma": 0.5}}
    >>> (sgd, adam), (steps,) = configured(
    ...     net, paper, {"generator": {"class_path": "SGD"}}, {"discriminator": halving}
    ... )
    >>> type(sgd).__name__, sgd.param_groups[0]["lr"], adam is paper[1] is steps.optimizer
    ('SGD', 0.5, True)

    Raises:
        ValueError: Naming the setting: no such network or class, or other arguments than it takes.
    """
    used = [defaults] if isinstance(defaults, Optimizer) else list(defaults)
    if not all(isinstance(optimizer, Optimizer) for optimizer in used):
        raise ValueError(f"{type(module).__name__} has schedules in its configure_optimizers: change them there.")
    for network, spec in optimizers.items():
        number = _number(module, used, network, "optimizers", optimizers)
        groups = [{"params": group["params"], "lr": group["lr"]} for group in used[number].param_groups]
        if "lr" in (spec.get("init_args") or {}):
            groups = [{"params": group["params"]} for group in groups]
        used[number] = _built(f"optimizers.{network}", spec, Optimizer, groups)
    placed = {_number(module, used, network, "schedules", schedules): network for network in schedules}
    return used, [
        _built(f"schedules.{network}", schedules[network], LRScheduler, used[number])
        for number, network in sorted(placed.items())
    ]


def step(schedule: LRScheduler) -> None:
    """The learning rate of the next batch."""
    with warnings.catch_warnings():  # in a batch that only accumulates, the optimiser did not step
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        warnings.filterwarnings("ignore", message="The epoch parameter in `scheduler.step")  # SequentialLR's own call
        schedule.step()


def apply_again(
    module: nn.Module, optimizers: Sequence[Optimizer], schedules: Sequence[LRScheduler], fresh: Any, batches: int
) -> None:
    """Give restored optimisers the settings of a changed configuration: each keeps its state (Adam's moments), and
    gets the learning rate that ``fresh``, what ``configure_optimizers`` returns, has after so many ``batches``."""
    wanted, planned = fresh if isinstance(fresh, tuple) else (fresh, [])
    for schedule in planned:
        for _ in range(batches):
            step(schedule)
    for schedule, plan in zip(schedules, planned, strict=True):
        schedule.load_state_dict(plan.state_dict())
    for optimizer, plan in zip(optimizers, [wanted] if isinstance(wanted, Optimizer) else wanted, strict=True):
        for group, new in zip(optimizer.param_groups, plan.param_groups, strict=True):
            parameters = group["params"]
            group.clear()
            group.update(new | {"params": parameters})


def _number(module: nn.Module, optimizers: Sequence[Optimizer], network: str, argument: str, specs: Specs) -> int:
    """Which optimiser trains a network."""
    trained = [networks_of(module, optimizer) for optimizer in optimizers]
    number = next((n for n, names in enumerate(trained) if network in names), None)
    if number is None:
        known = [name for names in trained for name in names]
        raise ValueError(
            f"{argument} names the network '{network}', which {type(module).__name__} does not train. "
            f"{nearest(network, known)}"
        )
    if both := [name for name in trained[number] if name in specs and name != network]:
        raise ValueError(f"{argument} names {network} and {both[0]}, which share one optimiser: name one of them.")
    return number


def _built(setting: str, spec: Any, base: type, subject: Any) -> Any:
    """The object of a specification, its first argument ``subject``; inner ones (SequentialLR's) are built alike."""
    if not isinstance(spec, Mapping) or not isinstance(spec.get("class_path"), str):
        raise ValueError(f"{setting} is {spec!r}; expected {{class_path: NAME, init_args: {{...}}}}.")
    if left := [key for key in spec if key not in ("class_path", "init_args")]:
        raise ValueError(f"{setting} has the key '{left[0]}'; expected class_path and init_args.")
    cls = _class(setting, spec["class_path"], base)

    def value(given: Any) -> Any:
        if isinstance(given, Mapping) and "class_path" in given:
            return _built(setting, given, base, subject)
        return [value(item) for item in given] if isinstance(given, list | tuple) else given

    arguments = {name: value(given) for name, given in (spec.get("init_args") or {}).items()}
    try:
        return cls(subject, **arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{setting}: {cls.__name__} does not take these init_args: {error}") from error


def _class(setting: str, path: str, base: type) -> type:
    home = optim if base is Optimizer else optim.lr_scheduler
    known = {name: cls for name, cls in vars(home).items() if isinstance(cls, type) and issubclass(cls, base)}
    known = {name: cls for name, cls in known.items() if cls is not base and not name.startswith("_")}
    module, _, name = path.rpartition(".")
    if module in ("", home.__name__):
        found = known.get(name)
    else:
        with plugins.nothing_imported_for(path):  # a checkpoint names it as well
            found = plugins.find(path)
    if not isinstance(found, type) or not issubclass(found, base):
        raise ValueError(f"{setting}: '{path}' is no {base.__name__}. {nearest(name, known)}")
    if issubclass(found, ReduceLROnPlateau):
        raise ValueError(f"{setting}: ReduceLROnPlateau follows a metric; schedules step per batch. Take another.")
    return found
