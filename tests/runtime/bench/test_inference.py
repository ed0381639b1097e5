"""The protocol of a measurement; the times themselves are never asserted."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ghostedge_runtime import Model, benchmark, host_facts
from ghostedge_runtime.bench.inference import warm_up
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.latency import WINDOW, LatencyRecorder, summarize

MS = 1_000_000


def test_both_bounds_are_kept(int8_tflite: Path) -> None:
    model = Model(int8_tflite)
    by_runs = benchmark(model, min_seconds=0, min_runs=17, max_warmup_seconds=0)
    assert by_runs.runs == 17
    by_seconds = benchmark(model, min_seconds=0.05, min_runs=1, max_warmup_seconds=0)
    assert by_seconds.seconds >= 0.05
    assert by_seconds.runs > 1


def test_figures_are_in_order_and_json(int8_tflite: Path) -> None:
    model = Model(int8_tflite)
    result = benchmark(model, min_seconds=0, min_runs=30, max_warmup_seconds=0.05)
    assert 0 < result.min_ms <= result.p50_ms <= result.p90_ms <= result.p99_ms
    assert result.min_ms <= result.mean_ms
    assert result.load_ms == model.load_ms > 0
    assert result.runtime == model.runtime[0]
    assert result.peak_rss_mb is not None
    assert result.peak_rss_mb > 10
    document = json.loads(json.dumps(result.to_dict()))
    assert document["host"]["machine"] == platform.machine()
    assert document["threads"] == 1


def test_the_first_inference_is_the_models_very_first(int8_tflite: Path) -> None:
    model = Model(int8_tflite)
    model.predict(np.zeros((1, 8, 8, 3), np.uint8))
    first = model.first_inference_ms
    result = benchmark(model, min_seconds=0, min_runs=2, max_warmup_seconds=0)
    assert result.first_inference_ms == first


def test_real_images_are_preprocessed_beforehand_and_timed_apart(int8_tflite: Path) -> None:
    pictures = [np.full((20, 20, 3), value, np.uint8) for value in (0, 128, 255)]
    result = benchmark(
        Model(int8_tflite), min_seconds=0, min_runs=5, max_warmup_seconds=0, images=pictures
    )
    assert result.preprocessing is not None
    assert result.preprocessing.count == 3
    without = benchmark(Model(int8_tflite), min_seconds=0, min_runs=5, max_warmup_seconds=0)
    assert without.preprocessing is None


def test_a_larger_batch_is_filled_and_said(
    save_tflite: Callable[..., Path], float_onnx: Path
) -> None:
    result = benchmark(
        Model(save_tflite("float32", batch=4)), min_seconds=0, min_runs=2, max_warmup_seconds=0
    )
    assert result.batch == 4
    onnx = benchmark(Model(float_onnx), min_seconds=0, min_runs=2, max_warmup_seconds=0)
    assert (onnx.batch, onnx.runtime) == (1, "onnxruntime")


@pytest.mark.parametrize(
    "wrong", [{"min_runs": 0}, {"min_seconds": -1}, {"max_warmup_seconds": -1}, {"images": []}]
)
def test_bounds_that_make_no_sense_are_refused(int8_tflite: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        benchmark(Model(int8_tflite), **wrong)


def test_warm_up_ends_when_three_rounds_agree() -> None:
    """Ten slow runs, then an even pace: rounds of 100 ms are 200, then 20 ms each run."""
    times = iter([200 * MS] * 10 + [20 * MS] * 1000)
    runs, steady = warm_up(lambda: next(times), max_seconds=60)
    assert steady
    assert runs == 10 + 3 * 5  # two slow rounds of five, three even ones


def test_a_spread_of_five_percent_is_steady_and_more_is_not() -> None:
    def rounds(*paces: float) -> Callable[[], int]:
        times = iter([round(pace * MS) for pace in paces for _ in range(5)] * 100)
        return lambda: next(times)

    assert warm_up(rounds(100, 105, 102), max_seconds=30)[1]
    assert not warm_up(rounds(100, 106, 102), max_seconds=30)[1]


def test_a_machine_that_never_settles_is_said_to_be_unsteady() -> None:
    paces = iter(range(20, 10**6))
    runs, steady = warm_up(lambda: next(paces) * MS * 2, max_seconds=2)
    assert not steady
    assert runs > 0


def test_a_summary_is_of_the_samples() -> None:
    timing = summarize([n * MS for n in range(1, 102)])
    assert (timing.count, timing.window) == (101, 101)
    assert (timing.min_ms, timing.p50_ms, timing.p90_ms, timing.p99_ms) == (1, 51, 91, 100)
    assert timing.mean_ms == 51


def test_the_recorder_keeps_the_newest_and_the_first() -> None:
    recorder = LatencyRecorder()
    assert recorder.summary() is None
    recorder.add(99 * MS)  # one thread: nobody else to lock out
    for _ in range(WINDOW):
        recorder.add(MS)
    timing = recorder.summary()
    assert timing is not None
    assert (timing.count, timing.window, timing.p99_ms) == (WINDOW + 1, WINDOW, 1)
    assert recorder.first_ns == 99 * MS


def test_the_host_is_described() -> None:
    host = host_facts()
    assert host.machine == platform.machine()
    assert host.python == platform.python_version()
    assert host.cores >= 1
    assert host.os
    if platform.system() == "Linux":
        assert host.memory_mb is not None
        assert host.memory_mb > 100
