"""From what a person types to the runs it stands for.

Without a database each word is a file that ``ghostedge bench -o`` wrote. With one it is ``latest``,
``latest~1`` for the one before, or the beginning of an id.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ghostedge.records.database import Entry, entries, load
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.record import BenchRun, read_runs

_LATEST = re.compile(r"latest(?:~(\d+))?")
_MIN_PREFIX = 4


def from_files(text: str) -> tuple[BenchRun, ...]:
    """The runs of files, given as ``FILE,FILE,…``.

    Raises:
        InputError: A file cannot be read, is no measurement, or holds no run.
    """
    # A file whose name has a comma in it is taken at its word.
    names = [text] if Path(text).is_file() else _split(text)
    all_runs: list[BenchRun] = []
    for name in names:
        runs = read_runs(name)
        if not runs:
            raise InputError("it holds no run", where=name)
        all_runs += runs
    return tuple(all_runs)


def from_database(
    db: Path, texts: Sequence[str], *, device: str | None = None
) -> list[tuple[BenchRun, ...]]:
    """The runs of each text, ``WORD,WORD,…``.

    Args:
        db: The database.
        texts: One for each side.
        device: Look among this device's runs alone; ``latest`` is then the latest of its own.

    Raises:
        InputError: There is no such run, or an id's beginning is that of several.
    """
    listed = entries(db, device=device)
    if not listed:
        raise InputError("it holds no run" + (f" of {device}" if device else ""), where=db)
    return [load(db, [_one(word, listed, db) for word in _split(text)]) for text in texts]


def _split(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise InputError(f"{text!r} has an empty place between commas")
    return words


def _one(word: str, listed: Sequence[Entry], db: Path) -> str:
    latest = _LATEST.fullmatch(word)
    if latest is not None:
        back = int(latest[1] or 0)
        if back >= len(listed):
            raise InputError(f"it holds {len(listed)} run(s), too few for {word}", where=db)
        return listed[-1 - back].id
    return _by_prefix(word, listed, db)


def _by_prefix(word: str, listed: Sequence[Entry], db: Path) -> str:
    ids = [entry.id for entry in listed if entry.id.startswith(word.lower())]
    if len(word) >= _MIN_PREFIX and len(ids) == 1:
        return ids[0]
    if len(ids) > 1:
        raise InputError(
            f"{word} is the beginning of {len(ids)} runs: {', '.join(ids[:5])}"
            + (", …" if len(ids) > 5 else ""),
            where=db,
            remedy="give more of it",
        )
    raise InputError(
        f"it holds no run {word}",
        where=db,
        remedy=f"name latest, latest~1, … or at least {_MIN_PREFIX} digits of an id: "
        f"`ghostedge compare --db {db}` lists them",
    )
