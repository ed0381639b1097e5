"""Runs made by hand and by a random generator: shapes to draw and to compare, no measurements."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ghostedge.show.contents import Contents, gather
from ghostedge_runtime.record import (
    BenchRun,
    Case,
    CorruptedScore,
    CorruptionScores,
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
)

SimulatedRounds = Callable[..., tuple[Round, ...]]
MakeRun = Callable[..., BenchRun]

PI = MachineFacts(
    machine="aarch64",
    cores=4,
    cores_total=4,
    os="Debian GNU/Linux 12 (bookworm)",
    kernel="6.12.25+rpt-rpi-2712",
    python="3.11.2",
    board="Raspberry Pi 5 Model B Rev 1.0",
    soc="Broadcom BCM2712",
    cpu="Cortex-A76",
    features=("dotprod", "fp16"),
    memory_mb=8300,
    governors={"policy0": "ondemand"},
    max_mhz={"policy0": 2400.0},
    firmware="2025/05/08",
)
SILENT_PI = MachineFacts(
    machine="aarch64",
    cores=4,
    os="Debian GNU/Linux 12 (bookworm)",
    kernel="Linux 6.6.31",
    python="3.11.2",
    board="Raspberry Pi 5 Model B Rev 1.0",
    governors={"policy0": "ondemand"},
)
"""One that tells less."""
CONTAINER = MachineFacts(
    machine="x86_64",
    cores=2,
    cores_total=16,
    os="Debian GNU/Linux 12 (bookworm)",
    kernel="6.1.0",
    python="3.11.9",
    cpu="AMD EPYC 7B13",
    features=("avx2",),
    memory_mb=16000,
    virtual="docker",
    cpu_quota=2.0,
)


def _random_result(
    name: str, base_ms: float, top1: float | None, *, rounds: int, ops: int = 0, seed: int = 0
) -> Result:
    """A result whose figures are those of its own random samples."""
    rng = np.random.default_rng(seed)
    bursts = [
        Round(
            start_s=0.4 * number,
            samples_ns=tuple(
                int(ns)
                for ns in 1e6
                * base_ms
                * (1 + 0.03 * rng.gamma(2.0, 1.0, 12))
                * (1 + 0.0004 * number)
            ),
        )
        for number in range(rounds)
    ]
    samples = np.array([ns for burst in bursts for ns in burst.samples_ns]) / 1e6
    p50, p90, p99 = (
        Estimate(float(v), float(v) * 0.995, float(v) * 1.006)
        for v in np.percentile(samples, (50, 90, 99))
    )
    times = sorted(rng.gamma(1.0, base_ms / max(ops, 1), ops), reverse=True)
    return Result(
        case=Case(name, f"{seed:064x}", 2_000_000 + 1000 * seed, "litert", 1),
        runtime="ai-edge-litert",
        runtime_version="2.3.0",
        batch=1,
        load_ms=12.5,
        first_inference_ms=2 * base_ms,
        warmup_runs=40,
        steady=True,
        runs=len(samples),
        seconds=float(samples.sum() / 1e3),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        mean_ms=p50,
        min_ms=float(samples.min()),
        ratio=Estimate(1.0, 0.99, 1.01),
        drift=Estimate(1.02, 1.0, 1.03),
        peak_rss_mb=71.0,
        delegation=Delegation("XNNPACK", 60, 62, 2, {"RESIZE_BILINEAR": 2}),
        score=None if top1 is None else Score(5000, top1, min(100.0, top1 + 7)),
        ops=tuple(
            OpTime(i, "CONV_2D", f"blocks/{i}/ghost", float(t), (1, 14, 14, 40))
            for i, t in enumerate(times)
        ),
        rounds=tuple(bursts),
    )


def _random_run(results: tuple[Result, ...], **changes: Any) -> BenchRun:
    """A run on a Raspberry Pi that tells everything."""
    trace = tuple(
        Snapshot(
            at_s=2.0 * n,
            temperatures_c={"cpu-thermal": 50 + 20 * (1 - 0.95**n), "rp1_adc": 45 + 0.1 * n},
            clocks_mhz={"policy0": 2400.0, "arm": 2400.2 - (n > 20) * 600},
            throttle_bits=0,
            load_average=1.0,
        )
        for n in range(40)
    )
    known: dict[str, Any] = {
        "id": "0123456789abcdef",
        "created": "2026-03-04T10:11:12Z",
        "device": "local",
        "command": (
            "ghostedge",
            "bench",
            "a model.tflite",
            "--data",
            "eval set/",
            "-o",
            "run.json",
        ),
        "ghostedge_version": "0.1.0",
        "settings": Settings(images=84),
        "machine": PI,
        "trace": trace,
    }
    return BenchRun(results=results, **{**known, **changes})


NAMES = (
    "ghostnet_050.tflite",
    "ghostnet_050_int8.tflite",
    "ghostnet_100.tflite",
    "ghostnet_100_int8.tflite",
    "ghostnetv2_100.tflite",
    "ghostnetv2_100_int8.tflite",
    "repghost_100.tflite",
    "repghost_100_int8.tflite",
)
LATENCIES = (7.1, 3.9, 14.2, 8.05, 21.5, 12.6, 13.1, 7.6)
TOP1 = (88.1, 87.7, 92.4, 92.1, 93.1, 92.6, 92.0, 91.5)


@pytest.fixture(scope="session")
def result_of() -> Callable[..., Result]:
    return _random_result


@pytest.fixture(scope="session")
def run_of() -> Callable[..., BenchRun]:
    return _random_run


@pytest.fixture(scope="session")
def eight() -> BenchRun:
    """Eight models with accuracy, on a Raspberry Pi whose third model drifted."""
    results = tuple(
        _random_result(name, base, top1, rounds=60, ops=30 if seed < 2 else 0, seed=seed)
        for seed, (name, base, top1) in enumerate(zip(NAMES, LATENCIES, TOP1, strict=True))
    )
    drifted = Mark("drifted", "its last third took 4.1 % longer than its first", 2, True)
    return _random_run(results, marks=(drifted,))


@pytest.fixture(scope="session")
def bare() -> BenchRun:
    """Four models without accuracy, one of which failed, in a container without sensors."""
    results = tuple(
        _random_result(name, base, None, rounds=60, seed=10 + seed)
        for seed, (name, base) in enumerate(zip(NAMES[:3], LATENCIES[:3], strict=True))
    )
    failed = Result(Case("broken.tflite", "f" * 64, 512, "litert", 1), error="it has no outputs")
    return _random_run(
        (*results, failed), id="fedcba9876543210", machine=CONTAINER, trace=(Snapshot(0.0),)
    )


@pytest.fixture(scope="session")
def contents_of() -> Callable[..., Contents]:
    return lambda *runs, quantization=(): gather(runs, quantization, "ghostedge 0.1.0")


def _simulated(
    generator: np.random.Generator,
    *,
    ms: float = 1.0,
    rounds: int = 10,
    samples: int = 10,
    between_rounds: float = 0.02,
    crowded: float = 0.0,
) -> tuple[Round, ...]:
    """Bursts of slightly different pace; within one, a long tail and now and then a preemption.

    In the share ``crowded`` of the rounds a fifth of the inferences wait for a neighbour, 30 times
    as long: p90 then lies where few or many of them are seen.
    """
    found = []
    for number in range(rounds):
        pace = ms * 1e6 * np.exp(generator.normal(0, between_rounds))
        times = pace * np.exp(np.abs(generator.normal(0, 0.03, samples)))
        times[generator.random(samples) < 0.05] *= 1.3
        if generator.random() < crowded:
            times[: samples // 5] *= 30
        found.append(Round(float(number), tuple(int(each) for each in times)))
    return tuple(found)


@pytest.fixture(scope="session")
def simulated_rounds() -> SimulatedRounds:
    return _simulated


def _result(model: str, rounds: Sequence[Round], **fields: Any) -> Result:
    case = Case(
        model=model,
        sha256=fields.pop("sha256", "ab" * 32),
        bytes=1000,
        backend=fields.pop("backend", "litert"),
        threads=fields.pop("threads", 1),
        precision_mode=fields.pop("precision_mode", "default"),
    )
    samples = [each / 1e6 for burst in rounds for each in burst.samples_ns]
    figures = {}
    if samples:
        for name, percent in (("p50_ms", 50), ("p90_ms", 90)):
            value = float(np.percentile(samples, percent))
            figures[name] = Estimate(value, value * 0.99, value * 1.01)
    return replace(
        Result(case, runtime="ai-edge-litert", runtime_version="2.3.0", batch=1, **figures),
        rounds=tuple(rounds),
        **fields,
    )


@pytest.fixture(scope="session")
def make_result() -> Callable[..., Result]:
    return _result


def _scored_result(
    model: str,
    wrong: Mapping[tuple[str, int], Collection[int]],
    *,
    images: int = 40,
    precision: str = "float32",
    source: str = "weights",
    pixels: str = "00000001",
    **fields: Any,
) -> Result:
    hits = {key: [image not in places for image in range(images)] for key, places in wrong.items()}
    scores = tuple(
        CorruptedScore(*key, 100 * sum(row) / images, np.packbits(row).tobytes().hex())
        for key, row in hits.items()
    )
    corrupted = CorruptionScores(images, 5000, pixels, precision, source, scores)
    return replace(_result(model, (), **fields), corrupted=corrupted)


@pytest.fixture(scope="session")
def scored_result() -> Callable[..., Result]:
    """A file's result on corrupted images: ``(model, places of the wrong images by condition)``."""
    return _scored_result


def _run(
    number: int,
    *results: Result,
    marks: Sequence[Mark] = (),
    machine: MachineFacts = SILENT_PI,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    device: str = "local",
    created: str = "2026-11-20T10:00:00+00:00",
) -> BenchRun:
    return BenchRun(
        id=f"{number:016x}",
        created=created,
        device=device,
        command=("ghostedge", "bench", "model.tflite"),
        ghostedge_version="0.1.0",
        settings=settings,
        machine=machine,
        trace=(Snapshot(0.0, temperatures_c={"cpu": 51.5}, throttle_bits=0),),
        results=results,
        marks=tuple(marks),
    )


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    return _run


@pytest.fixture(scope="session")
def one_case_run() -> MakeRun:
    """A run of one case whose rounds are simulated: ``(number, ms, **what a run takes)``."""

    def make(number: int, ms: float = 1.0, **fields: Any) -> BenchRun:
        rounds = _simulated(np.random.default_rng(number), ms=ms)
        of_result = {key: fields.pop(key) for key in ("sha256", "model") if key in fields}
        model = of_result.pop("model", "model_int8.tflite")
        return _run(number, _result(model, rounds, **of_result), **fields)

    return make


@pytest.fixture(scope="session")
def pi_facts() -> MachineFacts:
    return SILENT_PI
