"""Running models to time their operators: what goes in, how often, how long it takes."""

from __future__ import annotations

import gc
from array import array
from collections.abc import Callable, Iterator
from time import perf_counter_ns
from typing import Any

import numpy as np

from ghostedge_runtime.formats.backend import Array, Backend

Call = Callable[[], object]

PROFILE_WARM_UP_RUNS = 5
_PROFILE_RUNS = 30
_WARM_UP_RUNS, _WARM_UP_NS = 2, 3_000_000
_RUNS, _NS = 3, 10_000_000
_SEED = 0


def random_values(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """What a tensor in the middle of a network may hold.

    Floats from a normal distribution; of 8 and 16 bits any number, as a quantized tensor uses its
    whole range; zeros of other types, which mostly are indices and sizes.
    """
    generator = np.random.default_rng(_SEED)
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return np.zeros(shape, dtype)


def profiled_runs(backend: Backend, progress: Callable[[int, int], None] | None) -> Iterator[bool]:
    """Run a whole model that an interpreter profiles, on random input.

    Yields:
        After every run whether it counts: the first `PROFILE_WARM_UP_RUNS` do not.
    """
    tensor = backend.io.input
    shape = tuple(1 if size is None else size for size in tensor.shape)
    batch = random_values(shape, np.dtype(tensor.dtype))
    total = PROFILE_WARM_UP_RUNS + _PROFILE_RUNS
    for run in range(total):
        backend.run(batch)
        if progress is not None:
            progress(run + 1, total)
        yield run >= PROFILE_WARM_UP_RUNS


def timed_ns(call: Call) -> array[int]:
    """Nanoseconds of a call's runs after a short warm-up, garbage collection at rest."""
    _timed(call, _WARM_UP_RUNS, _WARM_UP_NS)
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _timed(call, _RUNS, _NS)
    finally:
        if collecting:
            gc.enable()


def _timed(call: Call, least_runs: int, least_ns: int) -> array[int]:
    samples, spent = array("q"), 0
    while len(samples) < least_runs or spent < least_ns:
        start = perf_counter_ns()
        call()
        samples.append(perf_counter_ns() - start)
        spent += samples[-1]
    return samples
