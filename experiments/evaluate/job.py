"""One method under one protocol, with the paths of its outputs."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from experiments.evaluate.outputs import PREFIX, Made, Outputs
from experiments.evaluate.protocol import Protocol
from experiments.evaluate.source import Network, Source
from experiments.records.record import hash_of
from lit_inpaint import plugins
from lit_inpaint.metrics import Features, Metric, metric, refusal, unavailable
from masks.size import sides

_FILES = 8  # images of 256x256; fewer larger ones


@dataclass(frozen=True)
class Job:
    """A job for one process: a method (class name, checkpoint, outputs:FOLDER) under a protocol, with an output folder.

    Args:
        settings: All other parsed arguments that can change a result.
        made: What a folder of outputs holds.
        sampler: Name and arguments of the sampler to complete with, instead of the checkpoint's.
        pictures_kept: Whether inputs, truths, masks and completions are written as pictures.
    """

    method: str
    label: str
    protocol: Protocol
    out: Path
    weights: Literal["ema", "raw"] = "ema"
    batch_size: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    made: Made = "composited"
    sampler: tuple[str, ...] = ()
    pictures_kept: bool = True

    @property
    def together(self) -> int:
        """Images that are measured and journaled together. Files cost no time to repeat after a kill, so there are
        more of them: a batch of eight takes LPIPS a sixth less time per image."""
        if not self.method.startswith(PREFIX):
            return self.batch_size
        return max(self.batch_size, _FILES * 256**2 // max(math.prod(sides(self.protocol.images.size)), 256**2))

    @property
    def record_path(self) -> Path:
        return self.out / "records" / self.protocol.folder / f"{self.label}.json"

    @property
    def journal_folder(self) -> Path:
        return self.out / "journal" / self.protocol.folder / self.label

    @cached_property
    def _features_names(self) -> dict[Features, str]:
        """Name of the folder of each kind of features; those of one's own metrics are not those of edited code."""
        users: dict[Features, list[str]] = {}
        for function in self.metrics.values():
            if function.features:
                users.setdefault(function.features, []).append(function.__module__)
        hashes = {features: plugins.sources(modules) for features, modules in users.items()}
        return {f: f"{f.folder}-{hash_of(found)[:8]}" if found else f.folder for f, found in hashes.items()}

    def features_folder(self, features: Features) -> Path:
        return self.journal_folder / self._features_names[features]

    def truth_features_folder(self, features: Features) -> Path:
        """Features of the ground truth, shared by all methods."""
        return self.journal_folder.parent / f"_truth_{self._features_names[features]}"

    def pictures(self, kind: str) -> Path:
        return self.out / "images" / self.protocol.folder / kind

    def source(self) -> Source:
        if self.method.startswith(PREFIX):
            return Outputs(Path(self.method.removeprefix(PREFIX)), self.label, self.protocol, self.made)
        return Network(self.method, self.label, self.protocol, self.weights, self.sampler)

    @cached_property
    def left_out(self) -> dict[str, str]:
        """Metrics of the protocol that cannot be computed here, and why."""
        count = len(self.protocol.images)
        reasons = {name: unavailable(name) or refusal(metric(name), count) for name in self.protocol.metrics}
        return {name: reason for name, reason in reasons.items() if reason}

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """Those of the protocol that can be computed here."""
        return {name: metric(name) for name in self.protocol.metrics if name not in self.left_out}

    def identity(self) -> dict[str, Any]:
        """A journal with a different identity is discarded and restarted."""
        return self._identity

    @cached_property
    def _identity(self) -> dict[str, Any]:
        given = {"protocol": self.protocol.hash, "batch_size": self.together, "settings": self.settings}
        given |= {"sampler": list(self.sampler)} if self.sampler else {}
        if not self.pictures_kept:  # asked for later, they are made
            given["pictures_kept"] = False
        # A changed definition changes the hash; code may change without its words.
        if sources := plugins.sources(function.__module__ for function in self.metrics.values()):
            given["metrics"] = sources
        return given | self.source().identity() | {"left_out": sorted(self.left_out)}
