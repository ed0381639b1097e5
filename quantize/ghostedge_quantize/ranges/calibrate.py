"""Measures activation ranges by running the float graph on calibration images.

Streaming, in one pass: two batches and their activations are held at a time, and per tensor one
histogram of fixed size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, get_args

import numpy as np
import onnx

from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.graph.joins import output_joins, part_ranges
from ghostedge_quantize.graph.plan import Plan, make_plan
from ghostedge_quantize.histogram import Histogram, merged, read_range
from ghostedge_quantize.observe import Observer
from ghostedge_quantize.ranges.methods import Method, Range, Ranges
from ghostedge_runtime.errors import InputError

T = TypeVar("T")


def calibrate(
    model: onnx.ModelProto, batches: Iterable[np.ndarray], *, method: Method = "auto"
) -> Ranges:
    """Measure the range of every activation that int8 needs.

    Tensors that share one scale (the branches of a concat) get one range, over their values
    together; those that an output joins share one only where their ranges are alike (``joins``).

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
    joins = output_joins(graph.graph)
    shared = make_plan(graph.graph, "int8")
    apart = make_plan(graph.graph, "int8", {join.node for join in joins})
    histograms = {name: Histogram() for name in (*shared.measured, *apart.measured)}
    images = 0
    for first, count, activations in _ahead(Observer(graph, tuple(histograms)).run(batches)):
        for name, values in activations:
            histograms[name].add(values, extremes(name, values, first))
        images = first + count
    if images == 0:
        raise InputError("no calibration images", remedy="pass at least one batch of images")
    read = _read(apart, histograms, method, [part for join in joins for part in join.parts])
    ends_of = part_ranges(joins, apart, {name: ends for name, (_, ends) in read.items()})
    unlike = frozenset(join.node for join in joins if join.is_unlike(ends_of))
    plan = make_plan(graph.graph, "int8", unlike)
    read |= _read(plan, histograms, method, plan.groups)
    return Ranges(
        method,
        images,
        tensors={name: ends for name, (_, ends) in read.items()},
        chosen={name: chosen for name, (chosen, _) in read.items()},
        float_joins=unlike,
    )


def _read(
    plan: Plan, histograms: Mapping[str, Histogram], method: Method, names: Iterable[str]
) -> dict[str, tuple[Method, Range]]:
    """The range of those tensors that have one, over the values of all that share its scale.

    Of every tensor of a group, not only the measured: one of them may enter int8 on its own, where
    the layer before it stays float.
    """
    members: dict[str, list[str]] = {}
    for name in plan.measured:
        members.setdefault(plan.groups[name], []).append(name)
    group_of = {name: plan.groups.get(name, name) for name in names}
    read = {}
    for group in dict.fromkeys(group_of.values()):
        counted = [name for name in members.get(group, [group]) if name in histograms]
        if counted:
            read[group] = read_range(merged([histograms[name] for name in counted]), method)
    return {name: read[group] for name, group in group_of.items() if group in read}


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
