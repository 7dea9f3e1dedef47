"""The questions: pairs of completions of one image, in random order, on random sides, each twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.records.record import Record


@dataclass(frozen=True)
class Question:
    """One presentation of a pair; ``left``: whether the rival is on the left."""

    rival: str
    image: str
    left: bool


@dataclass(frozen=True)
class Study:
    """One protocol, one reference, its rivals, and the images that all of them completed."""

    reference: str
    records: dict[str, Record]  # by label, the reference too
    images: tuple[str, ...]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return [(label, image) for label in self.records if label != self.reference for image in self.images]

    @property
    def database(self) -> Path:
        return self.records[self.reference].votes_path.with_name(f"{self.reference}.sqlite")

    @property
    def hash(self) -> str:
        return self.records[self.reference].hash

    def picture(self, image: str, label: str | None) -> Path:
        """The completion by a method, or the erased input."""
        folder = self.records[label or self.reference].picture_folder("_input" if label is None else None)
        if folder is None:
            raise FileNotFoundError(f"the folder of pictures '{label or '_input'}' is gone")
        return folder / f"{image}.png"

    def questions(self, seed: int, pairs: int | None = None) -> list[Question]:
        """For one rater: every pair once in random order, then every pair again in another."""
        rng = np.random.default_rng(seed)
        chosen = [self.pairs[i] for i in rng.permutation(len(self.pairs))[:pairs]]
        showings = [chosen[i] for _ in range(2) for i in rng.permutation(len(chosen))]
        return [Question(rival, image, bool(rng.integers(2))) for rival, image in showings]


def make_study(
    records: Sequence[Record], reference: str, against: Sequence[str] | None = None, protocol: str | None = None
) -> Study:
    """The study of a benchmark's output folder.

    Raises:
        ValueError: There is no such method or protocol, or nothing to show.
    """
    protocols = sorted({r.protocol.name for r in records})
    if protocol is None and len(protocols) > 1:
        raise ValueError(f"the folder holds several protocols; name one: --protocol {' | '.join(protocols)}.")
    if protocol is not None and protocol not in protocols:
        raise ValueError(f"there is no record of protocol '{protocol}'. There are: {', '.join(protocols)}.")
    shown = [r for r in records if protocol in (None, r.protocol.name) and r.picture_folder()]
    found = {r.label: r for r in shown}
    wanted = [reference, *(against or (label for label in found if label != reference))]
    for label in wanted:
        if label not in found:
            raise ValueError(f"there are no pictures by '{label}'. There are: {', '.join(sorted(found)) or 'none'}.")
        if len(places := [str(r.path.parent) for r in shown if r.label == label and r.path]) > 1:
            raise ValueError(f"there are several '{label}'; give one of these folders: {', '.join(places)}.")
    if len(set(wanted)) < 2 or len(set(wanted)) < len(wanted):
        raise ValueError(f"a study needs two methods or more, each once; got {', '.join(wanted)}.")
    if len({found[label].hash for label in wanted}) > 1:
        raise ValueError("the records have different protocol hashes; their images and holes differ. Benchmark again.")
    images = tuple(sorted(set.intersection(*(_completed(found[label]) for label in wanted))))
    if not images:
        raise ValueError(f"no image was completed by all of {', '.join(wanted)}.")
    return Study(reference, {label: found[label] for label in wanted}, images)


def _completed(record: Record) -> set[str]:
    """The images for which a method's pictures exist."""
    folder = record.picture_folder()
    assert folder is not None
    return {p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.png") if p.is_file()}
