"""Finished units of a study, small enough to commit: the records of one method and seed under all masks.

``units/LABEL-HASH.json`` in the study's folder; the hash is that of everything the unit was asked to do: its commands
and the protocol, with the content of each file that they name. A study whose file says ``adopts: FOLDER`` takes a unit
from there instead of training it again. What the records of a protocol share stands once, in ``PROTOCOL-HASH.json``.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from experiments.files.find import INSTALLED, find_yaml
from experiments.files.read import read_json, read_yaml
from experiments.files.variables import expanded
from experiments.files.write import write_text
from experiments.records.files import text_of, write_record
from experiments.records.record import Record, hash_of
from experiments.study.plan import Step, Study
from experiments.study.step import facts_of, file_of, is_done, is_running, record_of
from experiments.study.trainings import Trained, trained

_RECORD = TypeAdapter(Record)
_LONGEST = 200  # characters of a path


class Unit(NamedTuple):
    """One method and seed."""

    label: str
    hash: str
    steps: list[Step]
    family: tuple[str, int | None]  # the method that was trained for it, and the seed
    name: str

    @property
    def file(self) -> str:
        return f"{self.label}-{self.hash[:8]}.json"

    @property
    def cells(self) -> list[Step]:
        return [step for step in self.steps if step.cell]


def units(study: Study, having: Step | None = None) -> Iterator[Unit]:
    """All, or the one of a job."""
    for name, method in study.file.methods.items():
        for seed in study.seeds_of(method):
            steps = list(study.jobs_of(name, method, seed))
            if having and having not in steps:
                continue
            needed = [study.steps[need] for step in steps[:1] for need in step.needs if method.of]
            label = next(step.cell[0] for step in steps if step.cell)
            yield Unit(label, _hash(study, [*needed, *steps]), steps, (method.of or name, seed), name)


def _hash(study: Study, steps: list[Step]) -> str:
    said = []
    for step in steps:
        ends = ("", ".yaml") if step.kind == "fit" else ("",)
        words = study.portable(step.command)
        said.append([word if word == study.file.protocol else _content(word, Path(), ends) for word in words])
    path = find_yaml(study.file.protocol, "protocols")
    asked = {key: one for key, one in read_yaml(path).items() if key not in ("about", "published")}
    return hash_of({"commands": said, "protocol": _content(asked, path.parent)})


def _content(value: Any, beside: Path, ends: Sequence[str] = ("",)) -> Any:
    """A word of a command, or a value of a YAML that lies in ``beside``, with the content of the file that it names."""
    if isinstance(value, dict):
        return {str(key): _content(one, beside) for key, one in value.items()}
    if isinstance(value, list):
        return [_content(one, beside) for one in value]
    flag, equals, given = str(value).rpartition("=")
    if not isinstance(value, str) or len(given) > _LONGEST:
        return value
    if (path := _named(given, beside, ends if equals else ("",))) is None:
        return value
    if path.suffix in (".yaml", ".yml"):
        return [flag, path.name, _content(read_yaml(path), path.parent)]
    with path.open("rb") as file:
        return [flag, path.name, hashlib.file_digest(file, "sha256").hexdigest()]


def _named(given: str, beside: Path, ends: Sequence[str]) -> Path | None:
    """The file of that name: an entry of the zoo, beside the YAML, here, or installed."""
    if given.startswith("zoo:"):
        from lit_inpaint import zoo  # and torch

        given = str(zoo.FOLDER / f"{zoo.entry(given)}{zoo.TENSORS}")
    with suppress(ValueError):  # a variable is not set: whoever reads the file says so
        given = expanded(given, beside)
    files = [place / f"{given}{end}" for place in (beside, Path(), INSTALLED) for end in ends]
    return next((file for file in files if file.is_file()), None)


# ---- keep ------------------------------------------------------------------------------------------------------------


def keep(study: Study, having: Step | None = None) -> None:
    """Write the units that are complete, or the one of a job, in place of what a label's unit was before its command
    changed."""
    folder = study.out / "units"
    for unit in units(study, having):
        path = folder / unit.file
        if not all(is_done(study, step) for step in unit.steps) or _was_another(study, unit):
            continue
        records = [record for cell in unit.cells if (record := record_of(study.out / "benchmark", cell))]
        written = [record.path.stat().st_mtime for record in records if record.path]
        of_training = trained(study, unit.name, study.file.methods[unit.name], unit.family[1])
        if len(records) < len(unit.cells):
            continue
        before = _training(read_json(path)) if path.is_file() else None
        if before and of_training.core_hours is None:  # the run's folder is gone
            of_training = before
        if before == of_training and path.stat().st_mtime >= max(written):
            continue
        for record in records:
            shared = {"protocol": asdict(record.protocol), "hole_share": record.hole_share}
            of_all = folder / f"{record.protocol.name}-{record.hash[:8]}.json"
            if record.hole_share or not of_all.is_file():
                write_text(of_all, json.dumps(shared) + "\n")
        commands = [study.portable(cell.command) for cell in unit.cells]
        packed = [_packed(record, command) for record, command in zip(records, commands, strict=True)]
        content = {"hash": unit.hash, "label": unit.label, **of_training._asdict(), "records": packed}
        write_text(path, json.dumps(content) + "\n")
        for other in folder.glob(f"{unit.label}-????????.json"):
            if other != path and read_json(other).get("label") == unit.label:
                other.unlink()


def _was_another(study: Study, unit: Unit) -> bool:
    """Whether a file that it names, a configuration or the protocol, has changed since its jobs were done."""
    done = [facts_of(study, step, "json") or {} for step in unit.steps]
    return any(facts.get("unit", unit.hash) != unit.hash for facts in done)


def changed(study: Study) -> list[Unit]:
    """Units whose jobs are done and name a file that has changed since."""
    return [unit for unit in units(study) if _was_another(study, unit)]


def refuse_missing(study: Study) -> None:
    """
    Raises:
        ValueError: A configuration that a job names is not here: a typing error, or another folder.
    """
    for word in (word for step in study.steps.values() for word in step.command if word.startswith("--config=")):
        find_yaml(word.partition("=")[2])


def forget_changed(study: Study) -> list[str]:
    """Have the jobs of those run again, and those whose command has changed; the labels of the former."""
    found = changed(study)
    of_files = [step.name for unit in found for step in unit.steps]
    for step in study.steps.values():
        if step.name in of_files or facts_of(study, step, "json") is None:
            file_of(study, step, "json").unlink(missing_ok=True)
    return [unit.label for unit in found]


def _packed(record: Record, command: Sequence[str]) -> dict[str, Any]:
    """Without what its protocol's file holds, and with paths below the study's folder, wherever that was; values in the
    order of the images, as float32 where nothing is lost."""
    content: dict[str, Any] = json.loads(text_of(record))
    content["protocol"] = f"{record.protocol.name}-{record.hash[:8]}"
    del content["hole_share"]
    content["method"].pop("given", None)  # a place of this machine
    made = Path(command[-1].partition("=")[2].removeprefix("OUT/"))
    for key in ("checkpoint", "run"):
        if of_machine := content["method"].get(key):
            below = (str(path) for path in (made, *made.parents) if of_machine.endswith(f"/{path}"))
            content["method"][key] = next(below, of_machine)
    for metric in content["metrics"].values():
        values = list(metric["values"].values())
        short = [None if v is None else float(str(np.float32(v))) for v in values]
        same = all(v is None or float(np.float32(v)) == v for v in values)
        metric["values"], metric["float32"] = (short if same else values), same
    return content


# ---- adopt -----------------------------------------------------------------------------------------------------------


def adopt(study: Study) -> list[str]:
    """Take the units that are there already as done; their labels. All that one training serves, or none of it."""
    if study.file.adopts is None or not (source := Path(study.file.adopts)).is_dir():
        return []
    every = list(units(study))
    there = {unit.label: unit for unit in every if (source / unit.file).is_file()}
    lacking = {unit.family for unit in every if unit.label not in there}
    taken = [unit for unit in there.values() if unit.family not in lacking]
    for unit in sorted(taken, key=lambda unit: unit.name != unit.family[0]):  # what was trained, then what it serves
        if all(is_done(study, step) for step in unit.steps):
            continue
        if any(is_running(study, step) for step in unit.steps):
            continue
        _unpack(study, source, unit)
    for unit in every:  # adopted with others that are no longer there: its training must run
        for step in unit.steps:
            if unit not in taken and (facts_of(study, step, "json") or {}).get("adopted"):
                file_of(study, step, "json").unlink()
    return [unit.label for unit in taken]


def _unpack(study: Study, source: Path, unit: Unit) -> None:
    content = read_json(source / unit.file)
    if content["hash"] != unit.hash:
        raise ValueError(f"{source / unit.file} is of the unit {content['hash'][:8]}; it was renamed. Delete it.")
    for of_mask, record in _unpacked(source, content):
        write_record(record, study.out / "benchmark" / "records" / of_mask / f"{unit.label}.json")
    for step in unit.steps:
        adopted = {"unit": unit.hash, "adopted": str(source / unit.file)}
        facts = {"command": study.portable(step.command), **adopted, **_training(content)._asdict()}
        write_text(file_of(study, step, "json"), json.dumps(facts, indent=1) + "\n")


def _unpacked(source: Path, content: dict[str, Any]) -> Iterator[tuple[str, Record]]:
    """The records of a unit, by the folder of their protocol."""
    for packed in content["records"]:
        shared = read_json(source / f"{packed['protocol']}.json")
        images, of_mask = list(shared["hole_share"]), packed["protocol"]
        packed |= {
            "protocol": shared["protocol"],
            "hole_share": {} if packed["not_applicable"] else shared["hole_share"],
        }
        for metric in packed["metrics"].values():
            exact = (lambda v: float(np.float32(v))) if metric.pop("float32") else float
            values = [None if v is None else exact(v) for v in metric["values"]]
            metric["values"] = dict(zip(images, values, strict=True)) if values else {}
        yield of_mask, _RECORD.validate_json(json.dumps(packed))


def _training(unit: dict[str, Any]) -> Trained:
    return Trained(unit.get("core_hours"), unit.get("processor"))


def read_units(folder: Path) -> tuple[list[Record], dict[str, Trained]]:
    """Every record of a folder of units, and the trainings by label."""
    records: list[Record] = []
    trainings: dict[str, Trained] = {}
    for path in sorted(folder.glob("*.json")):
        content = read_json(path)
        if "records" in content:
            if content["label"] in trainings:
                raise ValueError(f"{path} is the second unit of {content['label']} there; delete the one not wanted.")
            records += [record for _, record in _unpacked(folder, content)]
            trainings[content["label"]] = _training(content)
    return records, trainings
