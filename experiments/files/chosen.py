"""Which method a command line trains, and the arguments that belong to it alone."""

import json
from collections.abc import Iterable, Mapping, Sequence

from experiments.files.find import find_yaml
from experiments.files.read import Plain, read_yaml

ONLY = "only"  # of a sweep's parameters, and the option of `fit` that passes them: {method: {option: value}}


def chosen(model: object = None, class_path: object = None, configs: Iterable[object] = ()) -> str | None:
    """Name of the method that ``--model``, ``--model.class_path`` and ``--config`` say, the first of these that does.

    >>> chosen("lit_inpaint.methods.LaMa"), chosen({"class_path": "DDPM"}), chosen(configs=["deepfillv2/places2"])
    ('LaMa', 'DDPM', 'DeepFillV2')
    """
    said = [class_path, _class_of(model), *(_class_of(_read(config).get("model")) for config in reversed([*configs]))]
    return next((str(path).rpartition(".")[2] for path in said if path), None)


def _class_of(model: object) -> object:
    found = _read(model) if isinstance(model, str) and model.endswith((".yaml", "}")) else model
    return found.get("class_path") if isinstance(found, Mapping) else found


def _read(value: object) -> Plain:
    if isinstance(value, str):
        value = json.loads(value) if value.lstrip().startswith("{") else read_yaml(find_yaml(value))
    return dict(value) if isinstance(value, Mapping) else {}


def own_arguments(given: str, method: str | None) -> list[str]:
    """What ``--only`` of a sweep holds for the method of this run, as words of the command line.

    W&B's agents pass every parameter to every run; those of other methods are left out.

    >>> own_arguments('{"LaMa": {"model.init_args.blocks": 9}, "DDPM": {"model.init_args.dropout": 0.1}}', "LaMa")
    ['--model.init_args.blocks=9']

    Raises:
        ValueError: It is no mapping of mappings.
    """
    try:
        by_method = json.loads(given)
        mine = {name.rpartition(".")[2]: values for name, values in by_method.items()}.get(method or "", {})
        return [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in mine.items()]
    except (ValueError, AttributeError):
        raise ValueError(f"--{ONLY} is {given}; expected {{METHOD: {{option of fit: value}}}}.") from None


def without(words: Sequence[str], option: str) -> list[str]:
    """
    >>> without(["--only", "{}", "--model=LaMa", "--only={}"], "--only")
    ['--model=LaMa']
    """
    values = {index + 1 for index, word in enumerate(words) if word == option}
    return [w for i, w in enumerate(words) if i not in values and w != option and not w.startswith(f"{option}=")]
