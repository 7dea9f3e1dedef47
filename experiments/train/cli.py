"""fit / validate / test / predict: LightningCLI with our defaults, one-line errors and safe checkpoints."""

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from jsonargparse import Namespace, set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from datamodules import InpaintingDataModule
from experiments.cli import is_mistake
from experiments.files.find import INSTALLED
from experiments.run import Identity, Run
from experiments.run.folder import tell
from experiments.run.newest import newest_whole
from experiments.run.place import moved
from experiments.train.arguments import prepare_arguments
from experiments.train.checks import (
    check_flags,
    check_monitors,
    check_optimisers,
    check_root,
    check_val_metrics,
    explained,
)
from experiments.train.config import KeepConfig
from experiments.train.from_checkpoint import load_weights, refuse_differences
from experiments.train.parser import MODE, Mistake, Parser
from experiments.train.sizes import check_size, refused_size
from experiments.train.standard import keep_standard
from lit_inpaint import plugins, renamed
from lit_inpaint.callbacks import Restart, ValMetrics
from lit_inpaint.checkpoints import check_writable, is_inside
from lit_inpaint.classes import is_method
from lit_inpaint.classical import ClassicalModule
from lit_inpaint.ddp import check_strategy, meet_after_restart
from lit_inpaint.evaluated import for_trainer
from lit_inpaint.load import read_training
from lit_inpaint.malloc import keep_freed_memory
from lit_inpaint.method import parameter_counts
from lit_inpaint.stage import Stage


def _is_needed(record: logging.LogRecord) -> bool:
    """Neither a tip nor a resume, which is reported with its step."""
    said = record.getMessage()
    return "Tip:" not in said and not said.startswith(("Restoring states", "Restored all states"))


# Interpolations such as ${data.init_args.image_size} follow command-line overrides under every subcommand only so.
set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
warnings.filterwarnings("ignore", message=".*args parameter is intended to run from within Python.*")
warnings.filterwarnings("ignore", message="Using ModelCheckpoint with manual optimization")  # as is meant
warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # of a resume
warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero")  # our own is clearer
warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")  # of Lightning, against torch 2.15
logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_needed)
# "`weights_only` was not set" is said of what a file will hold, and reads as if files were opened unsafely.
logging.getLogger("lightning.pytorch.trainer.connectors.checkpoint_connector").setLevel(logging.WARNING)


class _InpaintCLI(LightningCLI):
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--init_from", type=str | None, default=None, help="start from the weights of this checkpoint, or zoo:NAME"
        )
        parser.add_argument(
            "--init_strict",
            type=bool,
            default=True,
            help="false: take the weights that fit, where not all do",
        )
        parser.add_argument(
            "--import", type=list[str] | None, default=None, help="modules of one's own, imported before anything else"
        )
        parser.add_argument(
            "--allow_changes",
            "--allow-changes",
            action="store_true",
            help="resume with another global batch or learning rate",
        )
        parser.add_argument(
            "--val_metrics",
            type=list[str],
            default=[],
            help="metrics that a validation logs beside its own: [fid, ...]",
        )
        parser.add_argument(
            "--weights",
            type=str,
            default="ema",
            choices=["ema", "raw"],
            help="evaluate the EMA weights if the checkpoint has them, or the raw ones",
        )

    def _parse_ckpt_path(self) -> None:
        """Lightning lets the checkpoint's class and arguments silently win over the command line; see main()."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self.config.subcommand]
        trainer = config.trainer
        check_root(trainer)
        devices = torch.cuda.device_count() if trainer.devices == "auto" else trainer.devices
        if trainer.strategy == "auto" and (devices not in (0, 1, "1") or trainer.num_nodes > 1):
            trainer.strategy = "ddp_find_unused_parameters_true"
        name = config.model.class_path.split(".")[-1] if config.model else ""
        if self.config.subcommand == "fit":
            keep_standard(trainer)
        if trainer.val_check_interval == 0:
            raise ValueError(
                "trainer.val_check_interval is 0; it is a number of batches, or a share of an epoch above 0."
            )
        if isinstance(trainer.val_check_interval, int) and trainer.check_val_every_n_epoch == 1:
            trainer.check_val_every_n_epoch = None  # batches of the run, not of an epoch: an epoch may be shorter
        _watch_present_keys(trainer.callbacks, name)
        cls = plugins.find(config.model.class_path) if config.model else None
        if self.config.subcommand == "fit" and is_method(cls) and not cls.trainable:
            if cls.stages:
                names = " and ".join(stage.__name__ for stage in cls.stages.values())
                raise ValueError(f"{cls.__name__} is trained in stages: fit {names}, then `lit-inpaint assemble`.")
            why = "is for evaluation only" if cls.imports else "has no parameters to fit"
            raise ValueError(f"{cls.__name__} {why}; use `lit-inpaint benchmark` or `inpaint`.")
        self.run: Run | None = None
        asked = config.get("ckpt_path")
        if asked in {"last", "auto"}:
            config.ckpt_path = _newest(trainer.default_root_dir, asked, self.config.subcommand)
        if self.config.subcommand == "fit" and not trainer.fast_dev_run:
            self._choose_folder(config, asked)
        elif self.config.subcommand == "fit":  # a trial leaves no trace; Lightning's own ModelCheckpoint would
            trainer.callbacks = [c for c in trainer.callbacks or [] if not c.class_path.endswith("Checkpoint")]
        checkpoint = config.get("ckpt_path")
        if checkpoint and checkpoint not in {"last", "best", "hpc"} and config.model:
            refuse_differences(config.model.as_dict(), Path(checkpoint), config.allow_changes)

    def instantiate_classes(self) -> None:
        super().instantiate_classes()
        if isinstance(self.model, ClassicalModule):
            self.model = for_trainer(self.model)

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except ValueError as error:  # Lightning's about a setting
            raise Mistake(str(error)) from error
        names = self.config[self.config.subcommand].val_metrics
        if names and self.config.subcommand in ("fit", "validate"):
            trainer.callbacks.append(ValMetrics(names))  # type: ignore[attr-defined]
        return trainer

    def _choose_folder(self, config: Namespace, asked: str | None) -> None:
        """A resumed run stays in its folder; a new one takes the next free name, also for derived paths."""
        run = Run(Path(config.trainer.default_root_dir))
        checkpoint = config.get("ckpt_path")
        own = checkpoint and is_inside(Path(checkpoint), run.folder)
        self.resumes = bool(run.exists and (own or asked == "auto"))
        if not _is_first_process():
            return
        if self.resumes and not checkpoint:
            tell(f"{run.folder} holds no whole checkpoint: the run starts over in it.")
        elif not self.resumes and run.exists:
            free, how = run.next_free(), "resume" if run.checkpoints else "start over (it has no checkpoint yet)"
            tell(f"{run.folder} already holds a run: this one is written to {free.folder}. To {how} the other:")
            tell(f"  {run.command}" if run.command else "  it has no configuration")
            moved(config.trainer, str(config.trainer.default_root_dir), str(free.folder))

    def after_instantiate_classes(self) -> None:
        config = self.config[self.config.subcommand]
        if isinstance(self.model, Stage):
            self.model.weights = config.weights
            if config.init_from and not config.get("ckpt_path"):
                for line in load_weights(self.model, Path(config.init_from), config.init_strict):
                    if _is_first_process():
                        tell(line)

    def before_fit(self) -> None:
        """Run all checks before a logger creates its first file and before other processes start."""
        config, trainer = self.config.fit, self.trainer
        callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        check_flags(config.trainer, self.model)
        check_monitors(callbacks, self.model)
        check_strategy(trainer, self.model)
        check_optimisers(self.model)
        self.datamodule.setup("fit")
        check_size(self.model, self.datamodule, trainer.world_size)
        check_val_metrics(trainer, self.model, self.datamodule)
        if trainer.is_global_zero:
            networks = ", ".join(f"{name} {count:,}" for name, count in parameter_counts(self.model).items())
            tell(f"{type(self.model).__name__}, parameters: {networks}")
        identity, resumed = Identity.of(config.as_dict(), self.datamodule, trainer), "no checkpoint"
        changes: list[str] = []
        if config.get("ckpt_path"):
            checkpoint = read_training(Path(config.ckpt_path))
            resumed = f"{config.ckpt_path} (step {checkpoint['global_step']})"
            unknown, changes = identity.check(checkpoint, config.ckpt_path, config.allow_changes)
            if trainer.is_global_zero:
                end = f" of {trainer.max_steps}" if trainer.max_steps > -1 else ""
                end += f" or epoch {trainer.max_epochs}" if (trainer.max_epochs or -1) > -1 else ""
                tell(f"Resumes at step {checkpoint['global_step']}{end} ({config.ckpt_path}).")
                for line in [*filter(None, [unknown]), *(f"{line}, as --allow-changes permits." for line in changes)]:
                    tell(line)
            if isinstance(self.datamodule, InpaintingDataModule):
                self.datamodule.may_deal_anew = config.allow_changes
        elif not trainer.fast_dev_run and self.resumes:  # type: ignore[attr-defined]
            identity.check_start(Run(Path(trainer.default_root_dir)).identity, trainer.default_root_dir)
        if trainer.strategy.root_device.type == "cpu":
            keep_freed_memory()
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        folder = Path(trainer.default_root_dir)

        def resume_command() -> str | None:
            return Run(folder).command

        if trainer.is_global_zero:
            check_writable(folder)
            self.run = Run.resume(folder) if self.resumes else Run.begin(folder)
        for callback in callbacks:
            if isinstance(callback, KeepConfig):
                callback.identity, callback.written = identity, getattr(self.parser, "written", None)
                callback.resumed, callback.changes = resumed, changes
            if isinstance(callback, Restart):
                callback.command = resume_command

    def before_validate(self) -> None:
        check_val_metrics(self.trainer, self.model, self.datamodule)
        meet_after_restart()

    def before_test(self) -> None:
        meet_after_restart()

    before_predict = before_test

    def fit(self, **arguments: Any) -> None:
        meet_after_restart()
        try:
            self.trainer.fit(**arguments)
        except (RuntimeError, ValueError, IndexError) as error:
            if (isinstance(error, ValueError) and is_mistake(error)) or (said := refused_size(error)) is None:
                raise
            raise Mistake(said) from error
        finally:
            if self.run is not None:
                self.run.release()


def _watch_present_keys(callbacks: Any, method: str) -> None:
    """Callbacks that monitor a logged key by an old name, or write it into a file's, follow the rename."""
    for callback in callbacks if isinstance(callbacks, list) else [callbacks] if callbacks else []:
        if arguments := callback.get("init_args"):
            for name, value in vars(arguments).items():
                arguments[name] = renamed.watched(value, method)


def _newest(folder: str | None, asked: str, command: str) -> str | None:
    """The newest whole checkpoint of a run folder, for ``--ckpt_path auto`` and ``last``.

    Raises:
        ValueError: There is none, and only a ``fit`` with ``auto`` can do without; or no folder is named.
    """
    if folder is None:
        raise ValueError(f"--ckpt_path {asked} needs a run: give --config RUN/config.yaml or --ckpt_path CHECKPOINT.")
    checkpoint, damaged = newest_whole(Run(Path(folder)).checkpoints)
    if _is_first_process():
        for line in damaged:
            tell(line)
        if damaged and checkpoint:
            tell(f"The newest whole checkpoint is {checkpoint}.")
    if checkpoint is None and (asked == "last" or command != "fit"):
        hint = "--ckpt_path auto starts a new run" if command == "fit" else "train it first, or give a checkpoint"
        raise ValueError(f"{folder} holds no whole checkpoint; {hint}.")
    return str(checkpoint) if checkpoint else None


def _is_first_process() -> bool:
    """Whether this is global rank 0, before Lightning knows it: only rank 0 chooses a folder."""
    ranks = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")
    return all(os.environ.get(name, "0") == "0" for name in ranks)


def main(argv: list[str]) -> int:
    """``argv`` begins with the subcommand."""
    arguments = prepare_arguments(argv)
    fit = {"default_config_files": [str(INSTALLED / "trainer.yaml")], "fitting": True}
    rest = {"default_config_files": [str(INSTALLED / "evaluation.yaml")]}
    try:
        _InpaintCLI(
            L.LightningModule,
            L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            parser_class=Parser,
            parser_kwargs={
                "parser_mode": MODE,
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
