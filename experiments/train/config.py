"""Metadata of a run: config.yaml, run.json, and the same facts for every logger."""

import copy
import os
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import SequentialSampler

from datamodules import EvaluationSet
from datamodules.sampler import EvaluationSampler
from experiments.files.read import Plain
from experiments.run import Identity, Run
from experiments.run.loggers import RunWandbLogger
from experiments.run.place import to_save
from masks.size import plain


class KeepConfig(SaveConfigCallback):
    """config.yaml of the run, as parsed; a restart writes config-1.yaml, config-2.yaml, ... Checkpoints record which
    start of the run wrote them, and the identity that a resume compares."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **(kwargs | {"save_to_log_dir": False}))
        self.identity: Identity | None = None
        self.written: Plain | None = None  # before interpolations were resolved
        self.resumed = "no checkpoint"  # by this process
        self.changes: list[str] = []  # of the settings that this start resumes with
        self._start = 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """
        Raises:
            ValueError: The processes found different checkpoints: each looks for the newest, and a network file system
                may show an older state of the folder to some of them.
        """
        first = trainer.strategy.broadcast(self.resumed)
        if first != self.resumed:
            raise ValueError(
                f"process {trainer.global_rank} found {self.resumed} in {trainer.default_root_dir}, process 0 {first}. "
                "The run folder must be the same for all processes; run the same command again."
            )
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        resolved = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        self._start = Run(Path(trainer.default_root_dir)).keep_config(to_save(resolved, self.written))

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: Plain) -> None:
        checkpoint["run"] = {"start": self._start, "identity": self.identity.facts if self.identity else None}


class RunRecord(L.Callback):
    """run.json and the loggers' config: method, data set, masks, seed, global batch, hash of the ``val`` protocol,
    under the same keys for every method, so that dashboards can be compared."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        from lit_inpaint.callbacks import Throughput
        from lit_inpaint.method import parameter_counts

        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        data: object = trainer.datamodule  # type: ignore[attr-defined]
        digest, validated = validation_hash(trainer)
        record = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "method": type(pl_module).__name__,
            "dataset": type(data).__name__,
            "mask": repr(getattr(data, "mask", None)),
            "image_size": plain(size) if (size := getattr(data, "image_size", None)) is not None else None,
            "seed": int(os.environ.get("PL_GLOBAL_SEED", 0)),
            "global_batch": global_batch(trainer, pl_module),
            "val_protocol_hash": digest,
            "val_samples": validated,
            "parameters": parameter_counts(pl_module),
            "data": data.summary() if hasattr(data, "summary") and trainer.is_global_zero else None,
        }
        restarted_at = next((c.images_seen for c in trainer.callbacks if isinstance(c, Throughput)), 0)  # type: ignore[attr-defined]
        for logger in trainer.loggers:
            logger.log_hyperparams(record)
            if isinstance(logger, RunWandbLogger) and restarted_at and trainer.is_global_zero:
                logger.replay(Path(trainer.default_root_dir), restarted_at)
        if trainer.is_global_zero:
            keeper = next((c for c in trainer.callbacks if isinstance(c, KeepConfig)), None)  # type: ignore[attr-defined]
            if keeper and keeper.identity:
                record |= {"changes": keeper.changes, "identity": keeper.identity.facts}
            Run(Path(trainer.default_root_dir)).keep_facts(record)


def global_batch(trainer: L.Trainer, module: L.LightningModule) -> int | None:
    """Images per step, over all devices and accumulated batches; None of a loader that does not know its batch size."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    size = getattr(data, "batch_size", None)
    if size is None and isinstance(data, L.LightningDataModule):
        sizes = [_batch_size(loader) for loader in CombinedLoader(data.train_dataloader(), "max_size_cycle").flattened]
        size = None if None in sizes else sum(sizes)  # a batch holds one of each loader
    return None if size is None else int(size) * trainer.world_size * int(getattr(module, "accumulate", 1))


def _batch_size(loader: Any) -> Any:
    return getattr(loader, "batch_size", None) or getattr(getattr(loader, "batch_sampler", None), "batch_size", None)


def validation_hash(trainer: L.Trainer) -> tuple[str | None, int]:
    """Hash of the validation samples of this fit, and their number; None without validation.

    Of a part (``limit_val_batches``, a number or a share; ``overfit_batches``) the hash covers only that part, and
    for a custom loader, what that loader reads.
    """
    from experiments.records.definition import define
    from experiments.records.record import hash_of
    from lit_inpaint.metrics import CHEAP

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "training without validation": said again when it begins
            parts = validated(trainer.datamodule, trainer)  # type: ignore[attr-defined]
        hashes = [hash_of(define(part.fingerprint(), CHEAP)) for part in parts if len(part)]
    except (ValueError, AttributeError, TypeError, MisconfigurationException):  # it trains all the same
        return None, 0
    return (hashes[0] if len(hashes) == 1 else hash_of(hashes) if hashes else None), sum(map(len, parts))


def validated(data: L.LightningDataModule, trainer: L.Trainer) -> list[EvaluationSet]:
    """The samples that a validation reads, by loader; raises a TypeError for loaders that are not ours."""
    loaders = data.val_dataloader()
    return [_part(loader, trainer) for loader in (loaders if isinstance(loaders, list | tuple) else [loaders])]


def _part(loader: Any, trainer: L.Trainer) -> EvaluationSet:
    """The samples of a loader that a validation reads."""
    data, share = loader.dataset, trainer.limit_val_batches  # Lightning puts overfit_batches there as well
    batches = min(share, len(loader)) if isinstance(share, int) else int(share * len(loader))
    if not isinstance(data, EvaluationSet) or not isinstance(loader.sampler, EvaluationSampler | SequentialSampler):
        raise TypeError("not our own validation set: nothing is known of its samples")
    if len(data):
        data.draw_mask(0)  # masks are paired with all images, not with those of the part
    part = copy.copy(data)
    # Ranks take turns at the samples: so many batches of each are the first so many samples of all.
    turns = 1 if trainer.overfit_batches else trainer.world_size  # type: ignore[attr-defined]
    part.samples = min(len(data), batches * loader.batch_size * turns)
    part.images = min(data.images, part.samples) or data.images
    return part
