"""Units of a study: kept when complete, adopted by the hash of what they were asked; methods that share a training."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.evaluate import benchmark
from experiments.files.write import write_text
from experiments.records.files import read_record, write_record
from experiments.records.intervals import mean_interval
from experiments.records.record import MethodFacts, MetricResult, ProtocolFacts, Record, hash_of
from experiments.study import cost, page, report, snakefile, step
from experiments.study.command import main
from experiments.study.cost import images_of
from experiments.study.file import read_file
from experiments.study.plan import Study, read_study
from experiments.study.units import adopt, forget_changed, keep, read_units, units
from lit_inpaint import zoo
from tests.support import studies

IMAGES = 30
SHARED: dict[str, Any] = studies.STUDY | {
    "adopts": "kept",
    "methods": {
        "Telea": {"method": "Telea"},
        "Partial": {"fit": "partial.yaml"},
        "Other": {"of": "Partial", "benchmark": ["--weights=raw"]},
    },
}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Study]:
    monkeypatch.chdir(tmp_path)

    def study(out: str, **changes: Any) -> Study:
        return read_study(studies.write(tmp_path, SHARED | changes), tmp_path / out)

    return study


def finish(study: Study) -> None:
    """As if every job had run: float32 values of one metric, float64 of another, one image without a value."""
    for number, one in enumerate(sorted(study.steps.values(), key=lambda step: len(step.needs))):
        write_text(step.file_of(study, one, "json"), json.dumps({"command": study.portable(one.command)}))
        if not one.cell:
            continue
        label, mask = one.cell
        definition = {"mask": mask}
        facts = ProtocolFacts(f"tiny-{mask}", hash_of(definition), definition, data={"images": IMAGES})
        values: dict[str, dict[str, float | None]] = {
            "psnr": {f"v1/{i}": None if i == 3 else 20.5 + i + number for i in range(IMAGES)},
            "mine": {f"v1/{i}": 1 / (i + 3) for i in range(IMAGES)},
        }
        record = Record(
            facts, MethodFacts(name="X", label=label, weights="none", parameters={"generator": 5}, seed=0),
            {name: result(name, of_images) for name, of_images in values.items()},
            {f"v1/{i}": 0.25 + i / 7 for i in range(IMAGES)}, seconds_per_image=0.125, versions={"torch": "2"},
        )  # fmt: skip
        if (label, mask) == ("Telea", "small"):
            record = Record(facts, record.method, not_applicable="the hole is too large", refused=True)
        write_record(record, study.out / "benchmark/records" / f"tiny-{mask}-{facts.hash[:8]}" / f"{label}.json")


def result(name: str, values: dict[str, float | None]) -> MetricResult:
    defined = [value for value in values.values() if value is not None]
    mean = sum(defined) / len(defined)
    return MetricResult(f"{name}/1", values, mean, mean_interval(defined), len(defined), IMAGES - len(defined))


def records(study: Study) -> dict[str, Record]:
    found = study.out.glob("benchmark/records/*/*.json")
    return {f"{path.parent.name}/{path.name}": replace(read_record(path)) for path in found}


def done(study: Study) -> list[str]:
    return [name for name, one in study.steps.items() if step.facts_of(study, one, "json")]


def commit(study: Study, *labels: str) -> None:
    keep(study)
    for path in (study.out / "units").glob("*.json"):
        if not labels or path.name.startswith((*labels, "tiny")):
            write_text(Path("kept") / path.name, path.read_text())


def test_a_study_adopts_what_another_has_finished_to_the_last_bit_and_trains_nothing(make: Callable[..., Study]):
    first, second = make("first"), make("second")
    finish(first)
    assert adopt(second) == []
    commit(first)
    assert adopt(second) == ["Telea", "Partial-seed0", "Partial-seed1", "Other-seed0", "Other-seed1"]
    assert done(second) == [*second.steps] and records(second) == records(first) and len(records(first)) == 10
    assert sum(path.stat().st_size for path in Path("kept").iterdir()) < 20_000


@pytest.mark.parametrize("case", ["as it is", "linked", "moved"])
def test_a_unit_names_no_place_of_the_machine(make: Callable[..., Study], case: str):
    if case == "linked":
        Path("elsewhere").mkdir(), Path("first").symlink_to("elsewhere")
    study = make("first")
    finish(study)
    for path in (study.out / "benchmark").rglob("Partial-seed0.json"):
        record, run = read_record(path), study.out / "runs/Partial-seed0"
        given = str(study.out / "its.yaml")
        method = replace(record.method, checkpoint=str(run / "checkpoints/last.ckpt"), run=str(run), given=given)
        write_record(replace(record, method=method), path)
    if case == "moved":
        study.out.rename("second")
        study = make("second")
    keep(study)
    text = "".join(path.read_text() for path in (study.out / "units").glob("*.json"))
    assert '"runs/Partial-seed0/checkpoints/last.ckpt"' in text and str(study.out.parent) not in text


def test_a_study_that_was_moved_is_done(make: Callable[..., Study], monkeypatch: pytest.MonkeyPatch):
    """With its measurements. What it was asked is the same, whatever folder it writes to."""
    study = make("first")
    finish(study)
    monkeypatch.setattr(step, "_run", lambda command, log, lock: 0)
    fit, cell = "fit-Partial-seed0", "benchmark-Partial-seed0-center"
    for name in (fit, cell):
        assert main(["small.yaml", "--out", "first", "--step", name]) == 0
    measured = {"phases": [{"steps": None, "seconds": 2.0, "flops": 1.0}]}

    def beginning(command: list[str], log: Path) -> tuple[int, float]:
        log.with_suffix(".raw.json").write_text(json.dumps(measured))
        return 0, 3.0

    monkeypatch.setattr(cost, "_run", beginning)
    assert cost._measured(study, study.steps[fit])["wall"] == 3
    study.out.rename("second")
    moved = make("second")
    assert done(moved) == [*moved.steps] and forget_changed(moved) == [] and done(moved) == [*moved.steps]
    assert cost.measured_of(moved, moved.steps[fit])


def test_a_unit_that_was_benchmarked_again_is_kept_again(make: Callable[..., Study]):
    study = make("first")
    finish(study), keep(study)
    [unit] = (study.out / "units").glob("Partial-seed0-*.json")
    before = unit.read_text()
    [path] = study.out.glob("benchmark/records/*-center-*/Partial-seed0.json")
    record = read_record(path)
    record.seconds_per_image = 9.5
    write_record(record, path)
    keep(study)
    assert before != unit.read_text() and "9.5" in unit.read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"fit": ["--trainer.max_steps=99"]}, {"masks": ["center"]}, {"benchmark": ["--limit=2"]},
        {"methods": {name: one | {"benchmark": ["--weights=ema"]} for name, one in SHARED["methods"].items()}},
    ],
)  # fmt: skip
def test_a_unit_that_was_asked_something_else_is_not_adopted(change: dict[str, Any], make: Callable[..., Study]):
    first = make("first")
    finish(first), commit(first)
    assert not [label for label in adopt(make("other", **change)) if label != "Telea" or "fit" not in change]


@pytest.mark.parametrize("name", ["partial.yaml", "protocol.yaml"])
def test_the_content_of_a_yaml_counts_and_its_words_do_not(name: str, make: Callable[..., Study]):
    study = make("first")
    before = {unit.label: unit.hash for unit in units(study)}
    path = Path(name)
    path.write_text(f"# a comment\n{path.read_text()}" + ("about: Words.\n" if name == "protocol.yaml" else ""))
    assert {unit.label: unit.hash for unit in units(study)} == before
    path.write_text(path.read_text().replace("width: 8", "width: 9").replace("limit: 3", "limit: 4"))
    changed = {unit.label for unit in units(study) if unit.hash != before[unit.label]}
    trained = {"Partial-seed0", "Partial-seed1", "Other-seed0", "Other-seed1"}
    assert changed == (trained if name == "partial.yaml" else {*trained, "Telea"})


ALL = {"Telea", "Patches", "Zoo", "Partial-seed0"}


@pytest.mark.parametrize(
    ("file", "labels"),
    [
        ("below/prompts.csv", ALL), ("below/masks.yaml", ALL), ("patches.yaml", {"Patches"}), ("own.csv", {"Patches"}),
        ("list.csv", {"Partial-seed0"}), ("begin.ckpt", {"Partial-seed0"}), ("tiny_faces.safetensors", {"Zoo"}),
    ],
)  # fmt: skip
def test_the_content_of_every_file_that_a_unit_names_counts(
    file: str, labels: set[str], make: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(zoo, "FOLDER", Path().absolute())
    monkeypatch.setenv("HERE", str(Path().absolute()))
    tables = ("below/prompts.csv", "own.csv", "list.csv", "begin.ckpt", "tiny_faces.safetensors")
    for name in tables:
        write_text(Path(name), "image,prompt\na.png,a face\n")
    write_text(Path("patches.yaml"), "model: {class_path: Own, init_args: {patch: a face, prompts: own.csv}}\n")
    write_text(Path("below/masks.yaml"), "small: {class_path: a face}\n")
    write_text(Path("below/protocol.yaml"), "{name: tiny, masks: masks.yaml, prompts: prompts.csv}\n")
    fit = ["--data.init_args.images=$HERE/list.csv", "--init_from=begin.ckpt"]
    methods = {
        "Telea": {"method": "Telea"}, "Patches": {"method": "patches.yaml"}, "Zoo": {"method": "zoo:tiny_faces"},
        "Partial": {"fit": "partial.yaml", "arguments": fit},
    }  # fmt: skip
    study = make("first", methods=methods, seeds=[0], protocol="below/protocol.yaml")
    before, again = ({unit.label: unit.hash for unit in units(study)} for _ in range(2))
    assert before == again and set(before) == ALL
    Path(file).write_text(Path(file).read_text().replace("a face", "a dog"))
    assert {unit.label for unit in units(study) if unit.hash != before[unit.label]} == labels


def test_a_training_that_still_serves_another_method_is_not_adopted(make: Callable[..., Study]):
    first, second = make("first"), make("second")
    finish(first), commit(first)
    assert len(adopt(second)) == 5
    for path in Path("kept").glob("Other-seed1-*.json"):
        path.unlink()
    assert adopt(second) == ["Telea", "Partial-seed0", "Other-seed0"]
    assert {name for name in second.steps if name not in done(second)} == {
        name for name in second.steps if "seed1" in name
    }


def test_a_cell_is_not_done_once_its_training_has_changed(make: Callable[..., Study]):
    """Else the old numbers are kept as a unit with the new hash, and adopted for ever."""
    study = make("first")
    finish(study), keep(study)
    before = {path.name: path.read_bytes() for path in (study.out / "units").iterdir()}
    changed = make("first", fit=["--trainer.max_steps=99"])
    assert "2 of 12 jobs done, 0 running, 0 failed, 10 to do" in report.status(changed)
    for one in changed.steps.values():
        if one.kind == "fit":
            write_text(step.file_of(changed, one, "json"), json.dumps({"command": one.command}))
    assert "4 of 12 jobs done, 0 running, 0 failed, 8 to do" in report.status(changed)
    keep(changed)
    assert {path.name: path.read_bytes() for path in (study.out / "units").iterdir()} == before
    finish(changed), keep(changed)
    assert "12 of 12 jobs done" in report.status(changed)
    names = {path.name for path in (study.out / "units").iterdir()}
    assert len(names & {*before}) == 3 and len(names) == len(before), "Telea and two protocols; a unit for each label"
    again = next(path for path in (study.out / "units").glob("Other-seed0-*"))
    write_text(again.with_name("Other-seed0-00000000.json"), again.read_text())
    with pytest.raises(ValueError, match="second unit of Other-seed0"):
        read_units(study.out / "units")


@pytest.mark.parametrize(("name", "labels"), [("partial.yaml", 4), ("protocol.yaml", 5)])
def test_jobs_of_a_file_that_has_changed_run_again_and_their_numbers_are_not_kept(
    name: str, labels: int, make: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
):
    study = make("first")
    finish(study)
    monkeypatch.setattr(step, "_run", lambda command, log, lock: 0)
    for one in sorted(study.steps.values(), key=lambda step: len(step.needs)):
        assert main(["small.yaml", "--out", "first", "--step", one.name]) == 0
    keep(study)
    before = {path.name for path in (study.out / "units").iterdir()}
    assert forget_changed(study) == [] and len(before) == 7
    Path(name).write_text(Path(name).read_text().replace("width: 8", "width: 9").replace("limit: 3", "limit: 4"))
    keep(study)
    assert {path.name for path in (study.out / "units").iterdir()} == before
    assert len(forget_changed(study)) == labels and len(done(study)) == (2 if labels == 4 else 0)
    assert forget_changed(study) == []


def test_what_was_adopted_counts_as_changed_as_well(make: Callable[..., Study]):
    first, second = make("first"), make("second")
    finish(first), commit(first), adopt(second), keep(second)
    before = {path.name for path in (second.out / "units").iterdir()}
    Path("partial.yaml").write_text(Path("partial.yaml").read_text().replace("width: 8", "width: 9"))
    keep(second)
    assert {path.name for path in (second.out / "units").iterdir()} == before
    four = "Partial-seed0, Partial-seed1, Other-seed0, Other-seed1"
    assert f"To run again, because a file that they name has changed: {four}." in report.status(second)
    assert len(forget_changed(second)) == 4 and "2 of 12 jobs done" in report.status(second)


def test_a_protocol_that_is_changed_back_has_its_own_numbers_again(
    make: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
):
    """A benchmark that finds its record finished does not write it again; it is the newest all the same."""
    monkeypatch.setattr(step, "_run", in_process)
    study = make("first", methods={"Telea": {"method": "Telea"}}, adopts=None, masks=["center"])
    text = Path("protocol.yaml").read_text()
    for limit in (3, 4, 3):
        Path("protocol.yaml").write_text(text.replace("limit: 3", f"limit: {limit}"))
        forget_changed(study)
        assert main(["small.yaml", "--out", "first", "--step", "benchmark-Telea-center"]) == 0
        keep(study)
        assert [record.metrics["ssim"].n for record in read_units(study.out / "units")[0]] == [limit]
        found = page._protocol(study, "center")
        assert found
        record = read_record(study.out / "benchmark/records" / found[1] / "Telea.json")
        assert record.metrics["ssim"].n == limit


def test_a_label_is_the_studys_own_whose_cell_is_replaced_when_its_file_names_another_method(
    make: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(step, "_run", in_process)
    for name in ("Telea", "Harmonic"):
        study = make("first", methods={"X": {"method": name}}, adopts=None, masks=["center"])
        assert step.run_step(study, study.steps["benchmark-X-center"]) == 0
        [record] = records(study).values()
        assert record.method.name == name


def test_the_newest_record_says_how_many_images_a_protocol_has(make: Callable[..., Study]):
    study = make("first")
    finish(study)
    Path("protocol.yaml").write_text(Path("protocol.yaml").read_text().replace("limit: 3", "split: test"))
    [path] = study.out.glob("benchmark/records/tiny-center-*/Telea.json")
    record, definition = read_record(path), {"mask": "earlier"}
    facts = replace(record.protocol, definition=definition, hash=hash_of(definition))
    few = Record(facts, record.method, hole_share={"v1/0": 0.25})
    for name, newest, images in (("tiny-center-00000000", 1, IMAGES), ("tiny-center-ffffffff", 2**33, 1)):
        other = path.parents[1] / name / path.name
        write_record(few, other), os.utime(other, (newest, newest))
        assert images_of(study, study.steps["benchmark-Telea-center"]) == images


def test_an_old_unit_stays_until_the_new_one_is_written(make: Callable[..., Study], monkeypatch: pytest.MonkeyPatch):
    study = make("first")
    finish(study), keep(study)
    before = {path.name for path in (study.out / "units").iterdir()}
    changed = make("first", fit=["--trainer.max_steps=99"])
    finish(changed)

    def full(path: Path, text: str) -> None:
        if path.name.startswith("Partial"):
            raise OSError(28, "No space left on device", str(path))
        write_text(path, text)

    monkeypatch.setattr("experiments.study.units.write_text", full)
    with pytest.raises(OSError, match="No space"):
        keep(changed)
    assert {path.name for path in (study.out / "units").iterdir()} == before


def test_a_configuration_that_is_not_here_is_refused_before_anything_changes(
    make: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
):
    study = make("first")
    finish(study)
    monkeypatch.setenv(snakefile.PROGRAM, sys.executable)
    monkeypatch.setattr("os.execv", lambda program, words: None)
    Path("partial.yaml").rename("other.yaml")
    with pytest.raises(ValueError, match=r"no configuration 'partial.yaml'"):
        main(["small.yaml", "--out", "first"])
    assert done(study) == [*study.steps] and "To run again" not in report.status(study)


def test_asking_how_a_study_stands_changes_nothing_wherever_it_is_asked(
    make: Callable[..., Study], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    first, second = make("first"), make("second")
    finish(first), commit(first)
    assert main(["small.yaml", "--out", "new", "--status"]) == 0 and not Path("new").exists()
    assert "0 of 12 jobs done" in capsys.readouterr().out
    assert len(adopt(second)) == 5
    assert read_study(Path("small.yaml"), Path("first/../second")).out == second.out
    Path("below").mkdir(), monkeypatch.chdir("below")
    assert adopt(second) == [] and "12 of 12 jobs done" in report.status(second)


def test_what_is_adopted_has_not_failed_and_is_older_than_what_it_serves(make: Callable[..., Study]):
    methods = {name: SHARED["methods"][name] for name in ("Other", "Partial", "Telea")}  # what serves stands second
    first, second = make("first", methods=methods), make("second", methods=methods)
    finish(first), commit(first)
    write_text(step.file_of(second, second.steps["fit-Partial-seed0"], "failed.json"), '{"reason": "killed"}')
    assert "5 failed" in report.status(second), "its training and the cells of both methods"
    adopt(second)
    assert "12 of 12 jobs done, 0 running, 0 failed, 0 to do" in report.status(second)


@pytest.mark.parametrize("key", ["seeds", "masks"])
def test_seeds_and_masks_are_at_least_one(key: str, make: Callable[..., Study]):
    with pytest.raises(ValueError, match=key):
        make("first", **{key: []})


def test_a_method_of_anothers_training_waits_for_it_and_adds_no_job(make: Callable[..., Study]):
    study = make("first")
    cell, trained = study.steps["benchmark-Other-seed1-small"], study.steps["fit-Partial-seed1"]
    assert cell.needs == (trained.name,) and "--weights=raw" in cell.command
    assert cell.command[-1] == f"Other-seed1={trained.makes}/checkpoints/last.ckpt"
    assert len(study.steps) == 2 + 2 * (1 + 2 + 2)
    assert snakefile.text(study).count("\nrule fit_") == 2


def test_a_study_is_like_another_but_for_what_it_says(make: Callable[..., Study]):
    whole = make("first")
    Path("more.yaml").write_text("like: small.yaml\nseeds: [3]\nfit: [--trainer.max_steps=9]\n")
    more = read_study(Path("more.yaml"), Path("more"))
    assert more.file.methods == whole.file.methods and more.file.seeds == [3] and more.masks == whole.masks
    assert read_file(Path("more.yaml")).fit == ["--trainer.max_steps=9"]


def in_process(command: Sequence[str], log: Path, lock: Any) -> int:
    with log.open("a") as file, redirect_stdout(file):
        return benchmark.main([*command[1:]])


def test_a_method_that_does_not_take_a_hole_is_a_cell_with_its_reason_and_a_broken_one_is_not(
    make: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
):
    methods = {name: {"method": f"tests.support.studies.{name}"} for name in ("Picky", "Broken")}
    study = make("first", methods=methods, adopts=None)
    monkeypatch.setattr(step, "_run", in_process)
    codes = {name: step.run_step(study, one) for name, one in study.steps.items()}
    assert codes == {name: int("Broken" in name) for name in study.steps} and len(codes) == 4
    refused = {name: (step.facts_of(study, study.steps[name], "json") or {}).get("refused") for name in codes}
    assert [reason for reason in refused.values() if reason] == [refused["benchmark-Picky-center"]]
    assert "the hole is too large" in refused["benchmark-Picky-center"]
    found = {path.rpartition("/")[2]: record for path, record in records(study).items() if "center" in path}
    assert found["Picky.json"].refused and found["Picky.json"].not_applicable and not found["Broken.json"].refused
    keep(study)
    assert [path.name[:6] for path in (study.out / "units").glob("[A-Z]*")] == ["Picky-"]

    monkeypatch.setattr(step, "_run", lambda command, log, lock: log.open("a").write("RuntimeError: no memory\n") and 1)
    picky = study.steps["benchmark-Picky-center"]
    assert step.run_step(study, picky) == 1, "the refusal is an earlier attempt's"
    assert (step.facts_of(study, picky, "failed.json") or {})["reason"] == "RuntimeError: no memory"
    monkeypatch.setattr(step, "_run", lambda command, log, lock: log.open("a").write("exit\n") and 1)
    step.run_step(study, picky)
    assert (step.facts_of(study, picky, "failed.json") or {})["reason"] == "exit", "so is the other error"
