"""A run folder: lock, newest files, status, and the command that resumes the run."""

import contextlib
import itertools
import json
import os
import shlex
import sys
import time
import uuid
from html import escape
from pathlib import Path

from experiments.files.markup import panel
from experiments.files.read import Plain, read_json
from experiments.files.write import write_text
from experiments.run.curves import Curve, History, last_logged, read_history
from experiments.run.lock import Lock
from experiments.run.names import CHECKPOINTS, CONFIG, FACTS, LOCK, METRICS, PANELS, STATUS, WANDB_ID
from experiments.run.newest import newest_whole
from experiments.run.processes import born, machine
from lit_inpaint import renamed
from masks.regular import read_text

SILENCE = 600.0  # seconds, after which a run on another machine counts as crashed


class Run:
    """One run. Reading needs no lock; ``begin`` and ``resume`` acquire it, ``release`` releases it.

    Files of a restart are numbered (config-1.yaml, run-1.json, metrics-1.csv): these numbers, and the start and step
    recorded in a checkpoint, determine the newest. File times do not, since copying changes them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._lock: Lock | None = None

    @classmethod
    def of(cls, path: Path) -> "Run | None":
        """The run that a saved configuration or a checkpoint belongs to; None for any other file."""
        folder = path.parent if CONFIG.among([path.name]) else None
        folder = path.parent.parent if path.suffix == ".ckpt" and path.parent.name == CHECKPOINTS else folder
        marked = folder is not None and any((folder / mark).is_file() for mark in (FACTS.name, STATUS, LOCK))
        return cls(folder) if folder is not None and marked else None

    # ---- what is there: read on every call ----------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether a run was ever started here."""
        numbered = any(kind.all(self.folder) for kind in (CONFIG, FACTS, METRICS))
        return numbered or (self.folder / STATUS).is_file() or bool(self.checkpoints)

    @property
    def configs(self) -> list[Path]:
        """The saved configuration of every start, in their order."""
        return CONFIG.all(self.folder)

    @property
    def metrics(self) -> list[Path]:
        """The table of every start that has logged something, in their order."""
        return METRICS.all(self.folder)

    @property
    def history(self) -> History:
        """Configuration, facts and curves; damaged files are skipped and reported in its note."""
        return read_history(self.folder)

    @property
    def curves(self) -> dict[str, Curve]:
        """By logged key, the segments of all starts joined by images seen."""
        return self.history.curves if self.metrics else {}

    def curve(self, key: str) -> Curve:
        """(images seen, value) of a logged key, which may have an old name; empty before it is first logged."""
        history = self.history if self.metrics else History(self.folder.name, str(self.folder))
        return history.curves.get(renamed.logged(key, history.method), [])

    def last_logged(self, key: str) -> float | None:
        """The last value of the last start, as it was logged, infinite ones included."""
        return last_logged(self.folder, key)

    @property
    def checkpoints(self) -> list[Path]:
        return sorted((self.folder / CHECKPOINTS).glob("*.ckpt"))

    @property
    def checkpoint(self) -> Path | None:
        """The newest whole checkpoint, by its recorded start and step."""
        return newest_whole(self.checkpoints)[0]

    @property
    def identity(self) -> Plain | None:
        """What its last start trained as, see :class:`experiments.run.Identity`; None if it did not say so."""
        return self._last_facts.get("identity")

    @property
    def _last_facts(self) -> Plain:
        """What its last start recorded; empty if it is damaged or there is none."""
        with contextlib.suppress(OSError, ValueError):
            for path in FACTS.all(self.folder)[-1:]:
                return read_json(path)
        return {}

    @property
    def panels(self) -> list[Path]:
        """Panels of the validation images, the newest last."""
        numbered = (self.folder / PANELS).glob("step-*.png")  # step-8.png, after a restart from before it step-8-1.png
        return sorted(numbered, key=lambda path: [int(number) for number in path.stem.split("-")[1:]])

    def _repr_html_(self) -> str:
        """State and newest panel, for a notebook."""
        state, reason = self.status
        said = ", ".join(filter(None, [state, reason]))
        newest = {path.stem: [path] for path in self.panels[-1:]}
        return f"<p><b>{escape(self.folder.name)}</b>: {escape(said)}</p>{panel(newest, side=1200)}"

    @property
    def wandb_id(self) -> str | None:
        """None too where the file is empty, as a full disk may leave it."""
        path = self.folder / WANDB_ID
        return read_text(path).strip() or None if path.is_file() else None

    @property
    def command(self) -> str | None:
        """Shell-quoted command that resumes this run from its newest checkpoint, or restarts it if it has none."""
        if not (configs := self.configs):
            return None
        imports = [word for module in _imports(configs[-1]) for word in ("--import", module)]
        allowed = ["--allow-changes"] if self._last_facts.get("changes") else []  # it may not have saved under them yet
        return shlex.join(
            ["lit-inpaint", "fit", "--config", str(configs[-1]), "--ckpt_path", "auto", *allowed, *imports]
        )

    @property
    def status(self) -> tuple[str, str | None]:
        """State of the run and the reason; a killed run is detected by its process or its silence."""
        path = self.folder / STATUS
        if not path.is_file():
            return "unknown", None
        said = read_json(path)
        if said["state"] == "running":
            if said["machine"] == machine():
                if born(said["pid"]) != said["born"]:
                    return "crashed", "its process was killed"
            elif (silent := time.time() - said["beat"]) > SILENCE:
                return "crashed", f"silent for {silent / 60:.0f} minutes on {said['machine'].split('/')[0]}"
        return said["state"], said["error"]

    # ---- writing -----------------------------------------------------------------------------------------------------

    def keep_config(self, text: str) -> int:
        """Save the configuration of this start; return the number of earlier ones."""
        starts = len(self.configs)
        write_text(CONFIG.next(self.folder), text)
        return starts

    def keep_facts(self, facts: Plain) -> None:
        write_text(FACTS.next(self.folder), json.dumps(facts, indent=1) + "\n")

    def keep_status(self, state: str, error: str | None, **facts: object) -> None:
        """Write the status of the run and its process."""
        process = {"machine": machine(), "pid": os.getpid(), "born": born(os.getpid()), "beat": time.time()}
        said = {"state": state, "error": error, **facts, "command": self.command, **process}
        write_text(self.folder / STATUS, json.dumps(said, indent=1) + "\n")

    def next_free(self) -> "Run":
        """This folder if it holds no run, else name-1, name-2, ..., the first that is missing or empty."""
        if not self.exists:
            return self
        folder = self.folder if self.folder.name not in ("", "..") else self.folder.resolve()
        numbered = (folder.with_name(f"{folder.name}-{n}") for n in range(1, 1_000_000))
        return Run(next(path for path in numbered if not path.exists() or not any(path.iterdir())))

    @classmethod
    def begin(cls, folder: Path) -> "Run":
        """Lock a folder without a run (see :meth:`next_free`).

        Raises:
            ValueError: If another process writes there, or has done so in the meantime.
        """
        run = cls(folder)
        run._take()
        if run.exists:
            run.release()
            raise ValueError(
                f"another run has just started in {folder}; run the command again to get a separate folder."
            )
        run._sweep()
        return run

    @classmethod
    def resume(cls, folder: Path) -> "Run":
        """Lock the run's folder, remove partial files of killed processes, and settle its W&B id.

        The caller has compared identities before (:meth:`experiments.run.Identity.check`): nothing is written until
        a resume is accepted.

        Raises:
            ValueError: If another process holds the lock, naming it.
        """
        run = cls(folder)
        before = run._take()
        run._sweep()
        run._keep_or_renew_wandb_id(before)
        return run

    def _sweep(self) -> None:
        for part in (self.folder / CHECKPOINTS).glob(".*.part"):  # under the lock nobody else writes here
            part.unlink(missing_ok=True)

    def _take(self) -> Plain:
        self._lock, before = Lock.take(self.folder)
        return before

    def release(self) -> None:
        """Let another process write here."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _keep_or_renew_wandb_id(self, before: Plain) -> None:
        """A renamed folder keeps its W&B run; a copy gets a new one. Both are reported."""
        path, here, old = self.folder / WANDB_ID, self.folder.resolve(), self.wandb_id
        there, copied = Path(before.get("folder", here)), False
        if old is None or there == here or before.get("inode") == list(Lock.inode(self.folder)):
            return
        with contextlib.suppress(OSError):  # the folder of somebody else, closed to others
            copied = Run(there).wandb_id == old
        if copied:
            new = uuid.uuid4().hex[:8]
            write_text(path, new + "\n")
            tell(f"{self.folder} is a copy of {there}: it now uses W&B run {new}, not {old}.")
        else:
            tell(f"{self.folder} was {there} before: it keeps its W&B run {old}. If it is a copy, delete {path} first.")


def _imports(config: Path) -> list[str]:
    """The modules that a saved configuration names; none of one that is damaged."""
    with contextlib.suppress(OSError, ValueError):
        lines = read_text(config).splitlines()
        start = lines.index("import:") + 1  # YAML as we write it: reading it whole takes 0.1 s, at every heartbeat
        return [line[2:] for line in itertools.takewhile(lambda line: line.startswith("- "), lines[start:])]
    return []


def tell(text: str) -> None:
    """Print a notice for the user, apart from the logs."""
    print(text, file=sys.stderr, flush=True)
