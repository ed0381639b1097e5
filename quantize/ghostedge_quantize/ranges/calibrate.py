"""Measures activation ranges by running the float graph on calibration images.

ONNX Runtime runs the graph and hands out inner activations, batch by batch. Streaming, in one pass:
a batch and its activations are held for each core, and per tensor a histogram of fixed size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar, get_args

import numpy as np
import onnx
import onnx_ir as ir

from ghostedge_quantize.codes import Range
from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.graph.joins import output_joins, part_ranges
from ghostedge_quantize.graph.plan import Plan, make_plan
from ghostedge_quantize.parallel import (
    PerWorker,
    Progress,
    in_parallel,
    session_of_one_thread,
    untold,
)
from ghostedge_quantize.ranges.methods import Histogram, merged, read_range
from ghostedge_quantize.ranges.use import Ends, ImageEnds, RangeUse, image_ends, range_use
from ghostedge_quantize.settings import Method
from ghostedge_runtime.errors import InputError

Activations = Iterator[tuple[str, np.ndarray]]
R = TypeVar("R")


@dataclass(frozen=True)
class Ranges:
    """What calibration found: tensor name → range.

    Attributes:
        method: How the ends were chosen.
        images: How many images were run.
        tensors: Frozen; ends are finite and hold zero between them.
        chosen: Frozen; the method that each tensor's range was read by, never ``auto``. May be
            empty.
        float_joins: Concats that stay float because their parts' ranges are unlike (``joins``).
        uses: How the images fill each range, in the graph's order.
    """

    method: Method
    images: int
    tensors: Mapping[str, Range]
    chosen: Mapping[str, Method] = field(default_factory=dict)
    float_joins: frozenset[str] = frozenset()
    uses: tuple[RangeUse, ...] = ()

    def __post_init__(self) -> None:
        frozen = {name: Range(*map(float, ends)) for name, ends in self.tensors.items()}
        for name, (low, high) in frozen.items():
            if not (math.isfinite(low) and math.isfinite(high) and low <= 0 <= high):
                raise InputError(
                    f"[{low}, {high}] is not a range: ends are finite and zero lies between them",
                    where=name,
                )
        object.__setattr__(self, "tensors", MappingProxyType(frozen))
        object.__setattr__(self, "chosen", MappingProxyType(dict(self.chosen)))


class Observer:
    """A session of the graph with more outputs.

    Args:
        model: The canonical float model, one float32 input.
        names: The tensors to hand out; the graph's input may be among them.

    Raises:
        InputError: The model has not exactly one input.
    """

    def __init__(self, model: ir.Model, names: Sequence[str]) -> None:
        proto = ir.to_proto(model)
        inputs = [value for value in model.graph.inputs if not value.is_initializer()]
        if len(inputs) != 1:
            raise InputError(
                f"the model has {len(inputs)} inputs, calibration feeds exactly one",
                where=", ".join(str(value.name) for value in inputs) or None,
            )
        self._input = str(inputs[0].name)
        self._shape = [] if inputs[0].shape is None else list(inputs[0].shape)
        self._fetched = [name for name in names if name != self._input]
        self._names = tuple(names)
        del proto.graph.output[:]
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._fetched)
        self._session = session_of_one_thread(proto)

    def look(
        self, batches: Iterable[np.ndarray], at: Callable[[int, int, Activations], R]
    ) -> Iterator[tuple[int, R]]:
        """Run the graph, a batch on each core at a time.

        Args:
            batches: One that the model's own batch size does not divide is filled up with copies
                of its last image.
            at: Called in a thread with the first image's index, the number of images and the
                activations of each run.

        Yields:
            The number of images of each run, in order, and what ``at`` returned.
        """

        def run(batch: tuple[int, int, np.ndarray]) -> tuple[int, R]:
            first, count, images = batch
            return count, at(first, count, self._activations(images))

        return in_parallel(run, self._numbered(batches))

    def takes(self, batch: np.ndarray) -> bool:
        """Whether a batch is of the model's own size."""
        return not self._shape or self._shape[0] == len(batch)

    def _numbered(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[int, int, np.ndarray]]:
        first = 0
        for count, images in self.sized(batches):
            yield first, count, images
            first += count

    def sized(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield batches of the model's own batch size, with the number of images that count."""
        first = 0
        for batch in batches:
            self._check(batch, first)
            size = self._shape[0] if self._shape and isinstance(self._shape[0], int) else len(batch)
            for start in range(0, len(batch), size):
                images = batch[start : start + size]
                missing = size - len(images)
                fed = np.concatenate([images, *[images[-1:]] * missing]) if missing else images
                yield len(images), fed
            first += len(batch)

    def _activations(self, images: np.ndarray) -> Activations:
        arrays = self._session.run(self._fetched, {self._input: images})
        by_name = {self._input: images, **dict(zip(self._fetched, arrays, strict=True))}
        return ((name, by_name[name]) for name in self._names)

    def _check(self, batch: np.ndarray, first: int) -> None:
        if batch.dtype != np.float32:
            raise InputError(
                f"calibration image {first} is {batch.dtype}, not float32",
                remedy="normalise the images as the model expects before passing them",
            )
        expected = self._shape[1:]
        fits = len(batch.shape) == len(self._shape) and all(
            not isinstance(want, int) or want == have
            for want, have in zip(expected, batch.shape[1:], strict=True)
        )
        if not fits:
            raise InputError(
                f"calibration image {first} has the shape {list(batch.shape[1:])}, the model "
                f"takes {expected}",
                where=self._input,
            )


def spread(batches: Iterable[np.ndarray], *, pixels: int, at_least: int) -> Sequence[np.ndarray]:
    """Batches, evenly over all, of about so many pixels altogether; fewer where there are fewer.

    Args:
        batches: [N, C, H, W], all of one size; of a sequence none is asked for but those chosen
            and the first.
        pixels: How many are enough to know a tensor's values by.
        at_least: So many batches however large they are.
    """
    available = batches if isinstance(batches, Sequence) else list(batches)
    if not available:
        return available
    size, _, *sides = available[0].shape
    count = max(at_least, pixels // (size * int(np.prod(sides))))
    chosen = np.linspace(0, len(available) - 1, min(count, len(available)))
    return [available[round(index)] for index in chosen]


def calibrate(
    model: onnx.ModelProto,
    batches: Iterable[np.ndarray],
    *,
    method: Method = "auto",
    progress: Progress | None = None,
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
        progress: Told after each batch, where their number is known.

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
    names = tuple(dict.fromkeys((*shared.measured, *apart.measured)))
    images, histograms, of_images = _counted(
        Observer(graph, names), names, batches, progress or untold
    )
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
        uses=tuple(_uses(plan, histograms, of_images, read)),
    )


def _counted(
    observer: Observer, names: Sequence[str], batches: Iterable[np.ndarray], progress: Progress
) -> tuple[int, dict[str, Histogram], dict[str, ImageEnds]]:
    """How many images there are, the values of each tensor, and the ends of its images.

    Raises:
        InputError: As ``calibrate``.
    """
    shares = PerWorker(lambda: {name: Histogram() for name in names})

    def count(first: int, images: int, activations: Activations) -> list[tuple[Ends, Ends]]:
        ends = []
        with shares.one() as histograms:
            for name, values in activations:
                histograms[name].add(values, extremes(name, values, first))
                ends.append(image_ends(values, images))
        return ends

    of_images = {name: ImageEnds() for name in names}
    looked_at, total = 0, len(batches) if isinstance(batches, Sequence) else 0
    for done, (images, ends) in enumerate(observer.look(batches, count), 1):
        looked_at += images
        progress("ranges", min(1.0, done / total) if total else 0.0)
        for name, (lows, highs) in zip(names, ends, strict=True):
            of_images[name].add(lows, highs)
    if looked_at == 0:
        raise InputError("no calibration images", remedy="pass at least one batch of images")
    counted = {name: merged([share[name] for share in shares.all]) for name in names}
    return looked_at, counted, of_images


def _read(
    plan: Plan, histograms: Mapping[str, Histogram], method: Method, names: Iterable[str]
) -> dict[str, tuple[Method, Range]]:
    """The range of those tensors that have one, over the values of all that share its scale.

    Of every tensor of a group, not only the measured: one of them may enter int8 on its own, where
    the layer before it stays float.
    """
    members = _members(plan)
    group_of = {name: plan.groups.get(name, name) for name in names}
    counted = {
        group: [histograms[name] for name in members.get(group, [group]) if name in histograms]
        for group in dict.fromkeys(group_of.values())
    }
    counted = {group: parts for group, parts in counted.items() if parts}
    ranges = in_parallel(lambda parts: read_range(merged(parts), method), counted.values())
    read = dict(zip(counted, ranges, strict=True))
    return {name: read[group] for name, group in group_of.items() if group in read}


def _members(plan: Plan) -> dict[str, list[str]]:
    """Sharing group → those of its tensors that are measured."""
    members: dict[str, list[str]] = {}
    for name in plan.measured:
        members.setdefault(plan.groups[name], []).append(name)
    return members


def _uses(
    plan: Plan,
    histograms: Mapping[str, Histogram],
    of_images: Mapping[str, ImageEnds],
    read: Mapping[str, tuple[Method, Range]],
) -> Iterator[RangeUse]:
    for names in _members(plan).values():
        _, ends = read[names[0]]
        together = merged([histograms[name] for name in names])
        yield range_use(names[0], ends, together, [of_images[name] for name in names])


def extremes(name: str, values: np.ndarray, first: int) -> Range:
    """Lowest and highest value of an activation of the images from ``first`` on."""
    ends = Range(float(values.min()), float(values.max()))
    if not math.isfinite(ends.low + ends.high):
        _refuse(name, values, first)
    return ends


def _refuse(name: str, values: np.ndarray, first: int) -> None:
    """Name the image that made an activation NaN or infinite."""
    bad = [index for index, image in enumerate(values) if not np.isfinite(image).all()]
    raise InputError(
        f"this activation is NaN or infinite for calibration image {first + bad[0]}",
        where=name,
        remedy="check that image's preprocessing, and the weights before this tensor",
    )
