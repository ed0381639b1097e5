"""The whole way from a float graph to int8: one call that measures, one that writes.

Measuring (``prepare``) takes the images and most of the time. Writing (``Prepared.qdq``) takes
none and may be repeated, each time with other layers left float. ``quantize`` writes from measured
ranges alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass, RemoveUnusedNodesPass

from ghostedge_quantize.codes import Range
from ghostedge_quantize.equalization.equalize import equalize
from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.graph.joins import float_ends, refuse_int8
from ghostedge_quantize.graph.ops import Role
from ghostedge_quantize.graph.plan import Tuning, assign, make_plan
from ghostedge_quantize.graph.raw_input import float_shift, raw_pixels, take_raw_image
from ghostedge_quantize.graph.write import Writer, unsigned_activations
from ghostedge_quantize.parallel import Progress, share_of, untold
from ghostedge_quantize.ranges.calibrate import Observer, Ranges, calibrate
from ghostedge_quantize.settings import Int8Settings, OutputType, Rounding
from ghostedge_quantize.tuning.tune import tune
from ghostedge_runtime.metadata import METADATA_KEY, Preprocessing

_EQUALIZED, _CALIBRATED = 0.4, 0.75
"""What is done of the work, in seconds, after these steps."""


@dataclass(frozen=True)
class Prepared:
    """Everything measured that an int8 graph needs.

    Attributes:
        model: The float graph that is quantized; the same function as the one given.
        ranges: Of its activations.
        settings: How it is quantized.
        preprocessing: Of the raw pixels that the int8 graph takes; None where it takes what the
            float graph does.
        tuning: Its layers' weights and biases.
        notes: What was done, a sentence each.
    """

    model: onnx.ModelProto
    ranges: Ranges
    settings: Int8Settings
    preprocessing: Preprocessing | None
    tuning: Tuning = field(default_factory=Tuning)
    notes: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the nodes with weights that can be left float, in graph order."""
        return int8_layers(self.model)

    @property
    def rounding(self) -> Rounding:
        """How the weights are rounded: ``nearest`` too where ``first`` learned none."""
        chosen = self.settings.rounding
        return "nearest" if chosen == "first" and not self.tuning.weight_codes else chosen

    def qdq(self, keep_float: Collection[str] = ()) -> onnx.ModelProto:
        """Write the QDQ graph, with uint8 activations (see ``unsigned_activations``).

        Args:
            keep_float: Names of nodes that stay float, of ``layers`` for instance.
        """
        return unsigned_activations(self._signed(keep_float))

    def _signed(self, keep_float: Collection[str] = ()) -> onnx.ModelProto:
        """The QDQ graph with int8 activations."""
        return quantize(
            self.model,
            self.ranges,
            preprocessing=self.preprocessing,
            output_type=self.settings.output_type,
            per_channel=self.settings.per_channel,
            keep_float=keep_float,
            tuning=self.tuning,
        )


def int8_layers(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of a float graph's nodes with weights that can be int8, in graph order."""
    plan = make_plan(canonical_ir(model).graph)
    return tuple(name for name, rule in plan.nodes.items() if rule.role is Role.WEIGHTED)


def prepare(
    model: onnx.ModelProto,
    batches: Iterable[np.ndarray],
    settings: Int8Settings,
    *,
    preprocessing: Preprocessing | None,
    progress: Progress | None = None,
) -> Prepared:
    """Measure what quantizing needs.

    Args:
        model: The float deploy graph: input float32 NCHW, normalised. It is not changed.
        batches: Calibration images, float32 [N, C, H, W], normalised; iterated more than once. Of
            a sequence some are asked for by number; only its last may be smaller than the others.
        settings: How.
        preprocessing: Given, the int8 graph takes raw uint8 NHWC pixels and normalises them.
        progress: Called with what is being done and the share done of all, by what each step
            takes of a network's time on average.

    Raises:
        InputError: The images or the model cannot be used (see ``calibrate`` and ``quantize``).
    """
    notes, progress = [], progress or untold
    if settings.equalize:
        equalized = equalize(
            model,
            batches,
            per_channel=settings.per_channel,
            progress=share_of(progress, 0, _EQUALIZED),
        )
        model = equalized.model
        notes.append(
            f"equalization: {equalized.channels} classes of channels rescaled, predicted "
            f"quantization noise {equalized.noise_db:+.1f} dB"
        )
    until_ranges = share_of(progress, _EQUALIZED if settings.equalize else 0, _CALIBRATED)
    ranges = calibrate(model, batches, method=settings.ranges, progress=until_ranges)
    progress("weights and biases", _CALIBRATED)
    prepared = Prepared(model, ranges, settings, preprocessing)
    tuning = tune(
        float_graph(model, preprocessing)[0],
        prepared._signed(),
        _as_fed(model, batches, preprocessing),
        bias_correction=settings.bias_correction,
        rounding=settings.rounding,
    )
    notes.extend(_tuning_notes(tuning, settings))
    return replace(prepared, tuning=tuning, notes=tuple(notes))


def _as_fed(
    model: onnx.ModelProto, batches: Iterable[np.ndarray], preprocessing: Preprocessing | None
) -> Sequence[np.ndarray]:
    """The images as the quantized graph takes them, in its batch size."""
    observer = Observer(canonical_ir(model), ())
    if isinstance(batches, Sequence) and observer.takes(batches[0]):
        return _Fed(batches, observer, preprocessing)
    return [_fed(images, preprocessing) for _, images in observer.sized(batches)]


@dataclass(frozen=True)
class _Fed(Sequence[np.ndarray]):
    """Images made ready when they are asked for, which not all of them are."""

    batches: Sequence[np.ndarray]
    observer: Observer
    preprocessing: Preprocessing | None

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: Any) -> Any:
        _, images = next(self.observer.sized([self.batches[index]]))
        return _fed(images, self.preprocessing)


def _fed(images: np.ndarray, preprocessing: Preprocessing | None) -> np.ndarray:
    return images if preprocessing is None else raw_pixels(images, preprocessing)


def _tuning_notes(tuning: Tuning, settings: Int8Settings) -> Iterator[str]:
    if tuning.bias_shift:
        yield f"bias correction ({settings.bias_correction}): {len(tuning.bias_shift)} layers"
    if settings.rounding == "adaptive":
        yield f"adaptive rounding: kept in {len(tuning.weight_codes)} layers, where it helped"
    elif tuning.weight_codes:
        yield f"first layer: learned rounding ({', '.join(tuning.weight_codes)})"


def quantize(
    model: onnx.ModelProto,
    ranges: Ranges,
    *,
    preprocessing: Preprocessing | None,
    output_type: OutputType = "float32",
    per_channel: bool = True,
    keep_float: Collection[str] = (),
    tuning: Tuning | None = None,
) -> onnx.ModelProto:
    """Quantize a float deploy graph to a QDQ graph of the same opset.

    Args:
        model: The float graph: input float32 NCHW, normalised. It is not changed.
        ranges: From ``calibrate`` on the same model.
        preprocessing: Given, the result takes raw pixels instead: ``image``, uint8 NHWC in the
            colour order that it names, and normalises them itself. None: the input stays.
        output_type: ``float32`` ends with a DequantizeLinear, ``int8`` without it.
        per_channel: A weight scale for every output channel; False: one per weight tensor, for
            accelerators that know nothing else.
        keep_float: Names of nodes that stay float although int8 is possible.
        tuning: Weights and biases that are not the nearest codes; None: all nearest.

    Returns:
        A new model, checked by onnx; equal arguments give equal bytes. The metadata that
        describes the float model is not carried over.

    Raises:
        InputError: The model's opset is below 13, ``ranges`` lacks one of its tensors, its input
            cannot take raw images, no int8 scales exist that kernels can compute, or an output
            that is to be int8 joins parts of unlike ranges.
    """
    quantized, fixed = float_graph(model, preprocessing)
    float_nodes = {*keep_float, *float_shift(quantized.graph, keep_float), *ranges.float_joins}
    if output_type == "int8":
        refuse_int8(quantized.graph, ranges.float_joins, ranges.tensors)
    else:
        fixed |= make_plan(quantized.graph, output_type, float_nodes).dictated
        float_nodes |= float_ends(quantized.graph, ranges.float_joins)
    plan = make_plan(quantized.graph, output_type, float_nodes)
    params = assign(quantized.graph, plan, {**ranges.tensors, **fixed})
    Writer(quantized.graph, plan, params, per_channel=per_channel, tuning=tuning or Tuning()).write(
        output_type
    )
    RemoveUnusedNodesPass()(quantized)
    NameFixPass()(quantized)
    quantized.metadata_props.pop(METADATA_KEY, None)
    proto = ir.to_proto(quantized)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def float_graph(
    model: onnx.ModelProto, preprocessing: Preprocessing | None
) -> tuple[ir.Model, dict[str, Range]]:
    """The canonical graph that is quantized, still float, with the input that it will have.

    Returns:
        The graph, and the ranges of its new activations.

    Raises:
        InputError: As ``quantize``.
    """
    graph = canonical_ir(model)
    return graph, {} if preprocessing is None else take_raw_image(graph.graph, preprocessing)
