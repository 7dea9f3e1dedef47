"""fit / validate / test / predict: LightningCLI with our defaults, one-line errors and safe checkpoints."""

import ast
import contextlib
import inspect
import json
import logging
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from jsonargparse import Namespace, set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import datamodules
import masks
from experiments.cli import is_mistake
from experiments.files.find import INSTALLED, find_yaml
from experiments.run import Identity, Run
from experiments.run.folder import tell
from experiments.run.identity import may_change
from experiments.run.place import moved, read_saved, run_of
from experiments.train.checks import check_flags, check_monitors, explained, package_missing
from experiments.train.config import KeepConfig
from experiments.train.sizes import check_size, refused_size
from lit_inpaint.callbacks import Restart
from lit_inpaint.checkpoints import check_writable
from lit_inpaint.ddp import check_strategy
from lit_inpaint.load import described, hyper_parameters, method_classes, nearest, read_checkpoint, stage_classes
from lit_inpaint.malloc import keep_freed_memory
from lit_inpaint.stage import Stage

# Interpolations such as ${data.init_args.image_size} follow command-line overrides under every subcommand only so.
set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
warnings.filterwarnings("ignore", message=".*args parameter is intended to run from within Python.*")
warnings.filterwarnings("ignore", message="Using ModelCheckpoint with manual optimization")  # as is meant
warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero")  # our own is clearer
warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")  # of Lightning, against torch 2.15
logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda record: "Tip:" not in record.getMessage())
# "`weights_only` was not set" is said of what a file will hold, and reads as if files were opened unsafely.
logging.getLogger("lightning.pytorch.trainer.connectors.checkpoint_connector").setLevel(logging.WARNING)


class Mistake(ValueError):
    """A user's mistake, said in one line."""


class Parser(LightningArgumentParser):
    """Says the innermost cause of an error and the nearest allowed name, where jsonargparse prints 45 lines.

    ``written`` is the configuration of a subcommand before its interpolations are resolved: a saved one keeps them.
    """

    written: dict[str, Any] | None = None

    def _parse_common(self, cfg: Namespace, *args: Any, **kwargs: Any) -> Namespace:
        if cfg.get("subcommand") and "${" in str(cfg):
            self.written = cfg[cfg.subcommand].clone().as_dict()
        return super()._parse_common(cfg, *args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> Any:
        cause: BaseException | None = ex
        while cause is not None:  # the parser of a class has explained it already; the outer ones only nest it
            if isinstance(cause, Mistake):
                raise cause
            cause = cause.__cause__ or cause.__context__
        raise Mistake(self._explain(message)) from ex

    def _explain(self, message: str) -> str:
        if match := re.search(r"[Oo]ption '([\w.]+)'|unrecognized arguments: -*([\w.]+)", message):
            key = match.group(1) or match.group(2)
            if key.startswith("trainer."):
                allowed = set(inspect.signature(L.Trainer.__init__).parameters) - {"self"}
            elif "." in key or not self.subcommands_of_fit():
                allowed = {action.dest.split(".")[0] for action in self._actions} - {"help", "optimisation"}
            else:
                allowed = {"trainer", "model", "data", "seed_everything", "ckpt_path", "init_from", "weights"}
            if "." in key and key.split(".")[0] not in {"trainer", "model", "data"}:
                key, allowed = key.split(".")[0], {"trainer", "model", "data"}
            sentence = nearest(key.split(".")[-1], allowed)
            return f"there is no setting '{key}'. {sentence if len(allowed) < 25 else sentence.split(' Allowed')[0]}"
        if missing := package_missing(message):
            return missing
        keys = re.findall(r'[Pp]arser key "([\w.]+)"', message)
        if match := re.search(r"Expected a <class '([\w.]+)'>. Got value: (.*)", message):
            return f"{keys[-1] if keys else 'a setting'} must be {match.group(1)}, given {match.group(2)}."
        if match := re.search(r"Expected a (?:path but|dot import path string:) (\S+)", message):
            found = _classes_for(keys[-1] if keys else "")
            return f"there is no class '{match.group(1)}' for '{keys[-1]}'. {nearest(match.group(1), found)}"
        return " ".join(message.split())

    def subcommands_of_fit(self) -> bool:
        """Whether this is the parser of the whole command, not that of one class."""
        return any(action.dest in {"subcommand", "trainer", "seed_everything"} for action in self._actions)


def _classes_for(key: str) -> set[str]:
    if key == "model":
        return set(stage_classes())
    return set((datamodules if key == "data" else masks).__all__)


class InpaintCLI(LightningCLI):
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--init_from", type=str | None, default=None, help="start from the weights of this checkpoint"
        )
        parser.add_argument(
            "--weights",
            type=str,
            default="ema",
            choices=["ema", "raw"],
            help="evaluate the averaged weights where the checkpoint has them, or the raw ones",
        )

    def _parse_ckpt_path(self) -> None:
        """Lightning lets the checkpoint's class and arguments silently win over the command line; see main()."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self.config.subcommand]
        trainer = config.trainer
        devices = torch.cuda.device_count() if trainer.devices == "auto" else trainer.devices
        if trainer.strategy == "auto" and (devices not in (0, 1, "1") or trainer.num_nodes > 1):
            trainer.strategy = "ddp_find_unused_parameters_true"
        cls = method_classes().get(config.model.class_path.split(".")[-1]) if config.model else None
        if self.config.subcommand == "fit" and cls is not None and not cls.trainable:
            if cls.stages:
                names = " and ".join(stage.__name__ for stage in cls.stages.values())
                raise ValueError(f"{cls.__name__} is trained in stages: fit {names}, then `lit-inpaint assemble`.")
            why = "is for evaluation only" if cls.imports else "has no parameters to fit"
            raise ValueError(f"{cls.__name__} {why}; use `lit-inpaint benchmark` or `inpaint`.")
        self.run: Run | None = None
        asked = config.get("ckpt_path")
        if asked in {"last", "auto"}:
            config.ckpt_path = str(Run(Path(trainer.default_root_dir)).checkpoint or "") or None
            if asked == "last" and config.ckpt_path is None:
                raise ValueError(
                    f"{trainer.default_root_dir} holds no checkpoint; --ckpt_path auto begins without one."
                )
        if self.config.subcommand == "fit" and not trainer.fast_dev_run:
            self._choose_folder(config, asked)
        elif self.config.subcommand == "fit":  # a trial leaves no trace; Lightning's own ModelCheckpoint would
            trainer.callbacks = [c for c in trainer.callbacks or [] if not c.class_path.endswith("Checkpoint")]
        checkpoint = config.get("ckpt_path")
        if checkpoint and checkpoint not in {"last", "best", "hpc"}:
            refuse_differences(config.model.as_dict() if config.model else {}, Path(checkpoint))

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        try:
            return super().instantiate_trainer(**kwargs)
        except ValueError as error:  # Lightning's about a setting
            raise Mistake(str(error)) from error

    def _choose_folder(self, config: Namespace, asked: str | None) -> None:
        """A resumed run stays in its folder; a new one takes the next free name, for all that is named after it."""
        run = Run(Path(config.trainer.default_root_dir))
        checkpoint = config.get("ckpt_path")
        own = checkpoint and Path(checkpoint).resolve().is_relative_to(run.folder.resolve())
        self.resumes = bool(run.exists and (own or asked == "auto"))
        if not is_first_process():
            return
        if self.resumes and not checkpoint:
            tell(f"{run.folder} holds no checkpoint: the run begins anew in it.")
        elif not self.resumes and run.exists:
            free = run.next_free()
            tell(f"{run.folder} holds a run already: this one is written to {free.folder}. To resume the other:")
            tell(f"  {run.command}" if run.command else "  it has no configuration")
            moved(config.trainer, str(config.trainer.default_root_dir), str(free.folder))

    def after_instantiate_classes(self) -> None:
        config = self.config[self.config.subcommand]
        if isinstance(self.model, Stage):
            self.model.weights = config.weights
            if config.init_from and not config.get("ckpt_path"):
                load_weights(self.model, Path(config.init_from))

    def before_fit(self) -> None:
        """What can be refused is, before a logger creates its first file and before there are other processes."""
        config, trainer = self.config.fit, self.trainer
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        check_flags(config.trainer, self.model)
        check_monitors(callbacks, self.model)
        check_strategy(trainer, self.model)
        self.datamodule.setup("fit")
        check_size(self.model, self.datamodule)
        identity = Identity.of(config.as_dict(), self.datamodule, trainer)
        if config.get("ckpt_path"):
            unknown = identity.check(read_checkpoint(Path(config.ckpt_path)), config.ckpt_path)
            if unknown and trainer.is_global_zero:
                tell(unknown)
        if trainer.strategy.root_device.type == "cpu":
            keep_freed_memory()
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        folder = Path(trainer.default_root_dir)
        if trainer.is_global_zero:
            check_writable(folder)
            self.run = Run.resume(folder) if self.resumes else Run.begin(folder)
        for callback in callbacks:
            if isinstance(callback, KeepConfig):
                callback.identity, callback.written = identity, getattr(self.parser, "written", None)
            if isinstance(callback, Restart):
                callback.command = lambda: Run(folder).command

    def fit(self, **arguments: Any) -> None:
        try:
            self.trainer.fit(**arguments)
        except (RuntimeError, ValueError, IndexError) as error:
            if (isinstance(error, ValueError) and is_mistake(error)) or (said := refused_size(error)) is None:
                raise
            raise Mistake(said) from error
        finally:
            if self.run is not None:
                self.run.release()


def is_first_process() -> bool:
    """Whether this is rank 0 of all nodes, before Lightning knows: nobody else chooses a folder."""
    ranks = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")
    return all(os.environ.get(name, "0") == "0" for name in ranks)


def load_weights(model: Stage, path: Path) -> None:
    """``init_from``: weights only, strictly; optimisers, schedules and counters begin anew.

    Raises:
        ValueError: They are of another class, of another function (another ``variant``, say), or do not fit.
    """
    checkpoint = read_checkpoint(path)
    cls = stage_classes().get(checkpoint["method"])
    if cls is not None and not (isinstance(model, cls) or issubclass(cls, type(model))):
        raise ValueError(f"{path} holds a {checkpoint['method']}, but the configuration says {type(model).__name__}.")
    defaults = {name: p.default for name, p in inspect.signature(type(model).__init__).parameters.items()}
    made_with = type(model).function_arguments(defaults | hyper_parameters(checkpoint))
    for key, saved in made_with.items():
        if key in model.hparams and json.dumps(model.hparams[key], default=str) != json.dumps(saved, default=str):
            raise ValueError(
                f"model.init_args.{key} is {model.hparams[key]!r}, but the weights of {path} were made with {saved!r}: "
                "another function. Leave it out, so that it is taken from the checkpoint."
            )
    state = dict(checkpoint["state_dict"])
    mine = model.state_dict()
    problems = [f"missing {k}" for k in mine if k not in state] + [f"unexpected {k}" for k in state if k not in mine]
    problems += [
        f"{k} is {tuple(state[k].shape)}, not {tuple(v.shape)}"
        for k, v in mine.items()
        if k in state and state[k].shape != v.shape
    ]
    if problems:
        raise ValueError(
            f"{path} does not fit {type(model).__name__}: {len(problems)} differences, first: {problems[0]}."
        )
    model.load_state_dict(state)


def refuse_differences(model: dict[str, Any], path: Path) -> None:
    """A resumed run keeps its class and arguments: name the first difference and the way to change one."""
    checkpoint = read_checkpoint(path)
    name = model["class_path"].split(".")[-1]
    if name != checkpoint["method"]:
        raise ValueError(f"{path} holds a {checkpoint['method']}, but the configuration says {name}.")
    saved, given = hyper_parameters(checkpoint), model.get("init_args", {})
    for key in saved:
        if may_change(f"model.init_args.{key}"):
            continue
        if key in given and json.dumps(given[key], default=str) != json.dumps(saved[key], default=str):
            raise ValueError(
                f"model.init_args.{key} is {given[key]!r}, but {path} was trained with {saved[key]!r}. Leave it out to "
                "go on as before, or start a new run with these weights: --init_from instead of --ckpt_path."
            )


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


def main(argv: list[str]) -> int:
    """``argv`` begins with the subcommand."""
    fit, rest = [{"default_config_files": [str(INSTALLED / name)]} for name in ("trainer.yaml", "evaluation.yaml")]
    arguments = prepare_arguments([*argv, *folder_for_agent(argv)])
    try:
        InpaintCLI(
            L.LightningModule,
            L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            parser_class=Parser,
            parser_kwargs={
                "parser_mode": "omegaconf+",
                "fit": fit,
                **dict.fromkeys(("validate", "test", "predict"), rest),
            },
            save_config_callback=KeepConfig,
            seed_everything_default=0,
            args=arguments,
        )
    except (ImportError, RuntimeError, ValueError, MisconfigurationException) as error:
        if (line := explained(error)) is None:
            raise
        raise Mistake(line) from error
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
