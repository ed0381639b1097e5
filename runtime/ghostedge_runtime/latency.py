"""How long calls took, in bounded memory.

Percentiles are NumPy's: linear between the two nearest samples.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WINDOW = 4096


@dataclass(frozen=True)
class Timing:
    """A summary of one kind of call.

    Attributes:
        count: All calls so far.
        window: The newest calls, which the other figures are of.
        p50_ms: Median, in milliseconds.
        p90_ms: 90th percentile, in milliseconds.
        p99_ms: 99th percentile, in milliseconds.
        mean_ms: Mean, in milliseconds.
        min_ms: Least, in milliseconds.
    """

    count: int
    window: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    min_ms: float


@dataclass(frozen=True)
class Latency:
    """Preprocessing (decode, resize, crop, normalise) and inference apart.

    Either is None where nothing of the kind has been timed.
    """

    preprocessing: Timing | None
    inference: Timing | None


def summarize(nanoseconds: Sequence[int], *, count: int | None = None) -> Timing:
    """Summarise samples.

    Args:
        nanoseconds: The samples at hand, at least one.
        count: All calls there were, where the samples are only the newest of them.
    """
    samples = np.asarray(nanoseconds, np.float64) / 1e6
    p50, p90, p99 = (float(p) for p in np.percentile(samples, (50, 90, 99)))
    return Timing(
        count=len(nanoseconds) if count is None else count,
        window=len(nanoseconds),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        mean_ms=float(samples.mean()),
        min_ms=float(samples.min()),
    )


class LatencyRecorder:
    """Keeps the newest `WINDOW` samples of one kind of call.

    Attributes:
        lock: Guards the samples. The caller of `add` holds it, mostly for its own reasons already:
            to take it here once more would cost as much as all the rest of `add`.
        first_ns: The first sample of all, or None before it.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.first_ns: int | None = None
        self._count = 0
        self._samples: deque[int] = deque(maxlen=WINDOW)

    def add(self, nanoseconds: int) -> None:
        """Take one sample; call it with `lock` held."""
        if self._count == 0:
            self.first_ns = nanoseconds
        self._count += 1
        self._samples.append(nanoseconds)

    def summary(self) -> Timing | None:
        """Summarise what is kept, None if nothing is; waits for `lock`."""
        with self.lock:
            samples, count = list(self._samples), self._count
        return summarize(samples, count=count) if samples else None
