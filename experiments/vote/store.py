"""Raters, questions and answers in one SQLite file: an answer is on disk before the page continues."""

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from experiments.vote.study import Question, Study
from masks.atomic import next_free, whole

CONSISTENT = 0.75  # RePaint: raters with fewer equal answers to repeated pairs are excluded

_SCHEMA = """
create table if not exists study (hash text, reference text);
create table if not exists shown (label text primary key, method_hash text);
create table if not exists rater (id integer primary key, token text unique, name text, begun real);
create table if not exists question (rater integer, position integer, rival text, image text, left integer,
    primary key (rater, position));
create table if not exists answer (rater integer, position integer, rival_preferred integer, at real,
    primary key (rater, position));
"""


@dataclass(frozen=True)
class Vote:
    rater: int
    rival: str
    image: str
    preferred: bool  # the rival


@dataclass(frozen=True)
class Rater:
    """``consistency``: fraction of repeated pairs with equal answers; None without any."""

    id: int
    name: str
    consistency: float | None


class Store:
    """One file, one connection for all threads of the page."""

    def __init__(self, path: Path, study: Study) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            if damage := _damage(path):
                kept = _salvage(path)
                print(f"lit-inpaint: {path} is damaged ({damage}): continuing with what can be read; kept in {kept}.")
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
            self._db.execute("pragma synchronous = full")
            self._db.executescript(_SCHEMA)
            known = self._db.execute("select hash, reference from study").fetchone()
            if known is None:
                self._db.execute("insert into study values (?, ?)", (study.hash, study.reference))
            elif known != (study.hash, study.reference):
                raise ValueError(f"{path} holds answers about other images (protocol {known[0][:8]}); move it away.")
            self._refuse_changed(path, study)
            self._db.execute("create temp table pair (rival, image, primary key (rival, image))")
            self._db.executemany("insert into pair values (?, ?)", study.pairs)
        except sqlite3.DatabaseError as error:
            if _code(error) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
                raise ValueError(f"{path} is not a file of answers ({error}); move it away.") from error
            raise ValueError(
                f"{path} cannot be used now ({error}): another process holds it, the disk is full, or its folder may "
                "not be written. Its answers are untouched; mend that and run the command again."
            ) from error

    def _refuse_changed(self, path: Path, study: Study) -> None:
        """Answers are about the pictures that were shown; a file of an earlier version does not say which."""
        answered = {vote.rival for vote in self.votes()}
        answered |= {study.reference} if answered else set()
        shown = dict(self._db.execute("select label, method_hash from shown"))
        for label, record in study.records.items():
            if (known := shown.get(label)) == record.method_hash:
                continue
            if known and label in answered:
                rest = "" if label == study.reference else "name the others with --against, or "
                raise ValueError(
                    f"{path} holds answers about earlier pictures by '{label}', which has changed since; "
                    f"{rest}move the file away."
                )
            self._db.execute("insert or replace into shown values (?, ?)", (label, record.method_hash))

    def begin(self, name: str, study: Study, pairs: int | None) -> str:
        """Add a rater with their questions; return the token for their browser."""
        token, seed = secrets.token_urlsafe(16), secrets.randbits(63)
        with self._lock, self._db:  # all of it or nothing, if the disk is full
            self._db.execute("begin")
            row = self._db.execute(
                "insert into rater (token, name, begun) values (?, ?, ?)", (token, name, time.time())
            )
            rater = row.lastrowid
            asked = enumerate(study.questions(seed, pairs))
            self._db.executemany(
                "insert into question values (?, ?, ?, ?, ?)", [(rater, i, q.rival, q.image, q.left) for i, q in asked]
            )
        return token

    def question(self, token: str, position: int | None = None) -> tuple[int, tuple[int, int], Question] | None:
        """(position, (how many are answered, how many there are), question): the next one without an answer, or that at
        ``position``. Those that are not in this study, by a method left out or without a picture, are skipped."""
        sql = (
            "select position, answer.at is null, rival, image, left from rater join question on rater = id "
            "join temp.pair using (rival, image) left join answer using (rater, position) "
            "where token = ? order by position"
        )
        with self._lock:
            rows = self._db.execute(sql, (token,)).fetchall()
        answered = sum(not row[1] for row in rows)
        for place, is_open, rival, image, left in rows:
            if is_open if position is None else place == position:
                return place, (answered, len(rows)), Question(rival, image, bool(left))
        return None

    def known(self, token: str) -> bool:
        with self._lock:
            return self._db.execute("select 1 from rater where token = ?", (token,)).fetchone() is not None

    def answer(self, token: str, position: int, left: bool) -> bool:
        """Store an answer; the first one per question counts. False for a question that was not asked."""
        found = self.question(token, position)
        if found is None:
            return False
        with self._lock:
            self._db.execute(
                "insert or ignore into answer select id, ?, ?, ? from rater where token = ?",
                (position, found[2].left == left, time.time(), token),
            )
        return True

    def votes(self) -> list[Vote]:
        sql = "select rater, rival, image, rival_preferred from answer join question using (rater, position)"
        with self._lock:
            return [Vote(r, rival, image, bool(p)) for r, rival, image, p in self._db.execute(sql)]

    def raters(self) -> list[Rater]:
        """Every rater and their self-consistency."""
        twice: dict[int, list[bool]] = {}
        first: dict[tuple[int, str, str], bool] = {}
        for vote in self.votes():
            key = vote.rater, vote.rival, vote.image
            if key in first:
                twice.setdefault(vote.rater, []).append(first[key] == vote.preferred)
            first[key] = vote.preferred
        with self._lock:
            rows = self._db.execute("select id, name from rater order by id").fetchall()
        names = [f"{name or 'rater'} ({number})" for number, name in rows]
        shares = [sum(alike) / len(alike) if (alike := twice.get(number)) else None for number, _ in rows]
        return [Rater(number, name, share) for (number, _), name, share in zip(rows, names, shares, strict=True)]

    def close(self) -> None:
        self._db.close()


def _damage(path: Path) -> str | None:
    """Damage that SQLite finds in an existing file."""
    if not path.is_file() or not path.stat().st_size:
        return None
    with closing(sqlite3.connect(path)) as file:
        try:
            found = [str(row[0]) for row in file.execute("pragma integrity_check")]
        except sqlite3.DatabaseError as error:
            if _code(error) != sqlite3.SQLITE_CORRUPT:  # busy, unreadable, no space: the answers may be whole
                raise
            return str(error)
    return None if found == ["ok"] else found[0].splitlines()[-1]


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary code of an error."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _salvage(path: Path) -> Path:
    """Replace a damaged file by an intact one with what can still be read, once a copy of it is on the disk."""
    kept = next_free(path.with_name(f"{path.name}.damaged"))
    content = path.read_bytes()
    with whole(kept, flush=True) as part:
        part.write_bytes(content)
    # SQLite reads nothing of a file that is shorter than its header says: zeros stand for the pages that are cut off.
    size = int.from_bytes(content[16:18], "big") * int.from_bytes(content[28:32], "big")
    with (
        whole(path, flush=True) as part,
        closing(sqlite3.connect(":memory:")) as old,
        closing(sqlite3.connect(part)) as new,
    ):
        old.deserialize(content.ljust(min(size, 1 << 28), b"\0"))
        new.executescript(_SCHEMA)
        for table in ("study", "shown", "rater", "question", "answer"):
            columns = ", ".join(c[1] for c in new.execute(f"pragma table_info({table})"))
            for row in _readable(old, table):
                marks = ", ".join("?" * len(row))
                new.execute(f"insert or ignore into {table} (rowid, {columns}) values ({marks})", row)
        for table in ("question", "answer"):  # those of a lost rater stay theirs: a new one never gets their number
            raters = f"select distinct rater from {table} where rater is not null"
            new.execute(f"insert or ignore into rater (id) {raters}")
        new.commit()
    return kept


def _readable(old: sqlite3.Connection, table: str) -> Iterator[tuple[object, ...]]:
    """A damaged page ends a scan: rows up to it from both sides."""
    for order in ("asc", "desc"):
        with suppress(sqlite3.DatabaseError):
            yield from old.execute(f"select rowid, * from {table} order by rowid {order}")
