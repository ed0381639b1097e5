"""What the command does with a measurement; the measuring itself is stood in for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from ghostedge.commands import bench
from ghostedge.devices import DevicesFailedError
from ghostedge.records.database import entries
from ghostedge_runtime.errors import BudgetMissedError, DeviceError, ImageError, ModelFileError
from ghostedge_runtime.record import (
    BenchJob,
    BenchRun,
    Estimate,
    MachineFacts,
    Mark,
    read_runs,
)
from ghostedge_runtime.record import Result as CaseResult

MODEL = Path(__file__).parents[3] / "examples" / "glyphs" / "ghostnet_050_glyphs_int8.tflite"
SLOW = Mark("drifted", "it got slower", case=0, fails_strict=True)
BUSY = Mark("busy", "others ran")


def measured(job: BenchJob, *marks: Mark, device: str = "local") -> BenchRun:
    figure = Estimate(1.5, 1.25, 1.75)
    return BenchRun(
        id="0123456789abcdef",
        created="2026-11-22T05:00:00+00:00",
        device=device,
        command=job.command,
        ghostedge_version="0.1.0",
        settings=job.settings,
        machine=MachineFacts("aarch64", 4, "Debian", "Linux 6.6", "3.11.2", board="A board"),
        trace=(),
        results=tuple(CaseResult(case, runs=9, p50_ms=figure, ratio=figure) for case in job.cases),
        marks=marks,
    )


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(bench.command, [str(argument) for argument in arguments])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[BenchJob]:
    """The jobs that were measured, here a quiet machine's."""
    jobs: list[BenchJob] = []

    def stand_in(job: BenchJob, **_: object) -> BenchRun:
        jobs.append(job)
        return measured(job, BUSY)

    monkeypatch.setattr(bench, "run_bench", stand_in)
    return jobs


def test_a_preset_gives_the_bounds_and_a_bound_given_beside_it_wins(asked: list[BenchJob]) -> None:
    run(MODEL, "--preset", "mlperf-mobile")
    run(MODEL, "--preset", "mlperf-mobile", "--min-seconds", "5", "--threads", "1,2")
    first, second = asked
    assert (first.settings.min_seconds, first.settings.min_runs) == (60, 1024)
    assert first.settings.preset == "mlperf-mobile"
    assert (second.settings.min_seconds, second.settings.min_runs) == (5, 1024)
    assert [case.threads for case in second.cases] == [1, 2]


def test_what_was_measured_is_shown_written_and_kept(asked: list[BenchJob], tmp_path: Path) -> None:
    done = run(MODEL, "-o", tmp_path / "run.json", "--db", tmp_path / "lab.db")
    assert done.exit_code == 0, done.output
    assert "1.50" in done.stdout
    assert "A board" in done.stdout
    assert "! busy: others ran" in done.stderr
    (kept,) = read_runs(tmp_path / "run.json")
    assert kept == measured(asked[0], BUSY)
    assert [entry.id for entry in entries(tmp_path / "lab.db")] == [kept.id]


def test_json_is_the_only_thing_on_stdout(asked: list[BenchJob]) -> None:
    done = run(MODEL, "--json")
    assert json.loads(done.stdout)["runs"][0]["marks"][0]["kind"] == "busy"
    assert "busy" in done.stderr


@pytest.mark.parametrize(("marks", "code"), [((), 0), ((BUSY,), 0), ((BUSY, SLOW), 3)])
def test_strict_refuses_figures_that_do_not_hold_after_showing_and_keeping_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, marks: tuple[Mark, ...], code: int
) -> None:
    monkeypatch.setattr(bench, "run_bench", lambda job, **_: measured(job, *marks))
    assert run(MODEL).exit_code == 0
    done = run(MODEL, "--strict", "-o", tmp_path / "run.json")
    assert "1.50" in done.stdout
    assert (tmp_path / "run.json").exists()
    if code:
        assert isinstance(done.exception, BudgetMissedError)
        assert done.exception.exit_code == code
        assert "it got slower" in str(done.exception)
    else:
        assert done.exit_code == 0


def test_a_case_that_fails_is_named_after_the_others_were_shown_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stand_in(job: BenchJob, **_: object) -> BenchRun:
        run = measured(job)
        failed = CaseResult(job.cases[1], error="model.tflite: the interpreter crashed")
        return replace(run, results=(run.results[0], failed))

    monkeypatch.setattr(bench, "run_bench", stand_in)
    done = run(MODEL, "--threads", "1,2", "-o", tmp_path / "run.json")
    assert "1.50" in done.stdout
    assert len(read_runs(tmp_path / "run.json")[0].results) == 2
    assert isinstance(done.exception, ModelFileError)
    assert done.exception.exit_code == 2
    assert "1 of 2 cases could not run" in str(done.exception)
    assert "the interpreter crashed" in str(done.exception)


def test_a_device_that_fails_does_not_take_the_others_figures_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lost = DeviceError("the connection was lost", where="ssh://b", remedy="check the network")

    def stand_in(devices: tuple[str, ...], job: BenchJob, _: object) -> tuple[BenchRun, ...]:
        assert devices == ("ssh://a", "ssh://b")
        raise DevicesFailedError((measured(job, device="ssh://a"),), {"ssh://b": lost})

    monkeypatch.setattr(bench, "run_on", stand_in)
    done = run(MODEL, "--device", "ssh://a", "--device", "ssh://b", "-o", tmp_path / "run.json")
    assert "ssh://a" in done.stdout
    assert [each.device for each in read_runs(tmp_path / "run.json")] == ["ssh://a"]
    assert isinstance(done.exception, DevicesFailedError)
    assert done.exception.exit_code == lost.exit_code
    assert "the connection was lost" in str(done.exception)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("-o", "none/run.json"), "no such folder"),
        (("--db", "none/lab.db"), "none"),
        (("--backend", "tensorrt"), "'tensorrt' is none of litert"),
        (("--precision-mode", "int4"), "'int4' is none of default, fp16"),
        (("--threads", "0"), "threads"),
        (("--cpus", "two"), "not a list of numbers"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_measured(
    asked: list[BenchJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    option: tuple[str, str], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = run(MODEL, *option)
    assert done.exit_code == 2 or getattr(done.exception, "exit_code", None) == 2
    assert said in f"{done.output}{done.exception}"
    assert asked == []
    assert list(tmp_path.iterdir()) == []


def test_bad_images_are_refused_all_at_once_or_left_out(
    asked: list[BenchJob], tmp_path: Path
) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), (9, 200, 30)).save(tmp_path / name)
    (tmp_path / "a" / "2.png").write_bytes((tmp_path / "a" / "1.png").read_bytes()[:-30])
    (tmp_path / "b" / "2.jpg").touch()
    refused = run(MODEL, "--data", tmp_path)
    assert isinstance(refused.exception, ImageError)
    assert "2 of 4 images cannot be used" in str(refused.exception)
    assert asked == []
    done = run(MODEL, "--data", tmp_path, "--skip-bad-images")
    assert done.exit_code == 0
    assert "2 of 4 images left out:" in done.stderr
    assert str(tmp_path / "b" / "2.jpg") in done.stderr
    (job,) = asked
    assert job.skipped == ("a/2.png", "b/2.jpg")
    assert job.inputs == (str(tmp_path / "a" / "1.png"), str(tmp_path / "b" / "1.png"))
