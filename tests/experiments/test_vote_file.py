"""The file of answers: only damage counts as damage, and no kill, second damage or full disk loses an answer."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from experiments.compare.command import main as compare
from experiments.compare.reader import read_folders
from experiments.evaluate.job import Job
from experiments.evaluate.protocol import load_protocols
from experiments.records.files import read_record, write_record
from experiments.records.record import Record
from experiments.vote.command import main as vote
from experiments.vote.store import Store
from experiments.vote.study import Study
from tests.support.disks import full_disk
from tests.support.protocols import run, write_protocol
from tests.support.votes import results, study_of

ROOT = Path(__file__).parents[2]


def answered(out: Path, raters: int = 1) -> Study:
    """A study whose raters have answered every question."""
    study = study_of(results(out))
    store = Store(study.database, study)
    for number in range(1, raters + 1):
        store.begin(f"rater {number}", study, None)
        said = "select rater, position, image < 'a/06', 0 from question where rater = ?"
        store._db.execute(f"insert into answer {said}", [number])
    store.close()
    return study


def damage(path: Path) -> None:
    """A page of answers becomes zeros."""
    content = path.read_bytes()
    page = len(content) // 4096 * 2 // 3
    path.write_bytes(content[: 4096 * page] + bytes(4096) + content[4096 * (page + 1) :])


@contextmanager
def held_by_another_process(path: Path) -> Iterator[None]:
    code = f"import sqlite3; sqlite3.connect({str(path)!r}).execute('begin exclusive'); print(flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline()
        yield
    finally:
        process.kill()
        process.communicate()


@contextmanager
def without_rights(path: Path) -> Iterator[None]:
    """Nobody can open it, not even root."""
    journal = path.with_name(f"{path.name}-journal")
    path.rename(aside := path.with_name("aside"))
    path.mkdir()
    try:
        yield
    finally:
        path.rmdir()
        aside.rename(path)
        journal.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("trouble", "said"), [(held_by_another_process, "database is locked"), (without_rights, "unable to open database")]
)
def test_a_file_that_cannot_be_read_now_is_not_taken_for_damage(trouble, said: str, tmp_path: Path):
    study = answered(tmp_path)
    before = study.database.read_bytes()
    with trouble(study.database), pytest.raises(ValueError, match=rf"cannot be used now \({said}.*run the command"):
        Store(study.database, study)
    assert study.database.read_bytes() == before and os.listdir(study.database.parent) == [study.database.name]
    assert len(Store(study.database, study).votes()) == 96


def test_a_full_disk_is_not_taken_for_damage_and_nobody_is_told_to_move_the_answers(tmp_path: Path):
    study = study_of(results(tmp_path))
    with full_disk(5000), pytest.raises(ValueError, match=r"cannot be used now \((disk I/O error|.* full)\)"):
        Store(study.database, study)


def test_a_disk_too_full_for_what_a_damaged_file_still_holds_loses_none_of_it(tmp_path: Path):
    study = answered(tmp_path, 12)
    with closing(sqlite3.connect(study.database, isolation_level=None)) as file:
        file.execute("vacuum")  # its last pages are the index of the answers, which are written again
    study.database.write_bytes(before := study.database.read_bytes()[: -2 * 4096])
    with full_disk(len(before)), pytest.raises(ValueError, match="cannot be used now"):
        Store(study.database, study)
    assert study.database.read_bytes() == before
    assert len(Store(study.database, study).votes()) == 1152


@pytest.mark.parametrize("moment", range(1, 6))
def test_kill_9_while_a_damaged_file_is_mended_loses_no_answer(moment: int, tmp_path: Path):
    study = answered(tmp_path, 12)
    damage(study.database)
    code = (
        "import os, signal; from pathlib import Path; from experiments.vote.store import Store\n"
        "from tests.support.votes import study_of\n"
        f"study, fsync, left = study_of(Path({str(tmp_path)!r})), os.fsync, [{moment}]\n"
        "def killed(descriptor):\n"
        "    left[0] -= 1\n"
        "    if not left[0]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    fsync(descriptor)\n"
        "os.fsync = killed\n"
        "Store(study.database, study)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True).returncode
    assert ended == (-signal.SIGKILL if moment < 5 else 0)  # two files are flushed, each with its folder
    votes = Store(study.database, study).votes()
    assert 600 < len(votes) <= 1152


def test_a_second_damage_keeps_both_damaged_files(tmp_path: Path):
    study = answered(tmp_path, 12)
    damage(study.database)
    first = study.database.read_bytes()
    Store(study.database, study).close()
    damage(study.database)
    second = study.database.read_bytes()
    Store(study.database, study).close()
    kept = sorted(study.database.parent.glob("*.damaged"))
    assert [file.read_bytes() for file in kept] == [second, first] and first != second


def test_another_database_is_named_as_no_file_of_answers(tmp_path: Path):
    study = study_of(results(tmp_path))
    study.database.parent.mkdir(parents=True)
    sqlite3.connect(study.database).execute("create table study (name text)")
    with pytest.raises(ValueError, match=r"is not a file of answers \(no such column: hash\); move it away"):
        Store(study.database, study)


# ---- what the answers are about ------------------------------------------------------------------------------------


def changed(out: Path, label: str, **facts: Any) -> None:
    """The method is measured anew: other weights, or another name of a file."""
    path = out / f"records/wide-5bc7d730/{label}.json"
    record = read_record(path)
    for name, value in facts.items():
        setattr(record if name == "note" else record.method, name, value)
    write_record(record, path)


def result(out: Path, *against: str) -> dict[str, Record]:
    assert vote([str(out), "--reference", "RePaint", "--result", *(["--against", *against] if against else [])]) == 0
    return {record.label: record for record in read_folders([out])[0]}


OTHER_PICTURES = [
    ("LaMa", {"checkpoint_sha256": "ab" * 32}), ("LaMa", {"weights": "ema"}), ("LaMa", {"settings": {"width": 8}}),
    ("LaMa", {"revision": "c0ffee"}), ("LaMa", {"outputs": {"a/00": "ab"}}), ("RePaint", {"note": "sampled by DDIM"}),
]  # fmt: skip


@pytest.mark.parametrize(("label", "facts"), OTHER_PICTURES)
def test_votes_on_earlier_pictures_are_no_votes_on_a_method(label: str, facts: dict[str, Any], tmp_path: Path, capsys):
    answered(tmp_path)
    assert result(tmp_path)["LaMa"].metrics["votes"].mean is not None
    changed(tmp_path, label, **facts)
    found = {record.label: record.metrics["votes"] for record in read_folders([tmp_path])[0]}
    assert found["LaMa"].mean is None and found["LaMa"].reason == f"votes on earlier pictures by {label}"
    assert (found["Telea"].mean is None) == (label == "RePaint")
    assert compare([str(tmp_path), "--out", str(tmp_path / "page.html")]) == 0
    assert f"votes on earlier pictures by {label}" in (tmp_path / "page.md").read_text()
    with pytest.raises(ValueError, match=rf"earlier pictures by '{label}', which has changed since"):
        result(tmp_path)
    if label == "LaMa":  # the others go on, as the message says
        assert result(tmp_path, "Telea")["Telea"].metrics["votes"].mean is not None


def test_another_place_or_name_of_the_same_weights_changes_no_votes(tmp_path: Path):
    answered(tmp_path)
    before = result(tmp_path)["LaMa"].metrics["votes"]
    changed(tmp_path, "LaMa", checkpoint="/elsewhere/lama.ckpt", run="/elsewhere", note="known pixels moved by 1.00")
    assert read_folders([tmp_path])[0][0].metrics["votes"] == before == result(tmp_path)["LaMa"].metrics["votes"]


def test_a_study_that_nobody_has_answered_yet_takes_the_new_pictures(tmp_path: Path):
    study = study_of(results(tmp_path))
    store = Store(study.database, study)
    token = store.begin("begun", study, None)
    store.close()
    changed(tmp_path, "LaMa", weights="ema")
    assert Store(study.database, study_of(tmp_path)).known(token)


def test_files_of_earlier_versions_which_name_no_weights_are_read(tmp_path: Path):
    study = answered(tmp_path)
    with closing(sqlite3.connect(study.database)) as file:
        file.execute("drop table shown")
        file.commit()
    changed(tmp_path, "LaMa", weights="ema")
    before = result(tmp_path)["LaMa"].metrics["votes"]
    path = tmp_path / "votes/wide-5bc7d730/LaMa.json"
    content = json.loads(path.read_text())
    assert set(content.pop("about")) == {"LaMa", "RePaint"}
    path.write_text(json.dumps(content))
    assert read_folders([tmp_path])[0][0].metrics["votes"] == before and before.mean is not None


def test_a_salvaged_file_still_knows_what_its_answers_are_about(tmp_path: Path):
    study = answered(tmp_path, 12)
    damage(study.database)
    changed(tmp_path, "LaMa", weights="ema")
    with pytest.raises(ValueError, match="earlier pictures by 'LaMa'"):
        Store(study.database, study_of(tmp_path))
    assert list(study.database.parent.glob("*.damaged"))


@pytest.mark.parametrize("then", [["a=Bertalmio"], ["a=Telea", "--sampler", "DDIM"]], ids=["other", "fails"])
@pytest.mark.parametrize("is_reference", [False, True])
def test_benchmark_of_a_changed_method_drops_the_votes_on_its_old_pictures(
    is_reference: bool, then: list[str], photos: Path, tmp_path: Path
):
    out, protocol = tmp_path / "out", write_protocol(tmp_path)
    arguments = [protocol, "--images", photos, "--out", out, "--methods"]
    assert run(*arguments, "a=Telea", "b=NavierStokes") == 0
    (one,) = load_protocols(protocol, photos)
    votes = out / "votes" / Job("Telea", "a", one, out).record_path.parent.name
    votes.mkdir(parents=True)
    for name in ("a.json", "b.json", "a.sqlite" if is_reference else "b.sqlite"):
        (votes / name).write_text("of an earlier version, without the hashes of methods")
    assert run(*arguments, "a=Telea") == 0 and len(list(votes.iterdir())) == 3  # nothing is new
    with pytest.raises(ValueError, match=r"a in .* is the result of .*; --overwrite replaces it"):
        run(*arguments, *then)
    assert len(list(votes.iterdir())) == 3
    assert run(*arguments, *then, "--overwrite") == (1 if "--sampler" in then else 0)
    assert sorted(file.name for file in votes.iterdir()) == (["a.sqlite"] if is_reference else ["b.json", "b.sqlite"])


def test_the_advice_for_a_damaged_column_is_true(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    answered(tmp_path)
    before = result(tmp_path)["LaMa"].metrics["votes"]
    path = tmp_path / "votes/wide-5bc7d730/LaMa.json"
    for content in (path.read_text()[:40], "[]", '{"about": 3, "definition": "x"}', "[" * 100_000, ""):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"LaMa.json is not a column of votes .*`vote --result` rewrites it"):
            read_folders([tmp_path])
        assert result(tmp_path)["LaMa"].metrics["votes"] == before
