"""The file of answers: only damage counts as damage, and no kill, second damage or full disk loses an answer."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from experiments.vote.store import Store
from experiments.vote.study import Study
from tests.support.disks import full_disk
from tests.support.votes import results, study_of

ROOT = Path(__file__).parents[2]


def answered(out: Path, raters: int = 1) -> Study:
    """A study whose raters have answered every question."""
    study = study_of(results(out))
    store = Store(study.database, study)
    for number in range(1, raters + 1):
        store.begin(f"rater {number}", study, None)
        store._db.execute("insert into answer select rater, position, left, 0 from question where rater = ?", [number])
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
