"""Damage by a crash or a full disk is discarded and reported, and the work redone; a full disk names its path."""

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from experiments.compare.command import main as compare
from experiments.evaluate import benchmark
from experiments.evaluate.job import Job
from experiments.evaluate.protocol import load_protocols
from experiments.files.write import write_bytes, write_text
from experiments.inpaint import command as inpaint
from experiments.run import Run
from experiments.run.curves import read_segments
from experiments.run.journal import Journal
from experiments.run.loggers import SegmentedCSVLogger
from experiments.sweep.ledger import lost
from experiments.vote.store import Store
from lit_inpaint.callbacks import panels
from masks import Wide
from masks.fixed import FixedSet
from tests.support import killing, processes
from tests.support.disks import full_disk
from tests.support.journals import ROWS, lines_of, open_ledger, outcome, spend
from tests.support.protocols import records, run, without_cost, write_protocol
from tests.support.votes import results, study_of


def torn_end(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1][:20]]


def torn_middle(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3][:25] + lines[4], *lines[5:]]


def nuls(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], bytes(700), lines[4][40:], *lines[5:]]


def flipped(lines: list[bytes]) -> list[bytes]:
    """One digit of one number: still JSON."""
    place = lines[3].index(b'"hole_share": 0.') + 17
    digit = b"%d" % ((int(lines[3][place : place + 1]) + 5) % 10)
    return [*lines[:3], lines[3][:place] + digit + lines[3][place + 1 :], *lines[4:]]


def no_beginning(lines: list[bytes]) -> list[bytes]:
    return [bytes(len(lines[0]) - 1) + b"\n", *lines[1:]]


# ---- benchmarks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [torn_end, torn_middle, nuls, flipped, no_beginning])
def test_a_damaged_journal_ends_in_the_record_of_a_whole_one(
    damage: Callable[[list[bytes]], list[bytes]],
    photos: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    arguments = [write_protocol(tmp_path), "--images", photos, "--methods", "Telea", "--out", tmp_path / "out"]
    assert run(*arguments) == 0
    (path,) = tmp_path.glob("out/journal/*/Telea/journal.jsonl")
    before, whole = without_cost(records(tmp_path / "out")), lines_of(path)
    path.write_bytes(b"".join(damage(whole)))
    assert run(*arguments) == 0
    assert f"{path}: line" in caplog.text and "damaged and skipped" in caplog.text
    caplog.clear()
    assert without_cost(records(tmp_path / "out")) == before
    assert len(lines_of(path)) == len(whole)
    assert run(*arguments) == 0 and "damaged" not in caplog.text


def test_a_journal_of_a_newer_format_is_named_as_newer(photos: Path, tmp_path: Path):
    (one,) = load_protocols(write_protocol(tmp_path), photos, limit=2)
    journal = Journal(Job("Telea", "Telea", one, tmp_path))
    journal.path.write_text(json.dumps(journal.identity | {"format": 2}) + "\n")
    with pytest.raises(ValueError, match=r"journal\.jsonl has format 2, of a newer lit-inpaint; this one reads 1"):
        Journal(Job("Telea", "Telea", one, tmp_path))


def test_rows_that_another_process_wrote_meanwhile_are_kept(photos: Path, tmp_path: Path):
    (one,) = load_protocols(write_protocol(tmp_path), photos, limit=3)
    job = Job("Telea", "Telea", one, tmp_path)
    late, early = Journal(job), Journal(job)
    for journal, index in ((early, 0), (late, 1)):
        with journal.writing():
            journal.append([{"index": index}])
    assert sorted(Journal(job).rows) == [0, 1]


def test_a_full_disk_names_the_journal_and_keeps_what_is_done(photos: Path, tmp_path: Path):
    (one,) = load_protocols(write_protocol(tmp_path), photos, limit=2)
    job = Job("Telea", "Telea", one, tmp_path)
    journal = Journal(job)
    with journal.writing():
        journal.append([{"index": 0}])
        with full_disk(journal.path.stat().st_size + 10), pytest.raises(OSError, match=r"journal\.jsonl"):
            journal.append([{"index": 1}])
    with Journal(job).writing():
        assert list(Journal(job).rows) == [0]


def test_a_full_disk_names_a_set_of_masks_and_a_panel(tmp_path: Path):
    with full_disk(50), pytest.raises(OSError, match="/masks'"):
        FixedSet(Wide(), 0, 2, 64, 64).write(tmp_path / "masks")
    with full_disk(50), pytest.raises(OSError, match=r"panel\.png"):
        panels._write_png(Image.effect_noise((64, 64), 50), tmp_path / "panel.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [write_text, lambda path, text: write_bytes(path, text.encode())])
def test_a_full_disk_names_the_file_that_was_to_be_written(write: Callable[[Path, str], None], tmp_path: Path):
    path = tmp_path / "record.json"
    write(path, "as it was")
    with full_disk(1000), pytest.raises(OSError, match=r"record\.json"):
        write(path, "x" * 5000)
    assert path.read_text() == "as it was" and list(tmp_path.iterdir()) == [path]


# ---- a flag that is added later ------------------------------------------------------------------------------------


def add_flag(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    name = "benchmark" if module is benchmark else "inpaint"
    parser = getattr(module.options, name)

    def longer(*given: Any) -> Any:
        p = parser(*given)
        p.add_argument("--sharpness", type=float, default=1.0)
        return p

    monkeypatch.setattr(module.options, name, longer)


def test_a_flag_added_to_benchmark_makes_it_measure_again(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    add_flag(monkeypatch, benchmark)
    arguments = [write_protocol(tmp_path), "--images", photos, "--methods", "Telea", "--out", tmp_path / "out"]
    assert run(*arguments) == 0
    (path,) = tmp_path.glob("out/journal/*/Telea/journal.jsonl")
    first = path.read_bytes()
    assert run(*arguments, "--device", "cpu") == 0 and path.read_bytes() == first  # nothing to do
    assert run(*arguments, "--sharpness", "2") == 0 and path.read_bytes() != first


def test_a_flag_added_to_inpaint_makes_a_folder_be_filled_again(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    add_flag(monkeypatch, inpaint)
    mask = tmp_path / "mask.png"
    picture = Image.new("L", (128, 128))
    picture.paste(255, (40, 40, 60, 60))
    picture.save(mask)
    arguments = ["--method", "Telea", "--image", str(photos), "--mask", str(mask), "--out", str(tmp_path / "out")]
    assert inpaint.main(arguments) == 0
    capsys.readouterr()
    assert inpaint.main([*arguments, "--device", "cpu"]) == 0
    assert "8 of them earlier" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--overwrite to replace 8"):
        inpaint.main([*arguments, "--sharpness", "2"])
    assert inpaint.main([*arguments, "--sharpness", "2", "--overwrite"]) == 0
    assert "before" not in capsys.readouterr().out


# ---- sweeps --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    spend(open_ledger(folder))
    return folder / "journal.log"


@pytest.mark.parametrize("kind", ["torn", "NULs", "merged"])
def test_a_sweep_lives_on_whichever_line_is_damaged(
    kind: str, whole_sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    lines = lines_of(whole_sweep)
    assert len({json.loads(line)["op_code"] for line in lines}) >= 5  # studies, trials, parameters, attributes, ends
    for number in range(len(lines) - 1):
        damaged = {
            "torn": [lines[number][:15] + b"\n"],
            "NULs": [bytes(len(lines[number]) - 1) + b"\n"],
            "merged": [lines[number][:30] + lines[number + 1]],
        }[kind]
        rest = lines[number + len(damaged) + (kind == "merged") :]
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "journal.log"
        path.write_bytes(b"".join([*lines[:number], *damaged, *rest]))
        ledger = open_ledger(folder)
        assert f"{path}: damaged lines skipped: {number + 1}" in capsys.readouterr().err
        assert path.with_name("journal.log.damaged").is_file()
        for trial in ledger.held():  # of a dead process: this test's is alive
            if not trial.state.is_finished():
                ledger.lose(trial.number, "its worker died")
        spend(ledger)
        assert outcome(ledger) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
        assert sum(map(lost, ledger.trials())) <= 1 + (kind == "merged")  # the others were not done again
        assert all(lost(trial) or trial.value == trial.user_attrs["drawn"]["x"] for trial in ledger.trials())
        assert outcome(open_ledger(folder)) == outcome(ledger)
        assert "damaged" not in capsys.readouterr().err


def test_a_full_disk_leaves_the_journal_of_a_sweep_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ledger, other = open_ledger(tmp_path), open_ledger(tmp_path)
    spend(ledger, 2)
    path = tmp_path / "journal.log"
    before = path.read_bytes()
    with full_disk(len(before) + 50), pytest.raises(OSError, match=r"journal\.log"):
        spend(ledger)
    assert path.read_bytes() == before
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"a')  # what Optuna itself leaves on a full disk
    spend(other)  # a worker that was running meanwhile
    assert outcome(open_ledger(tmp_path)) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"a')
    assert outcome(open_ledger(tmp_path)) == outcome(other)
    assert f"{path}: a torn last line was cut off" in capsys.readouterr().err


# ---- votes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("damage", "share"), [("a page of answers", 0.5), ("the end", 0.5), ("the raters", 1.0)])
def test_a_damaged_file_of_votes_keeps_what_can_be_read(
    damage: str, share: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    study = study_of(results(tmp_path))
    store = Store(study.database, study)
    for number in range(1, 13):
        store.begin(f"rater {number}", study, None)
        store._db.execute("insert into answer select rater, position, left, 0 from question where rater = ?", [number])
    votes = store.votes()
    (raters,) = store._db.execute("select rootpage from sqlite_master where name = 'rater'").fetchone()
    store.close()
    content = study.database.read_bytes()
    pages = len(content) // 4096
    page = {"a page of answers": pages * 2 // 3, "the end": pages * 3 // 4, "the raters": raters - 1}[damage]
    rest = b"" if damage == "the end" else bytes(4096) + content[4096 * (page + 1) :]
    study.database.write_bytes(content[: 4096 * page] + rest)
    store = Store(study.database, study)
    said = capsys.readouterr().out
    assert f"{study.database} is damaged" in said and f"{study.database.name}.damaged" in said
    kept = store.votes()
    assert set(kept) <= set(votes) and len(kept) >= len(votes) * share
    token = store.begin("late", study, None)  # never under the number of a rater who is lost
    assert store.answer(token, 0, left=True) and len(store.votes()) == len(kept) + 1
    assert len(store.raters()) == 13
    assert Store(study.database, study).votes() == store.votes() and "damaged" not in capsys.readouterr().out


def test_a_full_disk_under_a_vote_leaves_the_store_usable(tmp_path: Path):
    study = study_of(results(tmp_path))
    store = Store(study.database, study)
    with full_disk(study.database.stat().st_size), pytest.raises(sqlite3.OperationalError):
        for number in range(50):
            store.begin(f"rater {number}", study, None)
    before = len(store.raters())
    store.begin("after", study, None)
    assert len(store.raters()) == before + 1


# ---- metrics.csv ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(6))
def test_no_row_is_lost_by_a_kill_while_the_header_is_rewritten(number: int, tmp_path: Path):
    process = processes.start(killing.log_for_ever, str(tmp_path / "run"), folder=tmp_path)
    said, deadline = tmp_path / "logged.txt", time.monotonic() + 60
    while not (said.is_file() and said.read_text().count("\n") > 2) and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.013 * number)
    process.kill()
    process.join()
    logged = int(said.read_text().rsplit("\n", 2)[-2])
    rows = Run(tmp_path / "run").history
    assert rows.note is None or "images_seen" in rows.note
    (segment,) = read_segments(tmp_path / "run")
    assert [row["step"] for row in segment][: logged + 1] == list(range(logged + 1))
    assert all(row["train/loss"] == pytest.approx(row["step"] / 7) for row in segment)


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        ("5,1.25,,40\r\n6,", "5,1.6,", {5, 6}), ("5,1.25,,40", "\0" * 9, {5}), ("5,1.25,,40", "5,1.2\xff5,,40", {5}),
        ("5,1.25,,40", '5,"1.25,,40', {5}), ("5,1.25,,40", "5,1.25,,40,7", {5}), ("9,2.25,29,72\r\n", "9,2.2", {9}),
        ("step,", "\0\0\0\0,", set(range(10))), ("train/loss,val/psnr", "train/loss", set(range(10))),
    ],
)  # fmt: skip
def test_a_damaged_line_of_metrics_is_left_out_alone_and_named(old: str, new: str, lost: set[int], tmp_path: Path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(ROWS.encode())
    whole = {row["step"]: row for row in read_segments(tmp_path)[0]}
    assert old in ROWS and len(whole) == 10
    path.write_bytes(ROWS.replace(old, new, 1).encode("latin1"))
    (rows,) = read_segments(tmp_path)
    assert rows == [row for step, row in whole.items() if step not in lost]
    note = Run(tmp_path).history.note
    assert note is None if lost == {9} else note and str(path) in note and "skipped" in note


def test_a_full_disk_names_metrics_csv(tmp_path: Path):
    logger = SegmentedCSVLogger(str(tmp_path))
    logger.log_metrics({"a": 1.0}, 0)
    for new in ("a", "b"):  # a row, a new column
        with full_disk(20), pytest.raises(OSError, match=r"metrics\.csv"):
            logger.log_metrics({new: 1.23456789012}, 1)
        assert [row["a"] for row in read_segments(tmp_path)[0]][:1] == [1.0]


@pytest.mark.parametrize("name", ["config.yaml", "run.json", "metrics.csv"])
def test_one_damaged_run_folder_does_not_end_compare(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for folder in ("whole", "damaged"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "metrics.csv").write_text(ROWS)
        (tmp_path / folder / "config.yaml").write_text("model: {class_path: lit_inpaint.methods.PartialConv}\n")
        (tmp_path / folder / "run.json").write_text('{"seed": 3}')
    for content in (b"\0" * 50, b"{", b"\xff\xfe", b"- 1\n", b"!!timestamp x", b"a: &a [*a]", b"[" * 3000, b"5: 6"):
        (tmp_path / "damaged" / name).write_bytes(content)
        assert compare([str(tmp_path), "--out", str(tmp_path / "page.html")]) == 0
        said = capsys.readouterr().err
        if content != b"a: &a [*a]" or name != "config.yaml":
            assert str(tmp_path / "damaged" / name) in said, (content, said)
        assert f"{tmp_path}/whole" not in said
