"""A measurement's file is read back as it was written, and what was tampered with is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge_runtime.errors import InputError
from ghostedge_runtime.latency import summarize
from ghostedge_runtime.record import (
    RUN_VERSION,
    BenchRun,
    Case,
    Delegation,
    Estimate,
    MachineFacts,
    Mark,
    OpTime,
    Result,
    Round,
    Score,
    Settings,
    Snapshot,
    document,
    read_runs,
    runs_of,
)


def a_run() -> BenchRun:
    """A run with every field filled, one result that worked and one that did not."""
    case = Case("m_int8.tflite", "ab" * 32, 1234, "litert", 2)
    p50 = Estimate(1.5, 1.25, 1.75)
    worked = Result(
        case,
        runtime="ai-edge-litert",
        runtime_version="2.3.0",
        batch=1,
        load_ms=3.0,
        first_inference_ms=4.0,
        warmup_runs=15,
        steady=True,
        runs=3,
        seconds=0.0045,
        p50_ms=p50,
        p90_ms=p50,
        p99_ms=p50,
        mean_ms=p50,
        min_ms=1.0,
        ratio=Estimate(1, 1, 1),
        drift=p50,
        preprocessing=summarize([1_000_000, 2_000_000]),
        peak_rss_mb=44.0,
        delegation=Delegation("XNNPACK", 3, 4, 1, {"HARD_SWISH": 1}),
        score=Score(10, 90.0, 100.0),
        ops=(OpTime(0, "CONV_2D", "stem", 0.5, (1, 112, 112, 16)),),
        rounds=(Round(0.0, (1_000_000, 1_500_000)), Round(0.5, (2_000_000,))),
    )
    return BenchRun(
        id="0123456789abcdef",
        created="2026-11-22T05:00:00+00:00",
        device="ssh://pi@raspberrypi.local",
        command=("ghostedge", "bench", "m_int8.tflite"),
        ghostedge_version="0.1.0",
        settings=Settings(cpus=(2, 3), preset="quick", images=4),
        machine=MachineFacts(
            "aarch64", 4, "Debian", "Linux 6.6", "3.11.2", governors={"policy0": "ondemand"}
        ),
        trace=(Snapshot(0.0, {"cpu-thermal": 51.2}, {"arm": 2400.0}, throttle_bits=0),),
        results=(worked, Result(case, error="it crashed")),
        marks=(
            Mark("drifted", "the second got slower", case=1, fails_strict=True),
            Mark("busy", "others ran"),
        ),
    )


def test_a_run_comes_back_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(document([a_run(), a_run()])))
    assert read_runs(tmp_path / "run.json") == (a_run(), a_run())


def test_a_results_marks_are_its_own_and_those_of_the_whole_run() -> None:
    assert [mark.kind for mark in a_run().marks_of(0)] == ["busy"]
    assert [mark.kind for mark in a_run().marks_of(1)] == ["drifted", "busy"]


def _changed(change: dict[str, Any], *keys: str | int) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(json.dumps(document([a_run()])))
    place: Any = written["runs"][0]
    for key in keys:
        place = place[key]
    place.update(change)
    return written


@pytest.mark.parametrize(
    ("change", "keys", "place"),
    [
        ({"threads": "2"}, ("results", 0, "case"), r"runs\[0\]\.results\[0\]\.case\.threads"),
        ({"threads": True}, ("results", 0, "case"), r"case\.threads: a int is expected, got bool"),
        ({"backend": "tf"}, ("results", 0, "case"), "'tf' is none of litert"),
        ({"low": None}, ("results", 0, "p50_ms"), r"p50_ms\.low: a float is expected"),
        ({"samples_ns": [1, "x"]}, ("results", 0, "rounds", 1), r"rounds\[1\]\.samples_ns\[1\]"),
        ({"governors": {"policy0": 3}}, ("machine",), r"machine\.governors\.policy0"),
        ({"trace": {}}, (), r"runs\[0\]\.trace: a list is expected, got dict"),
    ],
)
def test_a_field_of_another_kind_is_named_with_its_place(
    change: dict[str, Any], keys: tuple[str | int, ...], place: str
) -> None:
    with pytest.raises(InputError, match=place) as raised:
        runs_of(_changed(change, *keys), "run.json")
    assert raised.value.where == "run.json"
    assert raised.value.remedy


def test_a_missing_field_is_named_and_an_unknown_or_optional_one_is_not_missed() -> None:
    written = document([a_run()])
    del written["runs"][0]["created"]
    with pytest.raises(InputError, match="has no 'created'"):
        runs_of(json.loads(json.dumps(written)), "run.json")
    assert runs_of(_changed({"of a later version": 1}), "run.json") == (a_run(),)
    older = json.loads(json.dumps(document([a_run()])))
    del older["runs"][0]["marks"]
    assert runs_of(older, "run.json")[0].marks == ()


def test_a_newer_format_and_other_documents_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="format 2, this GhostEdge reads up to 1") as raised:
        runs_of({"run_version": RUN_VERSION + 1, "runs": []}, "run.json")
    assert raised.value.remedy == "pip install -U ghostedge"
    for other in ({}, [], None, {"run_version": 1}, {"manifest_version": 1, "runs": []}):
        with pytest.raises(InputError, match="not a measurement"):
            runs_of(other, "run.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_runs(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text('{"run_version": 1, "ru')
    with pytest.raises(InputError, match="not JSON"):
        read_runs(tmp_path / "cut.json")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(deadline=None, max_examples=150)
@given(field=st.sampled_from(sorted(document([a_run()])["runs"][0])), value=_JSON)
def test_whatever_stands_in_a_field_is_read_or_refused_by_its_place(field: str, value: Any) -> None:
    written = json.loads(json.dumps(document([a_run()])))
    written["runs"][0][field] = value
    try:
        said = runs_of(written, "run.json")[0].id
    except InputError as error:
        said = str(error)
    assert f"runs[0].{field}" in said or said == (value if field == "id" else a_run().id)
