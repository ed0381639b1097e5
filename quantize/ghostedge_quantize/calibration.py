"""Measures activation ranges by running the float graph on calibration images.

Streaming, in one pass: two batches and their activations are held at a time, and per sharing group
one histogram of fixed size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, get_args

import numpy as np
import onnx

from ghostedge_quantize.canonical import canonical_ir
from ghostedge_quantize.histogram import Histogram, read_range
from ghostedge_quantize.observe import Observer
from ghostedge_quantize.plan import make_plan
from ghostedge_quantize.ranges import Method, Range, Ranges
from ghostedge_runtime.errors import InputError

T = TypeVar("T")


def calibrate(
    model: onnx.ModelProto, batches: Iterable[np.ndarray], *, method: Method = "auto"
) -> Ranges:
    """Measure the range of every activation that int8 needs.

    Tensors that share one scale (the branches of a concat) get one range, over their values
    together.

    Args:
        model: The float deploy graph, one input, float32 NCHW.
        batches: float32 [N, C, H, W], normalised as the model expects. N may differ from the
            model's own batch size. Iterated once.
        method: ``minmax`` takes the extremes; ``percentile`` leaves out the outermost 0.01 % of
            the values; ``mse`` minimises the squared error of the int8 code; ``entropy`` the
            Kullback-Leibler divergence of what the code leaves of the values' distribution;
            ``auto`` takes for each range, of these four, the one of least squared error.

    Raises:
        InputError: No images, an image of another shape or type, a NaN or infinite activation
            (named, with the image's index), or an unknown method.
    """
    if method not in get_args(Method):
        raise InputError(
            f"{method!r} is not a range method",
            where="method",
            remedy=f"use one of {', '.join(get_args(Method))}",
        )
    graph = canonical_ir(model)
    plan = make_plan(graph.graph, "int8")
    groups = {name: plan.groups[name] for name in plan.measured}
    histograms = {group: Histogram() for group in groups.values()}
    images = 0
    for first, count, activations in _ahead(Observer(graph, plan.measured).run(batches)):
        for name, values in activations:
            histograms[groups[name]].add(values, extremes(name, values, first))
        images = first + count
    if images == 0:
        raise InputError("no calibration images", remedy="pass at least one batch of images")
    read = {group: read_range(each, method) for group, each in histograms.items()}
    # Every tensor of a group, not only the measured: one of them may enter int8 on its own, where
    # the layer before it stays float.
    tensors = {name: read[group] for name, group in plan.groups.items() if group in read}
    return Ranges(
        method,
        images,
        tensors={name: ends for name, (_, ends) in tensors.items()},
        chosen={name: chosen for name, (chosen, _) in tensors.items()},
    )


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Pass the items on, making the next while the caller works on the present one.

    Decoding and inference leave Python's lock to the counting, so the two take turns on two cores.
    """
    with ThreadPoolExecutor(max_workers=1) as worker:
        pending = worker.submit(next, items, None)
        while (item := pending.result()) is not None:
            pending = worker.submit(next, items, None)
            yield item


def extremes(name: str, values: np.ndarray, first: int) -> Range:
    """Lowest and highest value of an activation of the images from ``first`` on."""
    ends = Range(float(values.min()), float(values.max()))
    if not math.isfinite(ends.low + ends.high):
        _refuse(name, values, first)
    return ends


def _refuse(name: str, values: np.ndarray, first: int) -> None:
    """Name the image that made an activation NaN or infinite."""
    bad = [index for index, each in enumerate(values) if not np.isfinite(each).all()]
    raise InputError(
        f"this activation is NaN or infinite for calibration image {first + bad[0]}",
        where=name,
        remedy="check that image's preprocessing, and the weights before this tensor",
    )
