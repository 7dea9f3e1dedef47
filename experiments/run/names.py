"""The names of the files in a run folder."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from masks.atomic import next_free

CHECKPOINTS, PANELS = "checkpoints", "panels"
LOCK, STATUS, WANDB_ID = ".lock", "status.json", "wandb_id.txt"


class Numbered(NamedTuple):
    """A file that every start of a run writes under a new number: config.yaml, config-1.yaml, config-2.yaml, ..."""

    stem: str
    suffix: str

    @property
    def name(self) -> str:
        return f"{self.stem}.{self.suffix}"

    def among(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that are such files, in the order of the starts.

        >>> CONFIG.among(["config-10.yaml", "config-2.yaml", "config.yaml", "config-x.yaml"])
        ['config.yaml', 'config-2.yaml', 'config-10.yaml']
        """
        pattern = re.compile(rf"{self.stem}(?:-(\d+))?\.{self.suffix}")
        found = [(int(match[1] or 0), name) for name in names if (match := pattern.fullmatch(name))]
        return [name for _, name in sorted(found)]

    def all(self, folder: Path) -> list[Path]:
        names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
        return [folder / name for name in self.among(names)]

    def next(self, folder: Path) -> Path:
        """Where this start writes."""
        return next_free(folder / self.name)


CONFIG, FACTS, METRICS = Numbered("config", "yaml"), Numbered("run", "json"), Numbered("metrics", "csv")
