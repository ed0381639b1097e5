"""Time several model files in one process, in turn, so that a machine's drift hits all alike.

A round gives each model one burst: a few untimed inferences that bring its weights back into the
caches, then timed ones. The order rotates from round to round. One thread, LiteRT with XNNPACK or
ONNX Runtime, the input set once beforehand; so the times are of the inference alone, without
preprocessing. Beside the wall clock
stands the thread's CPU time, which other programs on the machine touch less. A few inferences a
round are also timed from raw pixels on, with whatever the file wants done to them before.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ghostedge_runtime.images import normalize
from ghostedge_runtime.metadata import Preprocessing
from support.engines import Engine, LiteRT, OnnxRuntime

PREPROCESSING = Preprocessing()
UNTIMED = 3
TIMED = 20
BURSTS = 2
FROM_PIXELS = 3


@dataclass(frozen=True)
class Ratio:
    """Median over the rounds of one model's time over another's, with its 95 % interval."""

    median: float
    low: float
    high: float


class TimedModel:
    """A model file on one thread and the milliseconds its inferences took, a list per round.

    Args:
        path: A ``.tflite`` or ``.onnx`` file.
        image: uint8 [H, W, 3], the input of the timed inferences.
    """

    def __init__(self, path: Path, image: npt.NDArray[np.uint8]) -> None:
        self.rounds: list[list[float]] = []
        self.cpu_rounds: list[list[float]] = []
        self.pixel_rounds: list[list[float]] = []
        self._path, self._image = path, image
        self.load()

    def load(self) -> None:
        """Read the file anew, to wherever in memory that puts it."""
        engine = OnnxRuntime if self._path.suffix == ".onnx" else LiteRT
        self._engine: Engine = engine(self._path)

    def set_image(self, image: npt.NDArray[np.uint8]) -> None:
        """Set the input to a uint8 [H, W, 3] image in the form that the file asks for.

        A uint8 input takes the pixels and normalises inside; others get them normalised, and
        quantized where they are integers.
        """
        wanted = self._engine.input
        batch: npt.NDArray[Any] = image[None]
        if wanted.dtype != np.uint8:
            batch = normalize(batch, PREPROCESSING)
        if wanted.dtype == np.int8:
            batch = np.clip(np.rint(batch / wanted.scale) + wanted.zero_point, -128, 127)
        if wanted.shape[1] == image.shape[-1]:
            batch = batch.transpose(0, 3, 1, 2)
        self._engine.set_input(np.ascontiguousarray(batch, dtype=wanted.dtype))

    def logits(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The output for one image as float32."""
        self.set_image(image)
        self._engine.invoke()
        return self._engine.logits()

    def burst(self) -> None:
        """One round's inferences."""
        invoke = self._engine.invoke
        self.set_image(self._image)
        for _ in range(UNTIMED):
            invoke()
        both = [_timed(invoke) for _ in range(TIMED)]
        self.rounds.append([wall for wall, _ in both])
        self.cpu_rounds.append([cpu for _, cpu in both])
        self.pixel_rounds.append([_timed(self._from_pixels)[0] for _ in range(FROM_PIXELS)])

    def figures(self) -> dict[str, Any]:
        """Latency over all rounds and what the graph consists of."""
        times = np.array(self.rounds)
        return {
            "p50_ms": round(float(np.median(times)), 4),
            "p90_ms": round(float(np.quantile(times, 0.9)), 4),
            "min_ms": round(float(times.min()), 4),
            "cpu_p50_ms": round(float(np.median(self.cpu_rounds)), 4),
            "from_pixels_p50_ms": round(float(np.median(self.pixel_rounds)), 4),
            "runs": times.size,
            "input": f"{self._engine.input.dtype} {list(self._engine.input.shape)}",
            **self._engine.facts(),
        }

    def _from_pixels(self) -> None:
        self.set_image(self._image)
        self._engine.invoke()


def _timed(call: Callable[[], None]) -> tuple[float, float]:
    """Milliseconds of wall clock and of this thread's CPU time that a call takes."""
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    call()
    cpu, wall = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
    return wall / 1e6, cpu / 1e6


def time_in_turn(models: Mapping[str, TimedModel], rounds: int) -> None:
    """Give every model ``rounds`` bursts, starting each round with the next one."""
    names = list(models)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            models[name].burst()


def time_over_loads(models: Mapping[str, TimedModel], loads: int) -> None:
    """Give every model `BURSTS` bursts in turn from each of several places in memory.

    Where its weights and tensors happen to lie makes one and the same file up to 6 % faster or
    slower than when it is loaded again, and stays so until then. Rounds of one load cannot show
    that, so the models are loaded anew, in another order each time; ``by_load`` has the times.
    """
    order = random.Random(0)
    for load in range(loads):
        for name in order.sample(list(models), len(models)):
            if load:
                models[name].load()
        time_in_turn(models, BURSTS)


def by_load(rounds: Sequence[Sequence[float]]) -> list[list[float]]:
    """The times of each load together."""
    starts = range(0, len(rounds), BURSTS)
    return [
        [time for times in rounds[start : start + BURSTS] for time in times] for start in starts
    ]


def ratio(numerator: Sequence[Sequence[float]], denominator: Sequence[Sequence[float]]) -> Ratio:
    """Compare two models' times round by round.

    The interval is that of the median by order statistics: ranks n/2 ± 0.98·√n (normal
    approximation of the binomial at 95 %).
    """
    ratios = sorted(
        statistics.median(a) / statistics.median(b)
        for a, b in zip(numerator, denominator, strict=True)
    )
    reach = 0.98 * math.sqrt(len(ratios))
    low = max(0, math.floor(len(ratios) / 2 - reach))
    high = min(len(ratios) - 1, math.ceil(len(ratios) / 2 + reach))
    return Ratio(*(round(r, 4) for r in (statistics.median(ratios), ratios[low], ratios[high])))


def likeness(
    logits: Sequence[npt.NDArray[np.float32]], reference: Sequence[npt.NDArray[np.float32]]
) -> float:
    """Smallest correlation over the images between two models' logits: 1 is the same function."""
    return round(
        min(float(np.corrcoef(a, b)[0, 1]) for a, b in zip(logits, reference, strict=True)), 4
    )
