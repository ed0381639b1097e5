"""Runs in one SQLite file, for good.

A run is kept whole, as the JSON document that ``ghostedge bench -o`` writes, beside columns to look
it up by; ``docs/history.md`` describes the tables, which other programs may read. Every write is
one immediate transaction in SQLite's rollback journal: two benches that end at once wait for each
other, and an interrupted one leaves the file as it was. (Write-ahead logging would leave two more
files beside it and does not work on network folders, where a lab keeps such a file.) Nothing is
ever changed or removed.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ghostedge_runtime.errors import InputError
from ghostedge_runtime.record import BenchRun, Result, document, runs_of

SCHEMA_VERSION = 1
APPLICATION_ID = 0x47684564
"""``GhEd``, in the header of our files: it distinguishes them from other programs' databases."""

_WAIT_S = 30.0
_TABLES = (
    """CREATE TABLE runs (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        created TEXT NOT NULL,
        device TEXT NOT NULL,
        board TEXT,
        document TEXT NOT NULL
    )""",
    """CREATE TABLE cases (
        run_id TEXT NOT NULL REFERENCES runs (id),
        number INTEGER NOT NULL,
        model TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        backend TEXT NOT NULL,
        threads INTEGER NOT NULL,
        precision_mode TEXT NOT NULL,
        p50_ms REAL,
        p90_ms REAL,
        marks TEXT NOT NULL,
        PRIMARY KEY (run_id, number)
    )""",
    "CREATE INDEX cases_by_model ON cases (model, backend, threads, precision_mode)",
    "CREATE INDEX cases_by_sha256 ON cases (sha256)",
)

Where = str | os.PathLike[str]


@dataclass(frozen=True)
class Entry:
    """What a list of runs shows of one.

    Attributes:
        id: Of the run.
        created: When it began, by its machine's clock.
        device: As it was named on the command line.
        board: What it ran on: a board's name, else the processor's.
        models: File names of its models, in order, each once.
        marks: Kinds of its marks, each once.
    """

    id: str
    created: str
    device: str
    board: str | None
    models: tuple[str, ...]
    marks: tuple[str, ...]


def prepare(db: Where) -> None:
    """Make the file where there is none, and check that runs can be kept in it.

    To be called before a measurement, so that it is not made in vain.

    Raises:
        InputError: The file is of another program or of a newer GhostEdge, or cannot be written.
    """
    append(db, ())


def append(db: Where, runs: Iterable[BenchRun]) -> int:
    """Keep runs, all or none of them.

    Args:
        db: The file; it is made where there is none.
        runs: Those that are there already are left as they are.

    Returns:
        How many were new.

    Raises:
        InputError: The file is of another program or of a newer GhostEdge, cannot be written, or
            has another run under the same id. It is then as it was.
    """
    with _opened(db, create=True) as connection:
        connection.execute("BEGIN IMMEDIATE")
        if not _is_ours(connection, db):
            _make_tables(connection)
        # Written anew each time, so that `prepare` finds out whether writing is allowed at all.
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        added = sum(_store(connection, run, db) for run in runs)
        connection.execute("COMMIT")
    return added


def entries(db: Where, *, device: str | None = None) -> tuple[Entry, ...]:
    """The runs in a file, in the order in which they came into it.

    That order, not their dates, says which is latest: a board without a clock battery may believe
    that it is 1970.

    Args:
        db: The file.
        device: Only those of this device, as the command line named it.

    Raises:
        InputError: There is no such file, or it is none of ours.
    """
    with _reading(db) as connection:
        rows = connection.execute(
            "SELECT id, created, device, board FROM runs "
            "WHERE ?1 IS NULL OR device = ?1 ORDER BY position",
            (device,),
        ).fetchall()
        return tuple(
            Entry(run_id, created, named, board, *_cases_of(connection, run_id))
            for run_id, created, named, board in rows
        )


def load(db: Where, ids: Sequence[str]) -> tuple[BenchRun, ...]:
    """The runs of these ids, in the order given.

    Raises:
        InputError: There is no such run, or it cannot be read.
    """
    with _reading(db) as connection:
        return tuple(_loaded(connection, run_id, db) for run_id in ids)


def _store(connection: sqlite3.Connection, run: BenchRun, db: Where) -> bool:
    text = json.dumps(document([run]), separators=(",", ":"), sort_keys=True)
    stored = connection.execute("SELECT document FROM runs WHERE id = ?", (run.id,)).fetchone()
    if stored is not None:
        if stored[0] != text:
            raise InputError(
                f"it holds another run of the id {run.id}",
                where=db,
                remedy="one of the two was edited: keep this one in another file",
            )
        return False
    board = _valid(run.machine.board or run.machine.cpu or "") or None
    connection.execute(
        "INSERT INTO runs (id, created, device, board, document) VALUES (?, ?, ?, ?, ?)",
        (run.id, _valid(run.created), _valid(run.device), board, text),
    )
    connection.executemany(
        "INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_case_row(run, number, result) for number, result in enumerate(run.results)],
    )
    return True


def _valid(text: str) -> str:
    """SQLite's text is valid Unicode, which a file's name or a device's word need not be."""
    return text.encode(errors="backslashreplace").decode()


def _case_row(run: BenchRun, number: int, result: Result) -> tuple[str | int | float | None, ...]:
    case = result.case
    kinds = dict.fromkeys(mark.kind for mark in run.marks_of(number))
    return (
        run.id,
        number,
        _valid(Path(case.model).name),
        case.sha256,
        case.backend,
        case.threads,
        case.precision_mode,
        None if result.p50_ms is None else result.p50_ms.value,
        None if result.p90_ms is None else result.p90_ms.value,
        ",".join(kinds),
    )


def _cases_of(
    connection: sqlite3.Connection, run_id: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    rows = connection.execute(
        "SELECT model, marks FROM cases WHERE run_id = ? ORDER BY number", (run_id,)
    ).fetchall()
    kinds = (kind for _, marks in rows for kind in marks.split(",") if kind)
    return tuple(dict.fromkeys(model for model, _ in rows)), tuple(dict.fromkeys(kinds))


def _loaded(connection: sqlite3.Connection, run_id: str, db: Where) -> BenchRun:
    row = connection.execute("SELECT document FROM runs WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise InputError(f"it holds no run {run_id}", where=db)
    try:
        parsed = json.loads(row[0])
    except ValueError as error:
        raise InputError(
            f"the run {run_id} in it is not JSON ({error})",
            where=db,
            remedy="the file was changed by something else: take a copy of before",
        ) from error
    return runs_of(parsed, f"{db}, run {run_id}")[0]


@contextmanager
def _reading(db: Where) -> Iterator[sqlite3.Connection]:
    if not Path(db).is_file():
        raise InputError(
            "there is no such file", where=db, remedy=f"`ghostedge bench MODEL --db {db}` makes it"
        )
    with _opened(db, create=False) as connection:
        if not _is_ours(connection, db):
            raise InputError("it is empty", where=db, remedy="`ghostedge bench --db` fills it")
        yield connection


@contextmanager
def _opened(db: Where, *, create: bool) -> Iterator[sqlite3.Connection]:
    """A connection whose transaction is undone unless it was committed."""
    if Path(db).exists() and not Path(db).is_file():  # SQLite would leave its journal beside it
        raise InputError(
            "measurements are kept in a file, and this is none",
            where=db,
            remedy="name another file, or one that is not there yet",
        )
    address = f"{Path(db).absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    try:
        with closing(
            sqlite3.connect(address, uri=True, timeout=_WAIT_S, isolation_level=None)
        ) as connection:
            yield connection
    except sqlite3.Error as error:
        raise InputError(
            f"measurements cannot be kept in it or read from it ({error})",
            where=db,
            remedy=next(
                (words for part, words in _REMEDIES.items() if part in str(error)),
                "name another file, or one that is not there yet",
            ),
        ) from error


_REMEDIES = {
    "unable to open": "name a file in a folder that is there and that you may write to",
    "readonly": "make the file and its folder writable for you, or name another",
    "locked": "another program keeps it busy: end that one, then try again",
    "full": "free some space, then try again",
    "not a database": "it is some other file, and was left as it is: name another",
}
"""By a part of SQLite's own message, what to do; its error codes come with Python 3.11 only."""


def _is_ours(connection: sqlite3.Connection, db: Where) -> bool:
    """Whether the tables are there; False for a file without content.

    Raises:
        InputError: It has another program's content, or a newer GhostEdge's.
    """
    application, version, tables = (
        connection.execute(query).fetchone()[0]
        for query in (
            "PRAGMA application_id",
            "PRAGMA user_version",
            "SELECT count(*) FROM sqlite_master",
        )
    )
    if (application, version, tables) == (0, 0, 0):
        return False
    if application != APPLICATION_ID:
        raise InputError(
            "it is another program's database, and was left as it is",
            where=db,
            remedy="name another file",
        )
    if version > SCHEMA_VERSION:
        raise InputError(
            f"its tables are of version {version}, this GhostEdge knows {SCHEMA_VERSION}; it was "
            "left as it is",
            where=db,
            remedy="pip install -U ghostedge, or name another file",
        )
    return True


def _make_tables(connection: sqlite3.Connection) -> None:
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
