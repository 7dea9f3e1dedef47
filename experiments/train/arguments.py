"""The command line before it is parsed: names of configurations, saved runs, and values from checkpoints."""

import argparse
import ast
import contextlib
import json
import os
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from experiments.files.chosen import ONLY, chosen, own_arguments, without
from experiments.files.find import find_yaml
from experiments.files.read import Plain, read_yaml
from experiments.run import Run
from experiments.run.place import read_saved
from lit_inpaint import plugins, renamed, zoo
from lit_inpaint.classes import class_of
from lit_inpaint.load import described, hyper_parameters, read_training, read_weights


def prepare_arguments(argv: list[str]) -> list[str]:
    """Insert the checkpoint's model and run folder before the user's arguments.

    ``argv`` begins with the subcommand. The user's arguments are unchanged, except for names of built-in YAMLs and
    values that W&B's agent writes in Python syntax.
    """
    command, *words = argv
    words = [installed(renamed.class_paths(_of_agent(word))) for word in words]
    given, _ = options().parse_known_args(words)
    if given.only:
        method = chosen(given.model, given.model_class, filter(None, given.config))
        words = [*without(words, f"--{ONLY}"), *map(installed, own_arguments(given.only, method))]
    _import_named(given.config, [given.model, given.model_class])
    if command == "fit" and given.folder is None and (folder := _folder_of_agent()):
        words.append(f"--trainer.default_root_dir={folder}")
    weights = given.init_from and (zoo.entry(given.init_from) is not None or Path(given.init_from).is_file())
    before = [_said_by_weights(Path(given.init_from))] if weights else []
    if given.ckpt_path and given.ckpt_path not in {"last", "auto", "best", "hpc", "null"}:
        if not Path(given.ckpt_path).is_file():
            hub = " `lit-inpaint pull` it first, and give the file" + (" to --init_from." if command == "fit" else ".")
            hint = hub if "://" in given.ckpt_path else ""
            if zoo.entry(given.ckpt_path) is not None:
                hint = " What zoo:NAME holds cannot be resumed; `fit --init_from` and `benchmark` take it."
            raise ValueError(f"there is no checkpoint {given.ckpt_path}.{hint}")
        before.insert(0, _said_by_checkpoint(Path(given.ckpt_path), command))
    configs = [word for said in before if said for word in ("--config", json.dumps(said))]
    imports = [f"--import={json.dumps(modules)}"] if (modules := plugins.named()) else []
    return [command, *configs, *words, *imports]


def options() -> argparse.ArgumentParser:
    """Options that affect others; without a value they are left to the subcommand's parser."""
    parser = argparse.ArgumentParser(add_help=False)  # takes the abbreviations that the subcommand's takes
    parser.add_argument("--trainer", nargs="?")  # no abbreviation of what follows
    parser.add_argument("-c", "--config", action="append", nargs="?", default=[])
    parser.add_argument("--model", nargs="?")
    parser.add_argument("--model.class_path", nargs="?", dest="model_class")
    parser.add_argument("--ckpt_path", nargs="?")
    parser.add_argument("--init_from", nargs="?")
    parser.add_argument("--init_strict", nargs="?")
    parser.add_argument("--trainer.default_root_dir", nargs="?", dest="folder")
    parser.add_argument(f"--{ONLY}", nargs="?")
    return parser


def _import_named(configs: list[str | None], models: list[str | None]) -> None:
    """Import what the user's YAMLs name under ``import``, and the module of a model of one's own: a checkpoint of it
    is read before the command line is parsed.

    Raises:
        ValueError: A module under ``import`` is missing. What is wrong with the model's is left to the parser.
    """
    for value in filter(None, configs):
        config = json.loads(value) if value.lstrip().startswith("{") else read_yaml(find_yaml(value))
        modules = config.get("import") or []
        plugins.add([modules] if isinstance(modules, str) else modules)
        model = config.get("model")
        models = [*models, model.get("class_path") if isinstance(model, dict) else model]
    for path in models:
        module = str(path or "").rpartition(".")[0]
        if module and module.partition(".")[0] not in plugins.OWN:
            with contextlib.suppress(ValueError):
                plugins.imported(module)
                plugins.add([module])
    plugins.load()


def _said_by_weights(path: Path) -> Plain:
    """``init_from``: the class, and the arguments that define the network."""
    saved = read_weights(path)
    cls = class_of(saved, path)
    arguments = cls.function_arguments(hyper_parameters(saved))
    if told := ", ".join(f"{key}={value!r}" for key, value in arguments.items()):
        rank_zero_info(f"{path} provides the weights and the arguments that belong to them: {told}")
    return {"model": described(cls, arguments, path)}


def _said_by_checkpoint(path: Path, command: str) -> Plain:
    """``ckpt_path``: the class and all its arguments, and for ``fit`` the folder of its run."""
    saved = read_training(path)
    said: Plain = {}
    if "method" in saved:  # else the configuration names the class
        said["model"] = described(class_of(saved, path), hyper_parameters(saved), path)
    if command == "fit" and (run := Run.of(path)):
        said["trainer"] = {"default_root_dir": str(run.folder)}
    return said


def installed(word: str) -> str:
    """An option's YAML (--data data/imagenet.yaml), looked up among the built-in ones unless it exists here.

    Raises:
        ValueError: It does not exist, or is not YAML.
    """
    name, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    if not value.endswith(".yaml"):
        return word
    found = find_yaml(value)
    return word if Path(value).is_file() else f"{name}{equals}{found}"


def config_text(value: str, fitting: bool) -> str:
    """What ``--config`` names: a file's path, or the content of a run's saved configuration with the run's present
    folder in it. What is a configuration itself stays.

    Args:
        value: A path here or among the installed configurations, with or without its suffix, or JSON.
        fitting: If False, loggers and callbacks of a saved configuration are dropped: an evaluation must not add to
            the curves of a training run.
    """
    if value.lstrip().startswith("{"):
        return value
    path = find_yaml(value)
    run = Run.of(Path(value)) if Path(value).is_file() else None
    if run is None:
        return str(path)
    saved = read_saved(path, run.folder)
    for key in () if fitting or not isinstance(saved["trainer"], dict) else ("logger", "callbacks"):
        saved["trainer"].pop(key, None)
    return f" {json.dumps(saved)}"  # the blank marks what is saved: parser.py replaces no variables in it


def _of_agent(word: str) -> str:
    """Convert Python syntax from W&B's agent to YAML.

    >>> _of_agent("--model.init_args.clip_norm=None"), _of_agent("{'flip': True, 'root': None}")
    ('--model.init_args.clip_norm=null', '{"flip": true, "root": null}')
    """
    name, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    if value == "None":
        value = "null"
    elif value.startswith(("{", "[")):
        with contextlib.suppress(SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            value = json.dumps(ast.literal_eval(value))
    return name + equals + value


def _folder_of_agent() -> str | None:
    """The run folder under ``wandb agent``, whose command is the same for every run."""
    sweep, run = os.environ.get("WANDB_SWEEP_ID"), os.environ.get("WANDB_RUN_ID")
    return f"runs/sweeps/{sweep}/{run}" if sweep and run else None
