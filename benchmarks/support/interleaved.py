"""Time several TFLite files in one process, in turn, so that a machine's drift hits all alike.

A round gives each model one burst: a few untimed inferences that bring its weights back into the
caches, then timed ones. The order rotates from round to round. One thread, XNNPACK, the input set
once beforehand; so the times are of ``invoke`` alone, without preprocessing. Beside the wall clock
stands the thread's CPU time, which other programs on the machine touch less. A few inferences a
round are also timed from raw pixels on, with whatever the file wants done to them before.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from ghostedge_runtime.images import normalize
from ghostedge_runtime.metadata import Preprocessing

PREPROCESSING = Preprocessing()
UNTIMED = 3
TIMED = 20
FROM_PIXELS = 3


@dataclass(frozen=True)
class Ratio:
    """Median over the rounds of one model's time over another's, with its 95 % interval."""

    median: float
    low: float
    high: float


class TimedModel:
    """A TFLite file on one thread and the milliseconds its inferences took, a list per round.

    Args:
        path: The file.
        image: uint8 [H, W, 3], the input of the timed inferences.
    """

    def __init__(self, path: Path, image: npt.NDArray[np.uint8]) -> None:
        self.rounds: list[list[float]] = []
        self.cpu_rounds: list[list[float]] = []
        self.pixel_rounds: list[list[float]] = []
        self._image = image
        self._content = path.read_bytes()
        self._interpreter = Interpreter(model_content=self._content, num_threads=1)
        self._interpreter.allocate_tensors()
        (self._input,) = self._interpreter.get_input_details()
        self._output = self._interpreter.get_output_details()[0]

    def set_image(self, image: npt.NDArray[np.uint8]) -> None:
        """Set the input to a uint8 [H, W, 3] image in the form that the file asks for.

        A uint8 input takes the pixels and normalises inside; others get them normalised, and
        quantized where they are integers.
        """
        dtype = self._input["dtype"]
        batch: npt.NDArray[Any] = image[None]
        if dtype != np.uint8:
            batch = normalize(batch, PREPROCESSING)
        if dtype == np.int8:
            scale, zero_point = self._input["quantization"]
            batch = np.clip(np.rint(batch / scale) + zero_point, -128, 127).astype(np.int8)
        self._interpreter.set_tensor(self._input["index"], batch)

    def logits(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The output for one image as float32."""
        self.set_image(image)
        self._interpreter.invoke()
        raw = self._interpreter.get_tensor(self._output["index"])[0].astype(np.float32)
        scale, zero_point = self._output["quantization"]
        logits: npt.NDArray[np.float32] = (raw - zero_point) * np.float32(scale) if scale else raw
        return logits

    def burst(self) -> None:
        """One round's inferences."""
        invoke = self._interpreter.invoke
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
        ops = self.op_counts()
        return {
            "p50_ms": round(float(np.median(times)), 4),
            "p90_ms": round(float(np.quantile(times, 0.9)), 4),
            "min_ms": round(float(times.min()), 4),
            "cpu_p50_ms": round(float(np.median(self.cpu_rounds)), 4),
            "from_pixels_p50_ms": round(float(np.median(self.pixel_rounds)), 4),
            "runs": times.size,
            "input": f"{np.dtype(self._input['dtype'])} {self._input['shape'].tolist()}",
            "output": str(np.dtype(self._output["dtype"])),
            "ops": dict(ops),
            "xnnpack_partitions": len(self._interpreter._get_ops_details()) - ops.total(),
        }

    def _from_pixels(self) -> None:
        self.set_image(self._image)
        self._interpreter.invoke()

    def op_counts(self) -> Counter[str]:
        """How many operators of each kind the file holds."""
        names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
        model = schema.ModelT.InitFromPackedBuf(self._content)
        codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
        return Counter(names[codes[op.opcodeIndex]] for op in model.subgraphs[0].operators)


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
