"""Measures what the guard's search asks for: a layer's noise, its price, and what a choice loses.

The price of leaving a layer float is an estimate from the graph, the same on every machine. Timing
each layer would let the machine's noise choose the layers, and a conversion's result would differ
from run to run; besides, the machine that converts is seldom the one that runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.graph.ops import Role, rule_of
from ghostedge_quantize.guard.score import Classes, Score, Target
from ghostedge_quantize.guard.search import Deadline
from ghostedge_runtime.formats.backend import Array, ModelIO
from ghostedge_runtime.formats.onnx.session import OnnxBackend

_CHUNK = 128
"""Images run before the clock and the budget are checked again."""
_ORDER_SEED = 0
_FLOAT_MACS, _INT8_MACS = 8, 32
"""Multiply-accumulates a cycle on a Cortex-A76: two 128-bit FMLA, or two SDOT (Arm's optimization
guide for it, section 3)."""
_BYTES = 16
"""Bytes moved a cycle beyond the first cache, about one 128-bit access."""
_FLOAT_BYTES = 4


class Quantizer(Protocol):
    """What the guard needs of ``Prepared``."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that may be left float, in graph order."""

    def qdq(self, keep_float: Collection[str] = ()) -> onnx.ModelProto:
        """The int8 graph with those layers float."""


class Runs(Protocol):
    """What the guard needs of a runtime's backend."""

    @property
    def io(self) -> ModelIO:
        """The model's tensors."""

    def run(self, batch: Array) -> list[Array]:
        """Run one batch, giving the outputs in order; safe from several threads."""


Image = Callable[[int], npt.NDArray[np.generic]]
"""Gives the image of that index as the int8 graph takes it, without the batch axis."""
Open = Callable[[onnx.ModelProto], Sequence[Runs]]
"""Loads a graph in a runtime, once for each image that is to run at the same time."""


def open_in_onnxruntime(model: onnx.ModelProto, at_once: int) -> Sequence[Runs]:
    """One session, which may run several images at a time."""
    return [OnnxBackend(model.SerializeToString(), threads=1, where=Path("graph"))] * at_once


def outputs(
    backends: Sequence[Runs], image: Image, order: Sequence[int]
) -> Iterator[tuple[Classes, npt.NDArray[np.generic]]]:
    """Run images, as many at a time as there are backends.

    Yields:
        The indices of up to ``_CHUNK`` images and the rows of their first output. A batch that is
        not full is filled up with its last image.
    """
    size = backends[0].io.input.shape[0] or 1
    idle: SimpleQueue[Runs] = SimpleQueue()
    for backend in backends:
        idle.put(backend)

    def run(batch: Sequence[int]) -> npt.NDArray[np.generic]:
        images = np.stack([image(index) for index in batch])
        missing = size - len(batch)
        fed = np.concatenate([images, *[images[-1:]] * missing]) if missing else images
        backend = idle.get()
        try:
            return backend.run(fed)[0][: len(batch)]
        finally:
            idle.put(backend)

    with ThreadPoolExecutor(len(backends)) as pool:
        for start in range(0, len(order), _CHUNK):
            indices = order[start : start + _CHUNK]
            batches = [indices[i : i + size] for i in range(0, len(indices), size)]
            yield np.asarray(indices), np.concatenate(list(pool.map(run, batches)))


def answers(backends: Sequence[Runs], image: Image, count: int) -> Classes:
    """Top-1 of the first ``count`` images, (count,)."""
    classes = [rows.argmax(axis=1) for _, rows in outputs(backends, image, range(count))]
    return np.concatenate(classes)


class Judge:
    """Scores choices of float layers on the images of a target.

    Args:
        network: What is quantized.
        image: The images by index.
        target: Their float answers and the budget.
        runtimes: Each must hold the budget; the first is asked first.
    """

    def __init__(
        self, network: Quantizer, image: Image, target: Target, runtimes: Sequence[Open]
    ) -> None:
        self._network, self._image, self._target = network, image, target
        self._runtimes = runtimes
        order = np.random.default_rng(_ORDER_SEED).permutation(len(target.answers))
        self._order: list[int] = order.tolist()

    def __call__(self, keep_float: frozenset[str], deadline: Deadline) -> Score:
        """The worst score of the runtimes, ending with the first that misses the budget."""
        model = self._network.qdq(keep_float)
        scores = []
        for load in self._runtimes:
            scores.append(self._target.score(self._answered(load(model), deadline)))
            if not scores[-1].holds:
                break
        return max(scores, key=lambda score: (not score.holds, score.loss))

    def _answered(
        self, backends: Sequence[Runs], deadline: Deadline
    ) -> Iterator[tuple[Classes, Classes]]:
        for indices, rows in outputs(backends, self._image, self._order):
            deadline.check()
            yield indices, rows.argmax(axis=1)


class LayerNoise:
    """Measures what each layer's quantization alone does to the logits.

    Args:
        network: What is quantized, with float outputs.
        image: The images by index, as the int8 graph takes them.
        logits: The float network's for the first of them, (images, classes).
        load: Runs graphs.
    """

    def __init__(
        self, network: Quantizer, image: Image, logits: npt.NDArray[np.float32], load: Open
    ) -> None:
        self._network, self._image, self._logits, self._load = network, image, logits, load
        self._layers = network.layers

    def __call__(self, layer: str) -> float:
        """Power of the error over the power of the logits, both about their images' means.

        What shifts all the classes of an image alike changes no answer and is left out.
        """
        others = [name for name in self._layers if name != layer]
        backends = self._load(self._network.qdq(others))
        rows = [r for _, r in outputs(backends, self._image, range(len(self._logits)))]
        error = _centred(np.concatenate(rows) - self._logits)
        return float(np.square(error).mean() / np.square(_centred(self._logits)).mean())


def _centred(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    wide = logits.astype(np.float64)
    return np.asarray(wide - wide.mean(axis=1, keepdims=True))


def prices(model: onnx.ModelProto) -> Mapping[str, float]:
    """Price of leaving each layer with weights float, by node name; together they are 1.

    Half is shared out by the estimated cycles that float takes longer (four times the bytes of
    input, weights and output moved, a quarter of the multiplications done at a time), half
    equally: every layer left float also has its borders to cross, and is one more.

    Args:
        model: The float graph that is quantized, with static shapes but for the batch.
    """
    cycles = {
        str(node.name): _extra_cycles(node)
        for node in canonical_ir(model).graph
        if rule_of(node).role is Role.WEIGHTED
    }
    total = sum(cycles.values())
    return {name: 0.5 / len(cycles) + 0.5 * extra / total for name, extra in cycles.items()}


def _extra_cycles(node: ir.Node) -> float:
    source, weight, output = _elements(node.inputs[0]), _sizes(node.inputs[1]), node.outputs[0]
    macs = _elements(output) * math.prod(weight[1:])
    moved = source + math.prod(weight) + _elements(output)
    arithmetic = macs * (1 / _FLOAT_MACS - 1 / _INT8_MACS)
    return arithmetic + moved * (_FLOAT_BYTES - 1) / _BYTES


def _elements(value: ir.Value | None) -> int:
    return math.prod(_sizes(value))


def _sizes(value: ir.Value | None) -> list[int]:
    """Sizes of a tensor; 1 where the graph leaves one open."""
    shape = None if value is None else value.shape
    return [size if isinstance(size, int) else 1 for size in shape or ()]
