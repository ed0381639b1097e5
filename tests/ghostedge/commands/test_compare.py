"""``ghostedge compare`` on the command line: what it prints and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from ghostedge.commands.compare import command
from ghostedge.records.database import append
from ghostedge_runtime.errors import BudgetMissedError, InputError
from ghostedge_runtime.record import Mark, document


@pytest.fixture
def run_compare():
    def run(*arguments):
        return CliRunner().invoke(command, [str(each) for each in arguments])

    return run


@pytest.fixture
def files(tmp_path, one_case_run):
    def write(**runs):
        paths = []
        for name, run in runs.items():
            paths.append(tmp_path / f"{name}.json")
            paths[-1].write_text(json.dumps(document([run])))
        return paths

    return write


def test_it_prints_a_row_per_case_and_what_the_interval_is_of(run_compare, files, one_case_run):
    hot = one_case_run(2, 1.3, sha256="cd" * 32, marks=[Mark("throttled", "throttled at 82 °C")])
    found = run_compare(*files(a=one_case_run(1), b=hot))
    assert found.exit_code == 0
    lines = " ".join(found.stdout.split())
    assert "A: 00000000 of 2026-11-20T10:00:00+00:00, local, Raspberry Pi 5 Model B" in lines
    assert "model_int8.tflite, litert, 1 thread" in lines
    assert "slower" in lines
    assert "differs" in lines
    assert "SHA-256 abababab… in A, cdcdcdcd… in B" in lines
    assert "throttled in B, run 00000000: throttled at 82 °C" in lines
    assert "95 % intervals speak of this pair of runs alone" in lines


def test_json_is_one_document_with_the_ratio_and_its_interval(run_compare, files, one_case_run):
    found = run_compare(*files(a=one_case_run(1), b=one_case_run(2, 1.3)), "--json")
    document_ = json.loads(found.stdout)
    (case,) = document_["cases"]
    ratio = case["p50"]["ratio"]
    assert document_["comparison_version"] == 1
    assert case["key"]["model"] == "model_int8.tflite"
    assert ratio["low"] < 1.3 < ratio["high"]
    assert ratio["value"] == pytest.approx(case["p50"]["b_ms"] / case["p50"]["a_ms"])
    assert (case["p50"]["verdict"], case["same_file"]) == ("slower", True)


def test_a_missed_budget_ends_with_three_and_names_the_case(run_compare, files, one_case_run):
    paths = files(a=one_case_run(1), b=one_case_run(2, 1.3))
    found = run_compare(*paths, "--max-regression", 5)
    assert isinstance(found.exception, BudgetMissedError)
    assert found.exception.exit_code == 3
    assert "model_int8.tflite, litert, 1 thread: +" in str(found.exception)
    assert "missed" in found.stdout
    assert run_compare(*reversed(paths), "--max-regression", 5).exit_code == 0


def test_what_is_perhaps_slower_is_a_warning(run_compare, files, one_case_run):
    paths = files(a=one_case_run(1), b=one_case_run(2, 1.06))
    found = run_compare(*paths, "--max-regression", 5.5)
    assert found.exit_code == 0
    assert "not shown to be slower; measure longer" in " ".join(found.stderr.split())


def test_nothing_in_common_ends_with_two(run_compare, files, one_case_run):
    found = run_compare(*files(a=one_case_run(1), b=one_case_run(2, model="other.tflite")))
    assert isinstance(found.exception, InputError)
    assert found.exception.exit_code == 2


def test_a_database_is_compared_by_words_and_listed_without(run_compare, tmp_path, one_case_run):
    db = tmp_path / "lab.db"
    runs = [
        replace(one_case_run(n, ms), id=f"{n:x}" * 16)
        for n, ms in ((1, 1.0), (2, 1.01), (3, 0.99), (4, 1.3))
    ]
    append(db, runs)
    several = run_compare("latest~3,latest~2,latest~1", "4444", "--db", db, "--json")
    (case,) = json.loads(several.stdout)["cases"]
    assert case["runs_a"] == ["1" * 16, "2" * 16, "3" * 16]
    assert (case["basis"], case["p50"]["verdict"]) == ("runs", "slower")
    listed = run_compare("--db", db)
    rows = [line for line in listed.stdout.splitlines() if "model_int8" in line]
    assert ["4" * 16 in rows[0], "latest~3" in rows[3], len(rows)] == [True, True, 4]
    assert [each["id"][0] for each in json.loads(run_compare("--db", db, "--json").stdout)] == [
        *"1234"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name two sides"),
        (("a.json",), "name two sides"),
        (("a.json", "b.json", "--device", "ssh://pi@a"), "--device is for --db"),
        (("a.json", "b.json", "--max-regression", "-1"), "--max-regression"),
    ],
)
def test_arguments_that_make_no_sense_are_a_usage_error(run_compare, arguments, message):
    found = run_compare(*arguments)
    assert found.exit_code == 2
    assert message in " ".join(found.stderr.split())


def test_the_same_run_on_both_sides_is_said(run_compare, files, one_case_run):
    (path,) = files(a=one_case_run(1))
    found = run_compare(path, path)
    assert "in A and in B is the same run" in " ".join(found.stdout.split())
    assert "no difference shown" in found.stdout
