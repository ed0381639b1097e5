"""Words of the command line and the runs they stand for."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ghostedge.comparison.selection import from_database, from_files
from ghostedge.records.database import append
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.record import document


@pytest.fixture
def lab(tmp_path, one_case_run):
    """Five runs, those of two boards in turn."""
    db = tmp_path / "lab.db"
    for number in range(1, 6):
        append(db, [one_case_run(number, device=f"ssh://pi@{'ab'[number % 2]}")])
    return db


def _numbers(sides):
    return [[int(run.id, 16) for run in side] for side in sides]


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (("latest~1", "latest"), [[4], [5]]),
        (("latest~4,latest~3", "latest"), [[1, 2], [5]]),
        (("0000000000000002", "latest~0"), [[2], [5]]),
    ],
)
def test_words_name_runs(lab, words, numbers):
    assert _numbers(from_database(lab, words)) == numbers


def test_latest_of_a_device_is_the_latest_of_its_own(lab):
    found = from_database(lab, ("latest~1", "latest"), device="ssh://pi@a")
    assert _numbers(found) == [[2], [4]]


def test_the_beginning_of_an_id_is_enough_where_it_is_one_runs(tmp_path, one_case_run):
    db = tmp_path / "lab.db"
    ids = ("abcd000000000000", "abcd100000000000")
    append(db, [replace(one_case_run(n), id=each) for n, each in enumerate(ids)])
    ((found,),) = from_database(db, ("ABCD1",))
    assert found.id == ids[1]
    with pytest.raises(InputError, match=r"(?s)abcd is the beginning of 2 runs: abcd0.*more of it"):
        from_database(db, ("abcd",))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("latest~5", "holds 5 run.s., too few for latest~5"),
        ("ffff", r"(?s)holds no run ffff.*compare --db"),
        ("000", "is the beginning of 5 runs"),
        ("latest,,latest~1", "empty place between commas"),
        ("latest~x", "holds no run latest~x"),
    ],
)
def test_words_that_name_none_are_refused(lab, word, message):
    with pytest.raises(InputError, match=message):
        from_database(lab, (word,))


def test_a_device_that_was_never_measured_is_named(lab):
    with pytest.raises(InputError, match="holds no run of ssh://pi@c"):
        from_database(lab, ("latest",), device="ssh://pi@c")


def _write(path, *runs):
    path.write_text(json.dumps(document(runs)))
    return path


def test_files_name_all_the_runs_in_them(tmp_path, one_case_run):
    one = _write(tmp_path / "one.json", one_case_run(1), one_case_run(2))
    two = _write(tmp_path / "two.json", one_case_run(3))
    assert [int(run.id, 16) for run in from_files(f"{one},{two}")] == [1, 2, 3]


def test_a_file_with_a_comma_in_its_name_is_one_file(tmp_path, one_case_run):
    path = _write(tmp_path / "fast,slow.json", one_case_run(1))
    assert len(from_files(str(path))) == 1


def test_a_file_without_a_run_is_refused(tmp_path):
    path = _write(tmp_path / "none.json")
    with pytest.raises(InputError, match=r"none\.json: it holds no run"):
        from_files(str(path))
