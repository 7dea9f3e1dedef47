"""One folder a run, in which nothing is ever overwritten: config, metrics, W&B, checkpoints, run.json."""

import copy
import csv
import io
import json
import math
import os
import urllib.error
import urllib.request
import uuid
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning as L
import wandb
import yaml
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_only, rank_zero_warn
from torch.utils.data import SequentialSampler

from datamodules import EvaluationSet
from datamodules.sampler import EvaluationSampler
from experiments.files import next_free, write_text
from experiments.run import Identity, Run
from experiments.run.folder import WANDB_ID
from experiments.run.place import to_save

REPLAYED = 200  # rows; of W&B's log the last 32 KB may be lost, some hundred bytes a row


class _Segment(ExperimentWriter):
    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self.metrics_file_path = str(next_free(Path(log_dir) / self.NAME_METRICS_FILE))

    def _check_log_dir_exists(self) -> None:
        """Lightning warns here that it will delete the rows of the run that it continues; a segment deletes nothing."""

    def save(self) -> None:
        try:
            super().save()
        except OSError as error:  # of a full disk, which names no file
            raise OSError(error.errno, error.strerror, self.metrics_file_path) from error

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        """For a new column. Lightning writes over the file in place: a kill there would lose all rows so far."""
        text, path = io.StringIO(), Path(self.metrics_file_path)
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        writer = csv.DictWriter(text, fieldnames)
        writer.writeheader()
        writer.writerows(rows)
        write_text(path, text.getvalue())


class SegmentedCSVLogger(CSVLogger):
    """metrics.csv in the run folder; a restart writes metrics-1.csv, metrics-2.csv, ... beside it.

    Every row is written when it is logged: a kill loses none, and a sweep reads them while the run goes on.
    """

    def __init__(self, save_dir: str, flush_logs_every_n_steps: int = 1) -> None:
        super().__init__(save_dir, name="", version="", flush_logs_every_n_steps=flush_logs_every_n_steps)

    @property
    def experiment(self) -> Any:
        if self._experiment is None and getattr(rank_zero_only, "rank", 0) == 0:
            self._experiment = _Segment(self.save_dir)
        return super().experiment

    def log_hyperparams(self, params: Any = None, *args: Any, **kwargs: Any) -> None:
        """Nothing: config.yaml and run.json say it all."""


class RunWandbLogger(WandbLogger):
    """W&B, offline unless WANDB_MODE says otherwise; one id over all restarts of a run folder; never ends a run.

    A kill takes what W&B's service has not written yet. A restart logs the last rows before its checkpoint once more;
    they, and those of steps that are trained a second time, carry ``replayed`` 1.

    Args:
        save_dir: The run folder; ``wandb sync <run folder>/wandb/offline-run-*`` uploads it later.
        project: On W&B.
        group: Runs of one sweep share it.
        log_model: Upload checkpoints as well.
    """

    def __init__(
        self, save_dir: str, project: str = "lit-inpaint", group: str | None = None, log_model: bool = False
    ) -> None:
        folder = Path(save_dir).absolute()  # W&B's service has a working folder of its own
        agent = os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else None  # it waits for this id
        mode = os.environ.get("WANDB_MODE", "online" if agent else "offline")
        self._id_file = folder / WANDB_ID
        super().__init__(
            save_dir=str(folder),
            project=project,
            name=folder.name,
            id=agent or uuid.uuid4().hex[:8],
            group=group or os.environ.get("WANDB_RUN_GROUP"),
            resume="allow",
            offline=mode != "online",
            log_model=log_model,
        )
        self._wandb_init.pop("anonymous", None)  # deprecated by wandb, still sent by Lightning
        self._wandb_init["settings"] = wandb.Settings(init_timeout=10, console="off", silent=True)
        if mode == "disabled":
            self._wandb_init["mode"] = "disabled"
        self._logged = -1.0  # images seen in what earlier starts of this run have logged

    def replay(self, folder: Path, images_seen: float) -> None:
        """Log the last rows of ``folder`` before a restart at ``images_seen`` again."""
        from experiments.compare.reader import read_segments, surviving

        segments = read_segments(folder)
        self._logged = max((row.get("images_seen", -1.0) for rows in segments for row in rows), default=-1.0)
        rows = [(seen, row) for seen, row in surviving(segments)[0] if seen <= images_seen]
        for seen, row in rows[-REPLAYED:]:
            values = {key: value for key, value in row.items() if key not in {"step", "epoch"}}
            self.log_metrics(values | {"images_seen": seen}, int(row["step"]) if "step" in row else None)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        again = metrics.get("images_seen", math.inf) <= self._logged
        super().log_metrics({**metrics, "replayed": 1.0} if again else metrics, step)

    @property
    def experiment(self) -> Any:
        if self._experiment is None and getattr(rank_zero_only, "rank", 0) == 0:
            if self._id_file.is_file():  # read now: a copied folder has got another since this logger was made
                self._id = self._wandb_init["id"] = self._id_file.read_text().strip()
            else:
                write_text(self._id_file, f"{self._wandb_init['id']}\n")
            if wandb.run is not None and wandb.run.id != self._wandb_init["id"]:
                wandb.finish()  # of an earlier fit in this process; Lightning would log into it
            try:
                if not self._offline and (reason := unreachable(wandb.setup().settings.base_url)):
                    raise OSError(reason)  # W&B itself would ask again until its timeout
                return super().experiment
            except Exception as error:  # no network, no key, no service: the run matters more than its log
                rank_zero_warn(
                    f"W&B could not be reached ({' '.join(str(error).split())[:120]}); this run is logged offline. "
                    f"Later: wandb sync {self.save_dir}/wandb/offline-run-*"
                )
                wandb.teardown()  # its service holds the id of a run that could not begin
                self._wandb_init["mode"] = "offline"
                self._offline = True
        return super().experiment


def unreachable(url: str) -> str | None:
    """Why nothing answers at ``url`` within three seconds; None if something does."""
    try:
        urllib.request.urlopen(url, timeout=3).close()
    except urllib.error.HTTPError as error:
        return str(error) if error.code >= 500 else None  # of a proxy before it
    except OSError as error:
        return str(getattr(error, "reason", error))
    return None


class KeepConfig(SaveConfigCallback):
    """config.yaml of the run, as parsed; a restart writes config-1.yaml, config-2.yaml, ... Checkpoints record which
    start of the run wrote them, and the identity that a resume compares."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **(kwargs | {"save_to_log_dir": False}))
        self.identity: Identity | None = None
        self.written: dict[str, Any] | None = None  # before interpolations were resolved
        self._start = 0

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        run = Run(Path(trainer.default_root_dir))
        self._start = run.starts
        resolved = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        text = to_save(resolved, self.written)
        write_text(next_free(run.folder / "config.yaml"), text)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["run"] = {"start": self._start, "identity": self.identity.facts if self.identity else None}


class RunRecord(L.Callback):
    """run.json and the loggers' config: method, data set, masks, seed, global batch, hash of the ``val`` protocol,
    under the same keys for every method, so that dashboards can be compared."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        from lit_inpaint.callbacks import Throughput
        from lit_inpaint.module import parameter_counts

        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        digest, validated = validation_hash(trainer)
        record = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "method": type(pl_module).__name__,
            "dataset": type(data).__name__,
            "mask": repr(getattr(data, "mask", None)),
            "image_size": getattr(data, "image_size", None),
            "seed": int(os.environ.get("PL_GLOBAL_SEED", 0)),
            "global_batch": getattr(data, "batch_size", 1) * trainer.world_size,
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
            path = next_free(Path(trainer.default_root_dir) / "run.json")
            write_text(path, json.dumps(record, indent=1) + "\n")


def validation_hash(trainer: L.Trainer) -> tuple[str | None, int]:
    """Hash of what this fit validates on, and how many samples that is; None where there is none.

    Of a part (``limit_val_batches``, a number or a share; ``overfit_batches``) the hash covers that part alone, and
    of a loader of the user's own, what that loader reads.
    """
    from experiments.protocol import define, hash_of
    from lit_inpaint.metrics import CHEAP

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "training without validation": said again when it begins
            loaders = trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]
        parts = [_part(loader, trainer) for loader in (loaders if isinstance(loaders, list | tuple) else [loaders])]
        hashes = [hash_of(define(part.fingerprint(), CHEAP)) for part in parts if len(part)]
    except (ValueError, AttributeError, TypeError, MisconfigurationException):  # it trains all the same
        return None, 0
    return (hashes[0] if len(hashes) == 1 else hash_of(hashes) if hashes else None), sum(map(len, parts))


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
