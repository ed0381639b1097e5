"""What ``ghostedge bench`` shows is what the records hold, and nothing twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.table import Table

from ghostedge.show.bench_tables import bench_tables, error_lines, mark_lines, note_lines
from ghostedge.terminal import TextConsole
from ghostedge_runtime.record import (
    BenchRun,
    Case,
    Delegation,
    Estimate,
    MachineFacts,
    Mark,
    OpTime,
    Result,
    Score,
    Settings,
)

FLOAT = Result(
    Case("out/a.tflite", "a" * 64, 5_430_000, "litert", 1),
    runtime="ai-edge-litert",
    runtime_version="2.3.0",
    load_ms=12.34,
    first_inference_ms=7.5,
    runs=1524,
    p50_ms=Estimate(4.0, 3.9, 4.1),
    p90_ms=Estimate(5.0, 4.9, 5.1),
    p99_ms=Estimate(6.0, 5.9, 6.1),
    ratio=Estimate(1.0, 1.0, 1.0),
    peak_rss_mb=66.6,
    delegation=Delegation("XNNPACK", 169, 169, 1),
)
INT8 = replace(
    FLOAT,
    case=Case("out/b.tflite", "b" * 64, 1_670_000, "litert", 1),
    p50_ms=Estimate(2.0, 1.9, 2.2),
    ratio=Estimate(0.5, 0.4, 0.625),
    score=Score(100, 97.0, 99.0),
    delegation=Delegation("XNNPACK", 160, 182, 3, {"HARD_SWISH": 22}),
)


def a_run(*results: Result, device: str = "local", marks: tuple[Mark, ...] = ()) -> BenchRun:
    machine = MachineFacts("aarch64", 4, "Debian", "Linux", "3.11", board="A board")
    return BenchRun(
        device.rjust(16), "2026", device, (), "0.1.0", Settings(), machine, (), results, marks
    )


def cells(table: Table) -> dict[str, list[str]]:
    return {str(c.header): [str(cell) for cell in c.cells] for c in table.columns}


def test_figures_stand_over_their_intervals() -> None:
    figures, others = bench_tables([a_run(FLOAT, INT8)])
    assert cells(figures) == {
        "model": ["a.tflite", "b.tflite"],
        "p50, ms": ["4.00\n[3.90, 4.10]", "2.00\n[1.90, 2.20]"],
        "p90, ms": ["5.00\n[4.90, 5.10]"] * 2,
        "p99, ms": ["6.00\n[5.90, 6.10]"] * 2,
        "p50 / first row's": ["1", "0.50\n[0.40, 0.62]"],
        "top-1": ["–", "97.00 %"],
        "top-5": ["–", "99.00 %"],
    }
    assert cells(others) == {
        "model": ["a.tflite", "b.tflite"],
        "size": ["5.43 MB", "1.67 MB"],
        "load, ms": ["12.3"] * 2,
        "first, ms": ["7.50"] * 2,
        "runs": ["1,524"] * 2,
        "memory, MB": ["67"] * 2,
        "delegated ops": ["169 of 169", "160 of 182 in 3"],
    }


def test_what_holds_for_all_rows_is_said_once_over_the_table() -> None:
    figures, _ = bench_tables([a_run(FLOAT, INT8)])
    assert "LiteRT with XNNPACK (ai-edge-litert 2.3.0), 1 thread" in str(figures.title)
    assert str(figures.title).startswith("A board")
    two = replace(INT8, case=replace(INT8.case, threads=2, backend="litert-reference"))
    figures, _ = bench_tables([a_run(FLOAT, two)])
    assert cells(figures)["threads"] == ["1 thread", "2 threads"]
    assert cells(figures)["backend"] == [
        "LiteRT with XNNPACK (ai-edge-litert 2.3.0)",
        "LiteRT reference kernels (ai-edge-litert 2.3.0)",
    ]


def test_several_devices_share_one_table() -> None:
    figures, _ = bench_tables([a_run(FLOAT), a_run(FLOAT, INT8, device="ssh://pi@pi5")])
    assert cells(figures)["device"] == ["local", "ssh://pi@pi5", "ssh://pi@pi5"]
    assert cells(figures)["p50 / first row's"] == ["1", "1", "0.50\n[0.40, 0.62]"]
    assert "ssh://pi@pi5: A board" in str(figures.title)


def test_files_of_one_name_keep_their_folders() -> None:
    other = replace(FLOAT, case=replace(FLOAT.case, model="old/a.tflite", sha256="c" * 64))
    figures, _ = bench_tables([a_run(FLOAT, other)])
    assert cells(figures)["model"] == ["out/a.tflite", "old/a.tflite"]


def test_a_doubtful_figure_is_marked_and_the_mark_names_its_case() -> None:
    marks = (
        Mark("drifted", "it got 20 % slower", case=1, fails_strict=True),
        Mark("busy", "others ran"),
    )
    run = a_run(FLOAT, INT8, marks=marks)
    figures, _ = bench_tables([run])
    assert cells(figures)["p50, ms"] == ["4.00\n[3.90, 4.10]", "2.00 !\n[1.90, 2.20]"]
    assert list(mark_lines([run])) == [
        "drifted: it got 20 % slower (b.tflite, LiteRT with XNNPACK, 1 thread)",
        "busy: others ran",
    ]
    throttled = a_run(FLOAT, INT8, marks=(Mark("throttled", "too hot", fails_strict=True),))
    figures, _ = bench_tables([throttled])
    assert all("!" in cell for cell in cells(figures)["p50, ms"])


def test_a_case_without_figures_says_so() -> None:
    failed = Result(INT8.case, error="out/b.tflite: the interpreter crashed")
    figures, _ = bench_tables([a_run(FLOAT, failed)])
    assert cells(figures)["model"] == ["a.tflite", "b.tflite (failed)"]
    assert cells(figures)["p50, ms"][1] == "–"
    assert list(error_lines([a_run(FLOAT, failed)])) == ["out/b.tflite: the interpreter crashed"]


def test_what_could_not_be_read_of_a_machine_is_said() -> None:
    run = a_run(FLOAT, device="ssh://pi")
    run = replace(run, machine=replace(run.machine, notes=("no access to /dev/vcio",)))
    assert list(note_lines([a_run(FLOAT), run])) == ["ssh://pi: no access to /dev/vcio"]


def test_what_could_not_be_done_beside_the_timing_is_said() -> None:
    run = a_run(replace(FLOAT, notes=("an image is broken",)))
    assert list(note_lines([run])) == [
        "a.tflite, LiteRT with XNNPACK, 1 thread: an image is broken"
    ]


def test_operators_are_listed_with_their_share_and_their_sum() -> None:
    ops = (
        OpTime(3, "CONV_2D", "a", 3.0, (1, 8, 8, 4)),
        OpTime(0, "ADD", "[b]", 1.0, (1, 8)),
        OpTime(2, "PAD", "c", 0.0, (1, 9, 9, 4), note="counted in CONV_2D"),
    )
    *_, kinds, table = bench_tables([a_run(replace(FLOAT, ops=ops))])
    assert "4.00 ms in sum, 4.00 ms as a whole" in str(kinds.title)
    assert cells(kinds) == {
        "op": ["CONV_2D", "ADD", "PAD"],
        "count": ["1", "1", "1"],
        "p50 in sum, ms": ["3.000", "1.000", "0.000"],
        "share": ["75.0%", "25.0%", "0.0%"],
    }
    assert cells(table) == {
        "op": ["CONV_2D", "ADD", "PAD"],
        "output": ["a", "[b]", "c: counted in CONV_2D"],
        "shape": ["1×8×8×4", "1×8", "1×9×9×4"],
        "p50, ms": ["3.0000", "1.0000", "–"],
        "share": ["75.0%", "25.0%", "–"],
        "so far": ["75.0%", "100.0%", "–"],
    }


def test_names_are_never_taken_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    odd = replace(FLOAT, case=replace(FLOAT.case, model="[red]x.tflite"))
    timed = replace(odd, ops=(OpTime(0, "ADD", "[b]x[/b]", 1.0, (1,)),))
    console = TextConsole(width=200)
    for table in bench_tables([a_run(timed, device="ssh://[red]")]):
        console.print(table)
    page = capsys.readouterr().out
    assert page.count("[red]x.tflite") >= 2
    assert "[b]x[/b]" in page
    assert "ssh://[red]" in page
