"""Names that tell cases apart, numbers over all runs, machines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ghostedge.show.contents import case_names
from ghostedge_runtime.record import Case


def case(model: str, backend="litert", threads=1, mode="default") -> Case:
    return Case(model, "0" * 64, 1, backend, threads, mode)


def test_a_file_alone_is_named_without_its_folders():
    assert case_names([case("out/a.tflite"), case("out/b.tflite")]) == ["a.tflite", "b.tflite"]


def test_files_of_one_name_keep_the_folders_that_differ():
    names = case_names([case("x/v1/net.tflite"), case("x/v2/net.tflite"), case("x/other.onnx")])
    assert names == ["v1/net.tflite", "v2/net.tflite", "other.onnx"]


def test_what_differs_besides_the_file_is_said_and_what_does_not_is_not():
    cases = [case("a.tflite"), case("a.tflite", threads=4), case("a.tflite", "litert-reference")]
    assert case_names([*cases, case("b.onnx", "onnxruntime")]) == [
        "a.tflite, LiteRT with XNNPACK, 1 thread",
        "a.tflite, LiteRT with XNNPACK, 4 threads",
        "a.tflite, LiteRT reference kernels, 1 thread",
        "b.onnx",
    ]
    assert case_names([case("a.tflite"), case("a.tflite", mode="fp16")]) == [
        "a.tflite",
        "a.tflite, fp16",
    ]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb.tflite", "a\\nb.tflite"),
        ("a\u202eb", "a\\u202eb"),
        ("\udcff", "\\udcff"),
        ("网络", "网络"),
    ],
)
def test_a_name_is_one_line_that_reads_as_it_stands(name, shown):
    assert case_names([case(name)]) == [shown]


def test_cases_are_numbered_over_all_runs_and_a_run_given_twice_counts_once(
    eight, bare, contents_of
):
    found = contents_of(eight, bare, eight)
    assert [entry.number for entry in found.entries] == list(range(1, 13))
    assert found.series == ("Raspberry Pi 5 Model B Rev 1.0", "AMD EPYC 7B13, 16 CPUs")
    assert [entry.series for entry in found.entries_of(1)] == [1, 1, 1, 1]


def test_equal_boards_that_were_named_differently_are_two_machines(eight, contents_of):
    pis = [replace(eight, id=str(n), device=f"ssh://pi@board{n}") for n in (1, 2)]
    assert contents_of(*pis).series == (
        "Raspberry Pi 5 Model B Rev 1.0 (ssh://pi@board1)",
        "Raspberry Pi 5 Model B Rev 1.0 (ssh://pi@board2)",
    )


def test_a_mark_of_the_whole_run_is_on_every_case(eight, contents_of):
    throttled = replace(eight.marks[0], kind="throttled", case=None)
    found = contents_of(replace(eight, marks=(throttled, *eight.marks)))
    assert [entry.kinds for entry in found.entries[1:4]] == [
        ("throttled",),
        ("throttled", "drifted"),
        ("throttled",),
    ]
