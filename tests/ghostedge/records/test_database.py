"""Runs in an SQLite file: kept whole, together, and never at another file's cost."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghostedge.records.database import SCHEMA_VERSION, append, entries, load, prepare
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.record import Mark


def test_a_run_comes_back_as_it_went_in(tmp_path, one_case_run):
    run = one_case_run(7, marks=[Mark("throttled", "it throttled at 81 °C", fails_strict=True)])
    db = tmp_path / "lab.db"
    assert append(db, [run]) == 1
    assert load(db, [run.id]) == (run,)


def test_other_programs_find_a_case_by_its_columns(tmp_path, one_case_run):
    db = tmp_path / "lab.db"
    mark = Mark("drifted", "the last third took 8 % longer", case=0)
    run = one_case_run(7, model="out/net_int8.tflite", marks=[mark])
    append(db, [run])
    with sqlite3.connect(db) as connection:
        (row,) = connection.execute(
            "SELECT run_id, model, sha256, backend, threads, precision_mode, p50_ms, p90_ms, marks "
            "FROM cases"
        ).fetchall()
        (head,) = connection.execute("SELECT id, created, device, board FROM runs").fetchall()
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    result = run.results[0]
    assert row[:6] == (run.id, "net_int8.tflite", "ab" * 32, "litert", 1, "default")
    assert row[6:] == (result.p50_ms.value, result.p90_ms.value, "drifted")
    assert head == (run.id, run.created, "local", "Raspberry Pi 5 Model B Rev 1.0")
    assert version == SCHEMA_VERSION


def test_a_name_that_is_no_unicode_is_kept_as_an_escape(tmp_path, one_case_run):
    run = one_case_run(1, model="out/net\udcff.tflite", device="ssh://pi@a")
    run = replace(run, machine=replace(run.machine, board="Board \ud800\x1b[1m"))
    append(tmp_path / "lab.db", [run])
    (found,) = entries(tmp_path / "lab.db", device="ssh://pi@a")
    assert (found.board, found.models) == ("Board \\ud800\x1b[1m", ("net\\udcff.tflite",))
    assert load(tmp_path / "lab.db", [run.id]) == (run,)


def test_a_pipe_is_no_database_and_gets_no_journal(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="this is none"):
        prepare(tmp_path / "pipe")
    assert [each.name for each in tmp_path.iterdir()] == ["pipe"]


def test_the_latest_is_the_last_that_came_in_whatever_its_clock_said(tmp_path, one_case_run):
    db = tmp_path / "lab.db"
    append(db, [one_case_run(2, created="2026-11-20T10:00:00+00:00")])
    append(db, [one_case_run(1, created="1970-01-01T00:01:00+00:00")])
    assert [int(each.id, 16) for each in entries(db)] == [2, 1]


def test_runs_of_one_device_are_listed_alone(tmp_path, one_case_run):
    db = tmp_path / "lab.db"
    append(db, [one_case_run(1, device="ssh://pi@a"), one_case_run(2, device="ssh://pi@b")])
    (found,) = entries(db, device="ssh://pi@b")
    assert (found.id, found.models, found.marks) == (f"{2:016x}", ("model_int8.tflite",), ())


def test_a_run_that_is_there_already_is_not_kept_twice(tmp_path, one_case_run):
    db = tmp_path / "lab.db"
    assert append(db, [one_case_run(1)]) == 1
    assert append(db, [one_case_run(1), one_case_run(2)]) == 1
    assert len(entries(db)) == 2


def test_another_run_under_a_known_id_is_refused_and_none_of_its_company_kept(
    tmp_path, one_case_run
):
    db = tmp_path / "lab.db"
    append(db, [one_case_run(1)])
    edited = replace(one_case_run(1), device="ssh://pi@other")
    with pytest.raises(InputError, match="another run of the id 0000000000000001"):
        append(db, [one_case_run(2), edited])
    assert [each.device for each in entries(db)] == ["local"]


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path, one_case_run):
    file = tmp_path / "notes.txt"
    file.write_text("not a database, but dear to someone " * 50)
    before = file.read_bytes()
    with pytest.raises(InputError, match=r"(?s)notes\.txt.*not a database.*name another"):
        append(file, [one_case_run(1)])
    with pytest.raises(InputError, match="not a database"):
        entries(file)
    assert file.read_bytes() == before


def test_another_programs_database_is_left_as_it_is(tmp_path, one_case_run):
    file = tmp_path / "contacts.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE runs (name TEXT)")
    before = file.read_bytes()
    with pytest.raises(InputError, match="another program's database"):
        append(file, [one_case_run(1)])
    assert file.read_bytes() == before


def test_a_database_of_a_newer_version_is_left_as_it_is(tmp_path, one_case_run):
    db = tmp_path / "lab.db"
    append(db, [one_case_run(1)])
    with sqlite3.connect(db) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = db.read_bytes()
    for use in (lambda: append(db, [one_case_run(2)]), lambda: entries(db)):
        with pytest.raises(InputError, match=r"(?s)of version 2, this GhostEdge knows 1.*pip"):
            use()
    assert db.read_bytes() == before


def test_an_empty_file_becomes_a_database_but_holds_nothing_to_read(tmp_path, one_case_run):
    db = tmp_path / "lab.db"
    db.touch()
    with pytest.raises(InputError, match="it is empty"):
        entries(db)
    append(db, [one_case_run(1)])
    assert len(entries(db)) == 1


def test_reading_makes_no_file(tmp_path):
    with pytest.raises(InputError, match=r"(?s)no such file.*ghostedge bench MODEL --db"):
        entries(tmp_path / "lab.db")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_said_before_a_measurement_is_made(tmp_path):
    with pytest.raises(InputError, match=r"(?s)unable to open.*folder that is there"):
        prepare(tmp_path / "missing" / "lab.db")


def _read_and_fail_to_write(db: Path, run) -> None:
    if os.geteuid() == 0:
        os.setuid(65534)  # root may write everywhere
    assert len(entries(db)) == 1
    for write in (lambda: prepare(db), lambda: append(db, [run])):
        with pytest.raises(InputError, match="make the file and its folder writable"):
            write()


def test_a_database_that_is_write_protected_can_be_read_but_not_added_to(one_case_run):
    with tempfile.TemporaryDirectory() as folder:
        db = Path(folder) / "lab.db"
        append(db, [one_case_run(1)])
        db.chmod(0o444)
        Path(folder).chmod(0o555)
        child = multiprocessing.get_context("fork").Process(
            target=_read_and_fail_to_write, args=(db, one_case_run(2))
        )
        child.start()
        child.join(60)
        Path(folder).chmod(0o755)
        assert child.exitcode == 0
        assert len(entries(db)) == 1


def test_a_database_held_by_another_is_said_to_be_busy(tmp_path, one_case_run, monkeypatch):
    monkeypatch.setattr("ghostedge.records.database._WAIT_S", 0.01)
    db = tmp_path / "lab.db"
    append(db, [one_case_run(1)])
    holder = sqlite3.connect(db, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(InputError, match=r"(?s)locked.*end that one"):
            append(db, [one_case_run(2)])
    finally:
        holder.close()
    assert append(db, [one_case_run(2)]) == 1


def _append_all(db: Path, runs: list) -> None:
    for run in runs:
        append(db, [run])


def test_benches_that_end_at_once_lose_no_run(tmp_path, one_case_run):
    db = tmp_path / "lab.db"
    context = multiprocessing.get_context("fork")
    runs = [[one_case_run(10 * who + each) for each in range(5)] for who in range(4)]
    children = [context.Process(target=_append_all, args=(db, mine)) for mine in runs]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 4
    assert sorted(each.id for each in entries(db)) == sorted(r.id for mine in runs for r in mine)


def _append_and_die(db: Path, run) -> None:
    with sqlite3.connect(db, isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM runs")
        connection.execute("PRAGMA cache_spill = 1")
        os._exit(9)


def test_a_writer_that_dies_leaves_what_was_there(tmp_path, one_case_run):
    db = tmp_path / "lab.db"
    append(db, [one_case_run(1)])
    child = multiprocessing.get_context("fork").Process(
        target=_append_and_die, args=(db, one_case_run(2))
    )
    child.start()
    child.join(60)
    assert child.exitcode == 9
    assert [each.id for each in entries(db)] == [f"{1:016x}"]
    assert append(db, [one_case_run(3)]) == 1


def test_a_damaged_document_is_named_by_its_run(tmp_path, one_case_run):
    db = tmp_path / "lab.db"
    append(db, [one_case_run(1)])
    with sqlite3.connect(db) as connection:
        connection.execute("UPDATE runs SET document = substr(document, 1, 100)")
    with pytest.raises(InputError, match="0000000000000001 in it is not JSON"):
        load(db, [f"{1:016x}"])


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_any_names_survive(tmp_path, one_case_run, name):
    run = one_case_run(1, model=name, device=name)
    db = tmp_path / f"{abs(hash(name))}.db"
    append(db, [run])
    assert load(db, [run.id]) == (run,)
    assert entries(db, device=name)[0].id == run.id


def test_a_database_may_have_any_name(tmp_path, one_case_run):
    db = tmp_path / "lab 100 % #1?mode=memory.db"
    append(db, [one_case_run(1)])
    assert [each.name for each in tmp_path.iterdir()] == [db.name]
    assert len(entries(db)) == 1
