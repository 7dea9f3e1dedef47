"""What a study adds to the comparison: core-hours, curves over them, votes to come, published rows apart."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import table1
from experiments.compare import page as compared
from experiments.compare.command import main as compare
from experiments.files.write import write_png, write_text
from experiments.records.files import read_record, write_record
from experiments.records.intervals import mean_interval
from experiments.records.record import MethodFacts, MetricResult, ProtocolFacts, Record, hash_of
from experiments.study import page, report, step
from experiments.study.plan import Study, read_study
from experiments.study.trainings import Trained, trained, write_trainings
from experiments.study.units import adopt, keep, read_units
from experiments.vote import command as vote
from tests.support import studies
from tests.support.browsing import violations, watch

IMAGES, MASKS = 24, ("half", "wide")
METHODS: dict[str, Any] = {
    "Telea": {"method": "Telea"},
    "RePaint": {"fit": "context.yaml", "seeds": [0]},
    "DDNM": {"of": "RePaint", "benchmark": ["--weights=raw"]},
    "LaMa": {"fit": "partial.yaml"},
    "DSI": studies.STUDY["methods"]["DSI"],
}
MEANS = {"Telea": 0.5, "RePaint": 0.2, "DDNM": 0.2005, "LaMa": 0.1, "DSI": 0.45}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Half done: DSI's second seed failed; LaMa is ahead of RePaint under one mask only."""
    monkeypatch.chdir(tmp_path)
    said = studies.STUDY | {"methods": METHODS, "votes": "RePaint", "published": "repaint_celebahq256"}
    path = studies.write(tmp_path, said)
    protocol = studies.PROTOCOL | {"masks": {mask: {"class_path": "masks.Wide"} for mask in MASKS}}
    write_text(tmp_path / "protocol.yaml", json.dumps(protocol))
    made = read_study(path, tmp_path / "out")
    for one in made.steps.values():
        finish(made, one)
    return made


def finish(study: Study, one: Any) -> None:
    broken = one.name == "fit-DSI-seed1-texture"
    facts = {"command": one.command} | ({"reason": "it is broken"} if broken else {})
    if not (broken or one.name == "assemble-DSI-seed1" or (one.cell and one.cell[0] == "DSI-seed1")):
        write_text(step.file_of(study, one, "json"), json.dumps(facts))
    elif broken:
        write_text(step.file_of(study, one, "failed.json"), json.dumps(facts))
    if one.kind == "fit":
        curve = "".join(f"{i},{8 * i},{1 / i}\n" for i in range(1, 5))
        write_text(one.makes / "metrics.csv", "step,images_seen,val/l1_hole\n" + curve)
        write_text(one.makes / "status.json", json.dumps({"step": 400}))
        facts = {"method": one.method, "seed": 0, "val_protocol_hash": "v"}
        write_text(one.makes / "run.json", json.dumps(facts))
        phases = [{"steps": 100, "flops": 1, "seconds": 6.0}, {"steps": 900, "flops": 1, "seconds": 10.0}]
        timed_on = {"processor": "EPYC" if one.method == "DSI" else "H200"}
        measured = {"command": one.command, "images": 8, "wall": 1, "phases": phases, "most_seconds": None} | timed_on
        write_text(study.out / "first_steps" / f"{one.name}.json", json.dumps(measured))
    if one.cell and one.cell[0] != "DSI-seed1":
        label, mask = one.cell
        write(study, one.method, label, mask)


def write(study: Study, method: str, label: str, mask: str) -> None:
    definition = {"mask": mask, "metrics": {"lpips_alex_up256": "a"}}
    facts = ProtocolFacts(f"tiny-{mask}", hash_of(definition), definition, data={"images": IMAGES})
    folder = f"tiny-{mask}-{facts.hash[:8]}"
    mean = 0.3 if (method, mask) == ("LaMa", "half") else MEANS[method]
    noise = np.resize([0.05, -0.05], IMAGES) if method == "DDNM" else np.zeros(IMAGES)  # tied with RePaint
    values = {str(i): float(np.float32(mean + noise[i] + i / 100)) for i in range(IMAGES)}
    of_all = [*values.values()]
    lpips = MetricResult("a", dict(values), sum(of_all) / IMAGES, mean_interval(of_all), IMAGES)
    seed = label.rpartition("-seed")[2]
    about = MethodFacts(
        name=method, label=label, weights="raw", parameters={"g": 1}, seed=int(seed) if seed.isdigit() else None
    )
    record = Record(facts, about, {"lpips_alex_up256": lpips}, dict.fromkeys(values, 0.25), seconds_per_image=0.1)
    write_record(record, study.out / "benchmark" / "records" / folder / f"{label}.json")
    for kind in (label, "_input", "_mask", "_truth"):
        pixels = np.full((16, 16, 3), 9 * len(kind), np.uint8)
        write_png(pixels, study.out / "benchmark" / "images" / folder / kind, "0.png")


def in_process(patch: pytest.MonkeyPatch) -> None:
    """Commands that the page starts, without an interpreter each."""

    def run(words: list[str], **how: Any) -> Any:
        name, *rest = words[words.index("experiments") + 1 :]
        code = {"compare": compare, "vote": vote.main}[name](rest)
        return subprocess.CompletedProcess(words, code)

    patch.setattr(page.subprocess, "run", run)


def test_core_hours_are_seconds_of_a_step_times_steps_of_all_stages(study: Study):
    hours = {
        name: trained(study, name, method, study.seeds_of(method)[0]).core_hours
        for name, method in study.file.methods.items()
    }
    assert hours == {"Telea": 0, "RePaint": 1, "DDNM": 1, "LaMa": 1, "DSI": 3}  # 100 x 6 s + 300 x 10 s; DSI: 3 stages
    said = json.loads(write_trainings(study).read_text())
    assert said["shared"] == {"DDNM-seed0": "RePaint"} and said["hours"]["DSI-seed1"] == 3
    assert said["runs"][str((study.out / "runs/DSI-seed1/texture").resolve())] == {
        "label": "DSI-seed1", "stage": "texture", "seconds_per_image": 9 / 8,
    }  # fmt: skip
    path = study.out / "first_steps" / "fit-LaMa-seed0.json"
    write_text(path, json.dumps(json.loads(path.read_text()) | {"command": ["fit", "--other"]}))
    assert trained(study, "LaMa", study.file.methods["LaMa"], 1) == (None, None)


def test_no_two_curves_share_a_colour_where_the_classics_have_one_too(study: Study, monkeypatch: pytest.MonkeyPatch):
    in_process(monkeypatch)
    monkeypatch.setattr(compared, "COLOURS", 3)
    assert page.write_page(study, last=True) == 0
    data = json.loads((study.out / "page.html").read_text().split('id="data">')[1].split("</script>")[0])
    colours = {run["label"]: run["colour"] for run in data["runs"]}
    assert len({colours[label] for label in ("RePaint-seed0", "LaMa-seed0", "DSI-seed0, vqvae")}) == 3


def test_the_page_has_hours_votes_reasons_and_published_rows_apart(study: Study, monkeypatch: pytest.MonkeyPatch):
    in_process(monkeypatch)
    assert page.write_page(study) == 0  # as after a failure: each cell is there or has a reason
    text = (study.out / "page.html").read_text(encoding="utf-8")
    tiles = text.split('<table class="map">')[1].split("</table>")[0]
    flat = re.sub(r"<[^>]+>", " ", tiles)
    assert flat.count(f"n = {IMAGES}") == 10 and "±" in flat  # five rows, two masks; LaMa has two seeds
    assert "0.059" not in tiles and "0.059" in text  # RePaint's Table 1, wide
    assert "No paper has published numbers under these protocols; those that stand apart" in text
    assert "DSI-seed1: fit-DSI-seed1-texture failed: it is broken" in text
    assert "DSI-seed1" not in flat, "one seed of DSI is measured: the other's reason is a note, not a line"
    votes = [line for line in (study.out / "page.csv").read_text().splitlines() if ",votes," in line]
    assert len(votes) == 10 and sum("not voted yet" in line for line in votes) == 8
    rows = (study.out / "page.md").read_text()
    assert "core-hours" in rows and re.search(r"\| LaMa \(2 seeds\) .*\| 1\.0 \|", rows)
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert {run["label"]: run["hours"] for run in data["runs"]}["DSI-seed0, vqvae"] == 9 / 8 / 3600
    last = re.sub(r"<[^>]+>", " ", text.partition("Last validation")[2].partition("</table>")[0])
    assert "DSI-seed0, vqvae" in last and "DSI-seed0, texture" in last and "LaMa-seed0" in last
    colours = {run["label"]: run["colour"] for run in data["runs"]}
    assert colours["LaMa-seed0"] == colours["LaMa-seed1"] != colours["RePaint-seed0"]
    assert "Votes: lit-inpaint vote" in report.status(study)


def test_a_failure_that_stands_in_the_record_of_its_cell_is_no_note_as_well(
    study: Study, monkeypatch: pytest.MonkeyPatch
):
    in_process(monkeypatch)
    one = study.steps["benchmark-Telea-wide"]
    [path] = study.out.glob("benchmark/records/tiny-wide-*/Telea.json")
    broken = replace(read_record(path), metrics={}, hole_share={}, not_applicable="failed: RuntimeError: no memory")
    write_record(broken, path)
    step.file_of(study, one, "json").unlink()
    for reason, noted in (("RuntimeError: no memory", False), ("OSError: the disk is full", True)):
        said = {"command": one.command, "reason": reason}
        write_text(step.file_of(study, one, "failed.json"), json.dumps(said))
        assert page.write_page(study) == 0
        text = (study.out / "page.md").read_text()
        assert ("Telea: benchmark-Telea-wide failed: " in text) == noted and "RuntimeError: no memory" in text


def test_votes_are_not_set_up_while_cells_are_to_come(study: Study, monkeypatch: pytest.MonkeyPatch):
    in_process(monkeypatch)
    (study.out / "steps" / "benchmark-Telea-wide.json").unlink()
    assert page.write_page(study) == 0
    assert "not voted yet" not in (study.out / "page.csv").read_text()


def test_the_curves_are_drawn_over_core_hours_at_any_width(study: Study, monkeypatch: pytest.MonkeyPatch, browser: Any):
    in_process(monkeypatch)
    assert page.write_page(study, last=True) == 0
    opened = browser.new_page(viewport={"width": 1366, "height": 900})
    problems = watch(opened)
    opened.goto((study.out / "page.html").as_uri())
    chart = opened.locator("[data-curves] svg")
    assert "core-hours" in str(chart.text_content()) and chart.locator("path.curve").count() == 9
    opened.select_option("[data-axis]", "images")
    assert "images seen" in str(opened.locator("[data-curves] svg").text_content())
    for width in (390, 1920):
        opened.set_viewport_size({"width": width, "height": 900})
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert not problems and not violations(opened)


def test_records_of_an_earlier_protocol_leave_the_page(study: Study, monkeypatch: pytest.MonkeyPatch):
    """They are of another definition under the same name, which `compare` refuses to show in one table."""
    in_process(monkeypatch)
    for path in study.out.glob("benchmark/records/*/Telea.json"):
        record = read_record(path)
        earlier = replace(record.protocol, definition={"mask": "other"}, hash=hash_of({"mask": "other"}))
        folder = f"{record.protocol.name}-{earlier.hash[:8]}"
        gone = replace(record, protocol=earlier, method=replace(record.method, label="Gone"))
        write_record(gone, study.out / "benchmark/records" / folder / "Gone.json")
        os.utime(study.out / "benchmark/records" / folder / "Gone.json", (1, 1))
    assert page.write_page(study) == 0 and "Gone" not in (study.out / "page.html").read_text()


def test_a_damaged_record_is_no_error_of_the_job_that_refreshes_the_page(
    study: Study, capsys: pytest.CaptureFixture[str]
):
    damaged = next(study.out.glob("benchmark/records/*/LaMa-seed0.json"))
    damaged.write_text("{")
    page.refresh(study)
    assert str(damaged) in capsys.readouterr().err


def test_a_unit_is_kept_with_its_last_cell_while_the_page_waits(study: Study):
    (study.out / "page.html").write_text("new")
    page.refresh(study, next(one for one in study.steps.values() if one.cell and one.cell[0] == "LaMa-seed0"))
    assert [path.name.rpartition("-")[0] for path in study.out.glob("units/*seed*.json")] == ["LaMa-seed0"]
    assert (study.out / "page.html").read_text() == "new"


def test_a_unit_keeps_its_hours_when_the_run_was_deleted(study: Study):
    keep(study)
    before = read_units(study.out / "units")[1]
    shutil.rmtree(study.out / "runs")
    for record in study.out.glob("benchmark/records/*/*.json"):
        record.touch()
    keep(study)
    assert trained(study, "LaMa", study.file.methods["LaMa"], 0).core_hours is None
    assert read_units(study.out / "units")[1] == before and before["LaMa-seed0"].core_hours == 1


def test_the_tables_of_the_page_come_from_committed_units(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    keep(study)
    records, trainings = read_units(study.out / "units")
    one_hour = Trained(1, "H200")
    assert trainings == {
        "Telea": Trained(0, None), "RePaint-seed0": one_hour, "DDNM-seed0": one_hour, "LaMa-seed0": one_hour,
        "LaMa-seed1": one_hour, "DSI-seed0": Trained(3, "EPYC"),
    }  # fmt: skip
    study = replace(study, file=replace(study.file, adopts=str(study.out / "units")))
    for one in study.steps.values():
        step.file_of(study, one, "json").unlink(missing_ok=True)
    assert adopt(study)
    assert trained(study, "DSI", study.file.methods["DSI"], 0) == Trained(3, "EPYC")
    text = table1.write(records, trainings, "repaint_celebahq256")
    assert "| RePaint | 1.00 | H200 |" in text and "| DSI | 3.00 | EPYC |" in text and "| Telea | 0.00 |  |" in text
    wins = text.split("won : lost |")[1].split("\n\n")[0]
    lines = {line.split("|")[1].strip(): line for line in wins.splitlines()[2:]}
    assert lines["Telea"].count("**") == 4 and "100%" in lines["Telea"] and lines["Telea"].endswith("| 2 : 0 |")
    assert lines["LaMa"].endswith("| 1 : 1 |") and lines["LaMa"].count("**") == 2
    assert lines["DDNM"].endswith("| 0 : 0 |")
    assert "Masks under which no method is ahead of RePaint: 1 of 2 (half)." in text
    assert "Masks under which it is ahead of each of LaMa, DSI: 1 of 2 (half)." in text
    for record in records:
        assert f"{record.protocol.name.removeprefix('tiny-')} {record.hash[:8]}" in text
    assert "Every learned method beats Telea in LPIPS" in text and "KID" not in text
    telea = [record for record in records if record.label == "Telea"]
    theirs = [replace(one, method=replace(one.method, label="Theirs", outputs={"0": "a"})) for one in telea]
    hours = trainings | {"Theirs": Trained(0, None)}
    tied = table1.write([*records, *theirs], hours, "repaint_celebahq256", ["classic"])
    assert "Undecided: Theirs under wide, Theirs under half." in tied, "another program's outputs stand there as well"
    order = text.split("Pairs of systems")[1]
    assert "| half | " in order and "RePaint before LaMa" in order
    mean = np.mean([record.metrics["lpips_alex_up256"].mean for record in records if record.label == "Telea"])
    assert f"{mean:.4f}" in text
    document = tmp_path / "table1.md"
    document.write_text("# Results\n\n<!-- out/units -->\n<!-- end -->\n\nWords.\n")
    for _ in range(2):
        assert table1.main(["out/units", "--into", str(document)]) == 0
    assert document.read_text().count("won : lost |") == 1 and document.read_text().endswith("Words.\n")
    assert table1.main(["out/units", "--tables", "means"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("| method |") == 1 and "| method | wide | half |" in shown  # in the survey's order
    assert table1.main([str(tmp_path)]) == 2 and "holds no units" in capsys.readouterr().err


def test_the_page_of_a_study_takes_a_small_share_of_the_time(study: Study, monkeypatch: pytest.MonkeyPatch):
    made, took = study.out / "page.html", 10
    monkeypatch.setattr(page, "argv", lambda words: [sys.executable, "-c", "import time; time.sleep(0.2)"])
    before = time.time()
    page.refresh(study)
    assert before <= (study.out / "steps/page.lock").stat().st_mtime <= time.time() - 0.2  # when it was begun

    def is_due(age: float) -> bool:
        """Whether it is written again ``age`` seconds after it was, which took ten."""
        said: list[Study] = []
        monkeypatch.setattr(page, "write_page", said.append)
        made.write_text("")
        for path, back in ((made, age), (study.out / "steps/page.lock", age + took)):
            os.utime(path, (time.time() - back,) * 2)
        page.refresh(study)
        return bool(said)

    assert [is_due(age) for age in (70, 190, 210)] == [False, False, True]
    took = 0
    assert [is_due(age) for age in (50, 70)] == [False, True]
    took = 8000  # by a lock that an earlier version left
    assert [is_due(age) for age in (800, 1000)] == [False, True]
