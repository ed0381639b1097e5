"""What each channel's values are like over the calibration images; one pass, fixed memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ghostedge_quantize.equalization.channels import taken_channels
from ghostedge_quantize.observe import Observer
from ghostedge_quantize.ranges.calibrate import extremes
from ghostedge_runtime.errors import InputError


@dataclass(frozen=True)
class ChannelStats:
    """One tensor's channels, each array float64 [C].

    Attributes:
        high: Largest value, at least 0.
        low: Smallest value's magnitude below 0, at least 0.
        power: Mean square.
        active: Share of the values above zero.
    """

    high: np.ndarray
    low: np.ndarray
    power: np.ndarray
    active: np.ndarray


def channel_stats(
    graph: ir.Model, tensors: Sequence[str], batches: Iterable[np.ndarray]
) -> dict[str, ChannelStats]:
    """Look at a float graph's tensors [N, C, …] over float32 NCHW batches.

    Raises:
        InputError: No images, or a NaN or infinite activation.
    """
    sums: dict[str, _Sums] = {}
    images = 0
    for first, count, activations in Observer(graph, tensors).run(batches):
        for name, values in activations:
            extremes(name, values, first)
            sums.setdefault(name, _Sums(values.shape[1])).add(values[:count])
        images = first + count
    if images == 0:
        raise InputError("no calibration images", remedy="pass at least one batch of images")
    return {name: each.stats() for name, each in sums.items()}


class _Sums:
    def __init__(self, channels: int) -> None:
        self._high = np.zeros(channels)
        self._low = np.zeros(channels)
        self._power = np.zeros(channels)
        self._active = np.zeros(channels)
        self._images = 0

    def add(self, values: np.ndarray) -> None:
        axes = (0, *range(2, values.ndim))
        self._high = np.maximum(self._high, values.max(axis=axes))
        self._low = np.maximum(self._low, -values.min(axis=axes))
        self._power += len(values) * np.square(values).mean(axis=axes, dtype=np.float64)
        self._active += len(values) * (values > 0).mean(axis=axes)
        self._images += len(values)

    def stats(self) -> ChannelStats:
        total = self._images
        return ChannelStats(self._high, self._low, self._power / total, self._active / total)


def power_of(value: ir.Value, stats: Mapping[str, ChannelStats]) -> np.ndarray:
    """Mean square of a tensor's channels; those of what it was put together from, if need be."""
    if str(value.name) in stats:
        return stats[str(value.name)].power
    producer = value.producer()
    channels = value.shape[1] if value.shape is not None and len(value.shape) > 1 else 0
    if producer is not None and producer.op_type == "Concat":
        parts = [power_of(part, stats) for part in producer.inputs if part is not None]
        if sum(map(len, parts)) == channels:
            return np.concatenate(parts)
    if producer is not None and producer.op_type == "Slice" and producer.inputs[0] is not None:
        taken = taken_channels(producer)
        if taken is not None and len(taken) == channels:
            return np.asarray(power_of(producer.inputs[0], stats)[taken])
    if producer is not None and producer.inputs and producer.inputs[0] is not None:
        found = power_of(producer.inputs[0], stats)
        if len(found) == channels:
            return found
    return np.ones(channels if isinstance(channels, int) else 0)
