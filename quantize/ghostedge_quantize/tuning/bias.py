"""The shift of a layer's bias that takes out the mean error that quantization causes.

Rounding does not cancel out: small activations all round to zero, a clipped tail always loses, a
channel's few weights err to one side. What is left is a shift of each output channel, the same for
every image, and a bias can undo it.

``bias_shift`` (bias correction ``full``) compares a layer's outputs in the float and the quantized
graph, whose layers before it are corrected already. Where a ReLU follows, only what passes it
counts, and only as much of a shift is taken as the images agree on: the error of a few images with
clipped outliers is no shift. ``mean_shift`` (``fast``) takes each layer's own error alone, from the
means of its inputs: one run of the float graph, an approximation at borders and behind other
layers.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction"
(2019), section 4.2 and appendix D; ReLU and shrinkage are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ghostedge_quantize.graph.ops import Role, clip_bounds, rule_of

ROUNDS = 3
"""Newton steps towards the shift behind a ReLU; a fourth changes it by less than a percent."""
POSITIONS = 2**16
"""Values of a channel that are compared; more make its mean error no better known."""
FEWEST = 8
"""Values that must pass the ReLU for a channel to be corrected."""


@dataclass(frozen=True)
class Tail:
    """What follows a layer at once: ``clip(value, low, high)``, no bounds where nothing does."""

    low: float = -math.inf
    high: float = math.inf


def tails(graph: ir.Graph) -> dict[str, Tail]:
    """Node with weights → what its output is clipped to by the activation behind it."""
    return {str(node.name): _tail(node) for node in graph if rule_of(node).role is Role.WEIGHTED}


def _tail(node: ir.Node) -> Tail:
    users = [user for user, _ in node.outputs[0].uses()]
    if len(users) != 1 or node.outputs[0].is_graph_output():
        return Tail()
    if users[0].op_type == "Relu":
        return Tail(low=0.0)
    bounds = clip_bounds(users[0]) if users[0].op_type == "Clip" else None
    return Tail() if bounds is None else Tail(*bounds)


def bias_shift(target: np.ndarray, present: np.ndarray, tail: Tail) -> np.ndarray:
    """The shift per channel that brings a layer's output nearest to what it should be.

    Args:
        target: The float graph's output, float32 [N, C, …], before the tail.
        present: The quantized graph's output, of the same shape, before the tail.
        tail: What follows.

    Returns:
        float32 [C], to be added to the bias.
    """
    expected = np.clip(_flat(target), tail.low, tail.high)
    actual = _flat(present)
    shift = np.zeros(actual.shape[1])
    for _ in range(ROUNDS if tail != Tail() else 1):
        errors, passing = _errors(expected, actual + shift.astype(np.float32)[:, None], tail)
        shift += errors.sum(axis=0) / np.maximum(passing.sum(axis=0), 1)
    errors, passing = _errors(expected, actual, tail)
    each_image = errors / np.maximum(passing.mean(axis=0), 1e-9)
    doubt = each_image.var(axis=0) / len(each_image)
    agreed = np.maximum(shift**2 - doubt, 0) / np.maximum(shift**2, np.finfo(float).tiny)
    enough = passing.sum(axis=0) >= min(FEWEST, actual.shape[0])
    return np.asarray(np.where(enough, shift * agreed, 0), np.float32)


def sample_positions(batches: Sequence[np.ndarray]) -> np.ndarray:
    """float32 [N, C, P]: of [N, C, …] batches, ``POSITIONS`` values per channel or a few more.

    The same positions of every image, evenly apart, so that two tensors' samples can be compared.
    """
    positions = batches[0][0, 0].size
    values = sum(len(batch) for batch in batches) * positions
    step = max(1, min(positions, values // POSITIONS))
    return np.concatenate([_flat(batch)[:, :, ::step] for batch in batches])


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(*values.shape[:2], -1)


def _errors(expected: np.ndarray, actual: np.ndarray, tail: Tail) -> tuple[np.ndarray, np.ndarray]:
    """Summed error [N, C] of the values that pass the tail, and how many do."""
    passes = (actual > tail.low) & (actual < tail.high)
    errors = np.where(passes, expected - actual, 0).sum(axis=2, dtype=np.float64)
    return errors, passes.sum(axis=2)


def mean_shift(
    weight: np.ndarray, rounded: np.ndarray, inputs: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """A layer's own mean error, from its inputs' means; borders count as the rest.

    Args:
        weight: float32 [O, I/groups, …].
        rounded: The weights that int8 has instead.
        inputs: float32 [N, I, …].
        seen: What int8 makes of them.

    Returns:
        float32 [O], to be added to the bias.
    """
    groups = inputs.shape[1] // weight.shape[1]
    return np.asarray(
        _mean_output(weight, _means(inputs), groups) - _mean_output(rounded, _means(seen), groups),
        np.float32,
    )


def _means(values: np.ndarray) -> np.ndarray:
    return np.asarray(values.mean(axis=(0, *range(2, values.ndim)), dtype=np.float64))


def _mean_output(weight: np.ndarray, means: np.ndarray, groups: int) -> np.ndarray:
    outputs, inputs = weight.shape[:2]
    taps = weight.reshape(groups, outputs // groups, inputs, -1).sum(axis=3, dtype=np.float64)
    return np.asarray(np.einsum("goi,gi->go", taps, means.reshape(groups, inputs)).reshape(-1))
