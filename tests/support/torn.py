"""Journals and tables that a crash damaged at a random place, each read by the command that resumes from it."""

import contextlib
import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from experiments.inpaint import command as inpaint
from experiments.run import Run
from experiments.run.curves import read_segments
from experiments.vote.store import Store
from lit_inpaint.options import show_messages
from tests.support.journals import ROWS, lines_of, open_ledger, outcome, spend
from tests.support.pictures import photo
from tests.support.protocols import records, run, without_cost, write_protocol
from tests.support.votes import results, study_of

DAMAGES = ("torn end", "torn middle", "NULs")


def damaged(content: bytes, damage: str, rng: random.Random) -> bytes:
    """Damage by a full disk (a truncated end or line, followed by the next line) or a crash of the machine."""
    if damage == "torn middle":
        lines = content.splitlines(keepends=True)
        number = rng.randrange(len(lines) - 1)
        cut = rng.randrange(lines[number].find(b",") + 1, len(lines[number]) - 2)
        return b"".join([*lines[:number], lines[number][:cut], *lines[number + 1 :]])
    begin = rng.randrange(1, len(content))
    end = min(len(content), begin + rng.randrange(1, min(4096, len(content) // 2)))
    return content[:begin] + (bytes(end - begin) + content[end:] if damage == "NULs" else b"")


@contextlib.contextmanager
def silent() -> Iterator[io.StringIO]:
    show_messages()
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
        yield said


def tear(path: Path, damage: str, rng: random.Random) -> tuple[set[bytes], bool]:
    """Damage a file of lines; return the intact lines, and whether any complete line is corrupted."""
    whole = set(lines_of(path))
    path.write_bytes(damaged(path.read_bytes(), damage, rng))
    lines = lines_of(path)
    return whole & set(lines), any(line not in whole for line in lines if line.endswith(b"\n"))


def photos(folder: Path) -> Path:
    (folder / "photos").mkdir()
    for number in range(6):
        photo(number, (64, 64)).save(folder / f"photos/{number}.png")
    return folder / "photos"


def benchmark(folder: Path, damage: str, rng: random.Random) -> str:
    arguments = [write_protocol(folder), "--images", photos(folder), "--methods", "Telea", "--out", folder / "out"]
    with silent():
        assert run(*arguments) == 0
    (path,) = folder.glob("out/journal/*/Telea/journal.jsonl")
    before, whole = without_cost(records(folder / "out")), lines_of(path)
    left, between = tear(path, damage, rng)
    with silent() as said:
        assert run(*arguments) == 0
    assert not between or f"{path}: line" in said.getvalue(), f"not named: {said.getvalue()[-500:]}"
    assert without_cost(records(folder / "out")) == before, "another record"
    assert len(lines_of(path)) == len(whole)
    return f"{len(left)} of {len(whole)} lines left, the record is the same"


def inpaints(folder: Path, damage: str, rng: random.Random) -> str:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (20, 20, 40, 40))
    mask.save(folder / "mask.png")
    arguments = ["--method", "Telea", "--image", str(photos(folder)), "--mask", str(folder / "mask.png")]
    arguments += ["--out", str(folder / "out"), "--overwrite"]
    with silent():
        assert inpaint.main(arguments) == 0
    path, outputs = folder / "out/.lit-inpaint/journal.jsonl", sorted(folder.glob("out/**/*.png"))
    whole, before = lines_of(path), [file.read_bytes() for file in outputs]
    left, between = tear(path, damage, rng)
    with silent() as said:
        assert inpaint.main(arguments) == 0
    assert not between or f"{path}: line" in said.getvalue(), f"not named: {said.getvalue()[-500:]}"
    assert [file.read_bytes() for file in sorted(folder.glob("out/**/*.png"))] == before and len(before) >= 6
    assert len(lines_of(path)) == len(whole)
    return f"{len(left)} of {len(whole)} lines left, the pictures are the same"


def sweep(folder: Path, damage: str, rng: random.Random) -> str:
    spend(open_ledger(folder))
    path = folder / "journal.log"
    whole = lines_of(path)
    left, between = tear(path, damage, rng)
    with silent() as said:
        ledger = open_ledger(folder)
    assert not between or str(path) in said.getvalue(), f"not named: {said.getvalue()[-500:]}"
    for trial in ledger.held():  # of a dead process, in a real sweep
        if not trial.state.is_finished():
            ledger.lose(trial.number, "its worker died")
    spend(ledger)
    assert outcome(ledger) == outcome(open_ledger(folder)) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    return f"{len(left)} of {len(whole)} lines left, it ends with the same trials"


def vote(folder: Path, damage: str, rng: random.Random) -> str:
    """Its file has pages, not lines: a page of zeros, a page of another time, an end that is cut off."""
    study = study_of(results(folder))
    store, path = Store(study.database, study), study.database
    for number in range(1, 13):
        store.begin(f"rater {number}", study, None)
        store._db.execute("insert into answer select rater, position, left, 0 from question where rater = ?", [number])
    votes = store.votes()
    store.close()
    content = path.read_bytes()
    page, other = (4096 * number for number in rng.sample(range(1, len(content) // 4096), 2))
    middle = bytes(4096) if damage == "NULs" else content[other : other + 4096]
    path.write_bytes(content[:page] + (b"" if damage == "torn end" else middle + content[page + 4096 :]))
    with silent() as said:
        store = Store(path, study)
    kept = store.votes()
    assert set(kept) <= set(votes), "votes that nobody gave"
    assert kept == votes or f"{path} is damaged" in said.getvalue(), f"not named: {said.getvalue()[-500:]}"
    token = store.begin("late", study, None)
    assert store.answer(token, 0, left=True) and len(store.votes()) == len(kept) + 1
    store.close()
    return f"{len(kept)} of {len(votes)} votes left"


def metrics(folder: Path, damage: str, rng: random.Random) -> str:
    path = folder / "metrics.csv"
    path.write_bytes(ROWS.encode())
    whole = {row["step"]: row for row in read_segments(folder)[0]}
    header = lines_of(path)[0]
    left, between = tear(path, damage, rng)
    untouched = {int(line.split(b",")[0]) for line in left - {header}} if header in left else set()
    found = read_segments(folder)
    rows = {row["step"]: row for row in found[0]} if found else {}
    assert all(row == whole.get(step) for step, row in rows.items()), f"rows that nobody logged: {rows}"
    assert untouched <= set(rows), f"rows {untouched - set(rows)} are left out"
    note = Run(folder).history.note or ""
    assert not between or str(path) in note, f"not named: {note}"
    return f"{len(rows)} of {len(whole)} rows left"


KINDS: dict[str, Callable[[Path, str, random.Random], str]] = {
    "benchmark": benchmark, "inpaint": inpaints, "sweep": sweep, "vote": vote, "metrics.csv": metrics,
}  # fmt: skip
