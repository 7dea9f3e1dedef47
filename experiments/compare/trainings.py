"""What a study says of its trainings, so that rows have their core-hours and curves an axis on which methods compare.

`study` writes it as trainings.json beside its page and hands it to `compare`. Seconds are those of a core on a CPU.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from experiments.compare.costs import Cost
from experiments.compare.numbers import significant
from experiments.compare.table import Table
from experiments.records.record import PublishedRow

_EXACT = ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True)
class Training:
    """One run of fit.

    Args:
        label: The record that stands on it.
        stage: Which of several; empty where there is one.
        seconds_per_image: None where it was not measured.
    """

    label: str
    stage: str
    seconds_per_image: float | None
    __pydantic_config__: ClassVar = _EXACT


@dataclass(frozen=True)
class Trainings:
    """
    Args:
        hours: Core-hours of all stages, by label of a record; 0 for what is not trained.
        shared: Labels of records whose training is that of another one, and whose.
        runs: By the run's folder.
        published: By mask, rows that papers have printed under another protocol.
    """

    hours: dict[str, float] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    runs: dict[str, Training] = field(default_factory=dict)
    published: dict[str, list[PublishedRow]] = field(default_factory=dict)
    __pydantic_config__: ClassVar = _EXACT

    def of(self, folder: str) -> Training | None:
        return self.runs.get(str(Path(folder).resolve()))

    def label_of(self, folder: str) -> str | None:
        """``DSI-seed0, texture``; None where the run is of no study."""
        one = self.of(folder)
        return f"{one.label}, {one.stage}".removesuffix(", ") if one else None

    @property
    def cost(self) -> Cost:
        return Cost(
            "core_hours",
            "core-hours",
            "core-hours of training",
            "Hours of one core that training took, all stages together: seconds of a step, measured, times its steps.",
            lambda record: self.hours.get(record.label),
            lambda value: "0" if value == 0 else significant(value, 2),
            lambda record: f"those of {self.shared[record.label]}" if record.label in self.shared else "",
        )

    def add_to(self, tables: list[Table]) -> None:
        """A column for the rows that are known here."""
        for table in tables if self.hours else ():
            table.more_costs = [self.cost]


_TRAININGS = TypeAdapter(Trainings)
NOTHING = Trainings()


def read(path: Path | None) -> Trainings:
    """
    Raises:
        ValueError: The file is not what `study` writes.
    """
    if path is None:
        return NOTHING
    try:
        return _TRAININGS.validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path} was not written by `lit-inpaint study` ({error.errors()[0]['msg']}).") from None
