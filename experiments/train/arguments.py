"""The command line before it is parsed: names of configurations, saved runs, and what a checkpoint says of them."""

import ast
import contextlib
import json
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from experiments.files.find import find_yaml
from experiments.run.place import read_saved, run_of
from lit_inpaint.load import described, hyper_parameters, read_checkpoint, stage_classes


def prepare_arguments(argv: list[str]) -> list[str]:
    """Find configurations by name, set saved ones into their run folder, and put what a checkpoint says of the model,
    and of its run folder, before what the user says."""
    argv = [argv[0], *map(of_agent, argv[1:])]
    out, index = [argv[0]], 1
    checkpoint = init_from = None
    while index < len(argv):
        word = argv[index]
        name, equals, value = word.partition("=")
        following = argv[index + 1] if word.startswith("-") and not equals and index + 1 < len(argv) else ""
        if following and (name in {"-c", "--config", "--ckpt_path", "--init_from"} or following.endswith(".yaml")):
            index += 1
            value = following
        if name in {"-c", "--config"} and value:
            out += ["--config", config_word(value, argv[0])]
        elif name == "--ckpt_path" and value:
            if value not in {"last", "auto", "best", "hpc", "null"} and not Path(value).is_file():
                raise ValueError(f"there is no checkpoint {value}.")
            checkpoint = None if value == "null" else value
            out += ["--ckpt_path", value]
        elif name == "--init_from" and value:
            init_from = value
            out += ["--init_from", value]
        elif name.startswith("--") and value.endswith(".yaml"):  # --data data/imagenet.yaml, --data.init_args.mask ...
            out += [name, str(find_yaml(value))]
        else:
            out.append(word)
        index += 1
    if init_from and Path(init_from).is_file():
        saved = read_checkpoint(Path(init_from))
        if cls := stage_classes().get(saved["method"]):
            arguments = cls.function_arguments(hyper_parameters(saved))
            if told := ", ".join(f"{key}={value!r}" for key, value in arguments.items()):
                rank_zero_info(f"{init_from} brings its weights and what belongs to them: {told}")
            model = described(cls, arguments, Path(init_from))
            out[1:1] = ["--config", json.dumps({"model": model})]
    if checkpoint and Path(checkpoint).is_file():
        saved = read_checkpoint(Path(checkpoint))
        cls = stage_classes().get(saved["method"])
        if cls is None:
            raise ValueError(
                f"{checkpoint} holds a {saved['method']}, which is not known here. Import its module first."
            )
        first: dict[str, Any] = {"model": described(cls, hyper_parameters(saved), Path(checkpoint))}
        if argv[0] == "fit" and (folder := run_of(Path(checkpoint))):
            first["trainer"] = {"default_root_dir": str(folder)}
        out[1:1] = ["--config", json.dumps(first)]
    return out


def config_word(value: str, command: str) -> str:
    """A file's path, or the content of a run's saved configuration with the run's present folder in it."""
    path = find_yaml(value)
    folder = run_of(Path(value)) if Path(value).is_file() else None
    if folder is None:
        return str(path)
    saved = read_saved(path, folder)
    for key in ("logger", "callbacks") if command != "fit" and isinstance(saved["trainer"], dict) else ():
        saved["trainer"].pop(key, None)  # an evaluation adds nothing to the curves of a training
    return json.dumps(saved)


def of_agent(word: str) -> str:
    """What W&B's agent writes as Python does, as YAML.

    >>> of_agent("--model.init_args.clip_norm=None"), of_agent("{'flip': True, 'root': None}")
    ('--model.init_args.clip_norm=null', '{"flip": true, "root": null}')
    """
    name, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    if value == "None":
        value = "null"
    elif value.startswith(("{", "[")):
        with contextlib.suppress(SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            value = json.dumps(ast.literal_eval(value))
    return name + equals + value


def folder_for_agent(argv: list[str]) -> list[str]:
    """Under ``wandb agent``, whose command is the same for every run: a run folder each."""
    sweep, run = os.environ.get("WANDB_SWEEP_ID"), os.environ.get("WANDB_RUN_ID")
    told = any(word.startswith("--trainer.default_root_dir") for word in argv)
    return (
        []
        if argv[0] != "fit" or told or not (sweep and run)
        else [f"--trainer.default_root_dir=runs/sweeps/{sweep}/{run}"]
    )
