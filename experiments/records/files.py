"""Records on disk: JSON that is validated on write and on read."""

import json
import math
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from experiments.files.write import write_text
from experiments.records.record import FORMAT, MetricResult, PublishedRow, Record, close, votes_of

_RECORD, _COLUMN = TypeAdapter(Record), TypeAdapter(MetricResult)
_PUBLISHED = TypeAdapter(list[PublishedRow])


class NewerFormatError(ValueError):
    """The file is intact but written by a newer version: it must not be overwritten."""


def text_of(record: Record) -> str:
    """The JSON of a record. Keys that 0.1.0 did not have are only written if they carry information."""
    content = asdict(record)
    del content["path"]
    later = [(content["method"], key) for key in ("outputs", "repository", "revision", "settings", "sources", "given")]
    later += [(content["protocol"], key) for key in ("data", "mask_set")]
    for part, key in ((content, "network_calls"), (content, "refused"), (content, "known_change"), *later):
        if part.get(key) is None:
            part.pop(key, None)
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def write_record(record: Record, path: Path) -> None:
    """Write a validated record atomically.

    Raises:
        ValueError: The record contradicts itself, or holds a value of another type.
    """
    record.check()
    text = text_of(record)
    _RECORD.validate_json(text)
    write_text(path, text)


def read_record(path: Path) -> Record:
    """Read and validate a record: its hash against its definition, its means and intervals against its values.

    Raises:
        NewerFormatError: It was written by a newer version.
        ValueError: The file is not a record, has another format, or is inconsistent.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text)
        newer = data.get("format") if isinstance(data, dict) else None
        if not (isinstance(newer, int) and newer > FORMAT):
            record = _RECORD.validate_json(text)
            record.check()
            record.path = path
            return record
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a benchmark record ({_reason(error)}); delete it and run again.") from error
    raise NewerFormatError(f"{path} has format {newer}, of a newer lit-inpaint; this one reads {FORMAT}. Update it.")


def read_column(path: Path, hashes: dict[str, str]) -> MetricResult:
    """The column of votes that `lit-inpaint vote --result` wrote; a reason instead if a method has changed since.

    Args:
        hashes: ``method_hash`` of the methods of this folder, by label.

    Raises:
        ValueError: The file is not such a column, or its mean does not match its values.
    """
    try:
        content = json.loads(path.read_bytes())
        about = content.pop("about", {}) if isinstance(content, dict) else {}  # earlier versions did not write it
        metric = _COLUMN.validate_json(json.dumps(content))
        if changed := sorted(label for label, known in about.items() if hashes.get(label, known) != known):
            return MetricResult(metric.definition, reason=f"votes on earlier pictures by {' and '.join(changed)}")
        defined = [v for v in metric.values.values() if v is not None]
        if not close(metric.mean, math.fsum(defined) / len(defined) if defined else None) or metric.n != len(defined):
            raise ValueError(f"the mean of its {metric.n} images, {metric.mean}, is not that of its values")
        return metric
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is not a column of votes ({_reason(error)}); `vote --result` rewrites it.") from error


def write_column(metric: MetricResult, path: Path, about: dict[str, str]) -> None:
    """Write a method's votes; ``about``: the ``method_hash`` of those whose pictures were compared, by label."""
    write_text(path, json.dumps({**asdict(metric), "about": about}, indent=1, allow_nan=False) + "\n")


def forget(record: Path) -> None:
    """Delete the record of a method that is measured anew, and the columns of votes on its pictures; those on pictures
    that stay the same are written again by `vote --result`."""
    record.unlink(missing_ok=True)
    own = votes_of(record)
    is_reference = own.with_suffix(".sqlite").is_file()
    for column in own.parent.glob("*.json"):
        if is_reference or column.name == own.name:
            column.unlink(missing_ok=True)


def published_rows(rows: object) -> list[PublishedRow]:
    """The reference rows of a protocol's YAML.

    Raises:
        ValueError: They are not a list of {label, metrics, source}.
    """
    try:
        return _PUBLISHED.validate_json(json.dumps(rows))
    except ValidationError as error:
        raise ValueError(
            f"published.{_reason(error)}; expected rows of label, metrics {{name: number}} and source."
        ) from None


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error).rstrip(".") or type(error).__name__
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
