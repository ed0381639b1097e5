"""Runs made by hand and by a random generator, with the spread of a real machine's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ghostedge_runtime.record import (
    BenchRun,
    Case,
    Estimate,
    MachineFacts,
    Mark,
    Result,
    Round,
    Settings,
    Snapshot,
)

SimulatedRounds = Callable[..., tuple[Round, ...]]
MakeRun = Callable[..., BenchRun]

PI = MachineFacts(
    machine="aarch64",
    cores=4,
    os="Debian GNU/Linux 12 (bookworm)",
    kernel="Linux 6.6.31",
    python="3.11.2",
    board="Raspberry Pi 5 Model B Rev 1.0",
    governors={"policy0": "ondemand"},
)


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


def _run(
    number: int,
    *results: Result,
    marks: Sequence[Mark] = (),
    machine: MachineFacts = PI,
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
    return PI
