"""Cost columns beside the metrics, on the screen, in Markdown, CSV and LaTeX, and on the page."""

from collections.abc import Callable
from dataclasses import dataclass

from experiments.compare.numbers import millions, significant
from experiments.records.record import Record


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
    """

    name: str
    heading: str
    unit: str
    about: str
    read: Callable[[Record], float | None]
    write: Callable[[float], str]


def _parameters(record: Record) -> int | None:
    counts = record.method.parameters
    return None if counts is None or record.not_applicable else sum(counts.values())


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
        "Parameters of all networks that the method holds.",
        _parameters,
        millions,
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
