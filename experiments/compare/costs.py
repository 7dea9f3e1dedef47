"""Cost columns beside the metrics, on the screen, in Markdown, CSV and LaTeX, and on the page."""

from collections.abc import Callable
from dataclasses import dataclass

from experiments.compare.numbers import millions, significant
from experiments.records.record import Record
from lit_inpaint.method import TRAINING_ONLY


@dataclass(frozen=True)
class Cost:
    """One column. Less of a cost is better; a quantity of which more is better is a metric.

    Args:
        name: Name of the CSV column.
        heading: Heading of the column in a table.
        unit: What the number counts, in words: the axis of a chart.
        about: One sentence for readers of the page.
        read: Value from a record; None if unknown.
        write: Value as text, with its unit unless the heading has it.
        beside: What stands below the value on the page; empty for nothing.
    """

    name: str
    heading: str
    unit: str
    about: str
    read: Callable[[Record], float | None]
    write: Callable[[float], str]
    beside: Callable[[Record], str] = lambda record: ""


def _parameters(record: Record) -> int | None:
    """Parameters of the networks that complete an image."""
    counts = record.method.parameters
    if counts is None or record.not_applicable:
        return None
    return sum(count for name, count in counts.items() if not name.startswith(TRAINING_ONLY))


def _rest(record: Record) -> str:
    counts = record.method.parameters or {}
    rest = sum(count for name, count in counts.items() if name.startswith(TRAINING_ONLY))
    return f"+ {millions(rest)} to train" if rest and not record.not_applicable else ""


COSTS = (
    Cost(
        "seconds_per_image",
        "s / image",
        "seconds per image",
        "Seconds per image, on the device named below.",
        lambda record: record.seconds_per_image,
        significant,
    ),
    Cost(
        "network_calls",
        "calls",
        "network calls per image",
        "Forward and backward passes of the networks per image, for all its completions.",
        lambda record: record.network_calls,
        significant,
    ),
    Cost(
        "parameters",
        "parameters",
        "parameters",
        "Parameters of the networks that complete an image; below, those that only training needs.",
        _parameters,
        millions,
        _rest,
    ),
    Cost(
        "peak_memory_bytes",
        "memory",
        "bytes of memory",
        "Peak memory.",
        lambda record: record.peak_memory_bytes,
        lambda value: f"{significant(value / 2**20)} MiB",
    ),
)
