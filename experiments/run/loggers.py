"""One folder per run, in which nothing is ever overwritten: config, metrics, W&B, checkpoints, run.json."""

import csv
import io
import math
import os
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities.rank_zero import rank_zero_only, rank_zero_warn

from experiments.files.write import write_text
from experiments.run.curves import read_segments, surviving
from experiments.run.folder import Run
from experiments.run.names import METRICS, WANDB_ID

_REPLAYED = 200  # rows; of W&B's log the last 32 KB may be lost, a few hundred bytes per row


class _Segment(ExperimentWriter):
    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self.metrics_file_path = str(METRICS.next(Path(log_dir)))

    def _check_log_dir_exists(self) -> None:
        """Skip Lightning's warning about deleting rows of the resumed run; a segment deletes nothing."""

    def save(self) -> None:
        try:
            super().save()
        except OSError as error:  # of a full disk, which names no file
            raise OSError(error.errno, error.strerror, self.metrics_file_path) from error

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        """Rewrite the file for a new column. Lightning overwrites it in place: a kill there would lose all rows."""
        text, path = io.StringIO(), Path(self.metrics_file_path)
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        writer = csv.DictWriter(text, fieldnames)
        writer.writeheader()
        writer.writerows(rows)
        write_text(path, text.getvalue())


class SegmentedCSVLogger(CSVLogger):
    """metrics.csv in the run folder; a restart writes metrics-1.csv, metrics-2.csv, ... beside it.

    Every row is written when it is logged: a kill loses none, and a sweep can read them during the run.
    """

    def __init__(self, save_dir: str, flush_logs_every_n_steps: int = 1) -> None:
        super().__init__(save_dir, name="", version="", flush_logs_every_n_steps=flush_logs_every_n_steps)

    @property
    def experiment(self) -> Any:
        if self._experiment is None and getattr(rank_zero_only, "rank", 0) == 0:
            self._experiment = _Segment(self.save_dir)
        return super().experiment

    def log_hyperparams(self, params: object = None, *args: object, **kwargs: object) -> None:
        """Log nothing: config.yaml and run.json hold everything."""


class RunWandbLogger(WandbLogger):
    """W&B, offline unless WANDB_MODE is set; one id for all restarts of a run folder; never ends a run.

    A kill loses what W&B's service has not written yet. A restart logs the last rows before its checkpoint again;
    these rows, and those of steps that are trained twice, carry ``replayed`` 1.

    Args:
        save_dir: The run folder; ``wandb sync <run folder>/wandb/offline-run-*`` uploads it later. If WANDB_DIR is set,
            W&B's own files lie there.
        project: On W&B (default: WANDB_PROJECT, or lit-inpaint). WANDB_NAME names the run (default: its folder).
        group: Runs of one sweep share it.
        log_model: Also upload checkpoints.
    """

    def __init__(
        self, save_dir: str, project: str | None = None, group: str | None = None, log_model: bool = False
    ) -> None:
        folder = Path(save_dir).absolute()  # W&B's service has a working folder of its own
        agent = os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else None  # it waits for this id
        mode = os.environ.get("WANDB_MODE", "online" if agent else "offline")
        self._id_file = folder / WANDB_ID
        super().__init__(
            save_dir=os.environ.get("WANDB_DIR") or str(folder),
            project=project or os.environ.get("WANDB_PROJECT") or "lit-inpaint",
            name=os.environ.get("WANDB_NAME") or folder.name,
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
        segments = read_segments(folder)
        self._logged = max((row.get("images_seen", -1.0) for rows in segments for row in rows), default=-1.0)
        rows = [(seen, row) for seen, row in surviving(segments)[0] if seen <= images_seen]
        for seen, row in rows[-_REPLAYED:]:
            values = {key: value for key, value in row.items() if key not in {"step", "epoch"}}
            self.log_metrics(values | {"images_seen": seen}, int(row["step"]) if "step" in row else None)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        again = metrics.get("images_seen", math.inf) <= self._logged
        super().log_metrics({**metrics, "replayed": 1.0} if again else metrics, step)

    @property
    def experiment(self) -> Any:
        if self._experiment is None and getattr(rank_zero_only, "rank", 0) == 0:
            if known := Run(self._id_file.parent).wandb_id:  # now: a copied folder has got another since __init__
                self._id = self._wandb_init["id"] = known
            else:
                write_text(self._id_file, f"{self._wandb_init['id']}\n")
            if wandb.run is not None and wandb.run.id != self._wandb_init["id"]:
                wandb.finish()  # of an earlier fit in this process; Lightning would log into it
            try:
                if not self._offline and (reason := _unreachable(wandb.setup().settings.base_url)):
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


def _unreachable(url: str) -> str | None:
    """Why ``url`` does not respond within three seconds; None if it does."""
    try:
        urllib.request.urlopen(url, timeout=3).close()
    except urllib.error.HTTPError as error:
        return str(error) if error.code >= 500 else None  # of a proxy before it
    except OSError as error:
        return str(getattr(error, "reason", error))
    return None
