"""Measures activation ranges by running the float graph on calibration images.

Streaming: one batch and its activations are held at a time, and per sharing group two numbers or
one histogram of fixed size. A method that reads a histogram passes over the batches twice, first
for its ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args

import numpy as np
import onnx

from ghostedge_quantize.canonical import canonical_ir
from ghostedge_quantize.histogram import READERS, Histogram
from ghostedge_quantize.observe import Observer
from ghostedge_quantize.plan import make_plan
from ghostedge_quantize.ranges import Method, Range, Ranges, hull
from ghostedge_runtime.errors import InputError


def calibrate(
    model: onnx.ModelProto, batches: Iterable[np.ndarray], *, method: Method = "mse"
) -> Ranges:
    """Measure the range of every activation that int8 needs.

    Tensors that share one scale (the branches of a concat) get one range, over their values
    together.

    Args:
        model: The float deploy graph, one input, float32 NCHW.
        batches: float32 [N, C, H, W], normalised as the model expects. N may differ from the
            model's own batch size. Iterated once by ``minmax``, twice by the others, so an
            iterator will not do.
        method: ``minmax`` takes the extremes; ``percentile`` leaves out the outermost 0.01 % of
            the values; ``mse`` minimises the squared error of the int8 code.

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
    observer = Observer(graph, plan.measured)
    ends, images = _measure_ends(observer, batches, groups)
    if images == 0:
        raise InputError("no calibration images", remedy="pass at least one batch of images")
    if method in READERS:
        histograms = _count(observer, batches, groups, ends)
        ends = {group: READERS[method](each) for group, each in histograms.items()}
    return Ranges(method, images, {name: ends[group] for name, group in groups.items()})


def _measure_ends(
    observer: Observer, batches: Iterable[np.ndarray], groups: Mapping[str, str]
) -> tuple[dict[str, Range], int]:
    """The extremes of each group, and the number of images."""
    seen = dict.fromkeys(groups.values(), Range(0.0, 0.0))
    images = 0
    for first, count, activations in observer.run(batches):
        for name, values in activations:
            low, high = float(values.min()), float(values.max())
            if not np.isfinite(low + high):
                _refuse(name, values, first)
            before = seen[groups[name]]
            seen[groups[name]] = Range(min(before.low, low), max(before.high, high))
        images = first + count
    return {group: hull([ends]) for group, ends in seen.items()}, images


def _count(
    observer: Observer,
    batches: Iterable[np.ndarray],
    groups: Mapping[str, str],
    ends: Mapping[str, Range],
) -> dict[str, Histogram]:
    """Each group's histogram over its extremes."""
    histograms = {group: Histogram(each) for group, each in ends.items()}
    counted = False
    for _, _, activations in observer.run(batches):
        counted = True
        for name, values in activations:
            histograms[groups[name]].add(values)
    if not counted:
        raise InputError(
            "the calibration batches can be iterated only once, this method needs them twice",
            remedy="pass a list, or an object whose __iter__ starts anew",
        )
    return histograms


def _refuse(name: str, values: np.ndarray, first: int) -> None:
    """Name the image that made an activation NaN or infinite."""
    bad = [index for index, each in enumerate(values) if not np.isfinite(each).all()]
    raise InputError(
        f"this activation is NaN or infinite for calibration image {first + bad[0]}",
        where=name,
        remedy="check that image's preprocessing, and the weights before this tensor",
    )
