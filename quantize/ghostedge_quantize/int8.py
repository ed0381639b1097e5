"""The whole way from a float graph to int8: one call that measures, one that writes.

Measuring (``prepare``) takes the images and most of the time. Writing (``Prepared.qdq``) takes
none and may be repeated, each time with other layers left float.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from ghostedge_quantize.equalization.equalize import equalize
from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.graph.ops import Role
from ghostedge_quantize.graph.plan import OutputType, make_plan
from ghostedge_quantize.graph.raw_input import raw_pixels
from ghostedge_quantize.graph.write import float_graph, quantize, unsigned_activations
from ghostedge_quantize.ranges.calibrate import Observer, calibrate
from ghostedge_quantize.ranges.methods import Method, Ranges
from ghostedge_quantize.tuning.tune import BiasCorrection, Rounding, Tuning, tune
from ghostedge_runtime.metadata import Preprocessing


@dataclass(frozen=True)
class Int8Settings:
    """How a graph is to be quantized.

    Attributes:
        ranges: How the ends of an activation's range are chosen.
        equalize: Whether channels are rescaled first, which leaves the float function unchanged.
        bias_correction: How a layer's mean error is taken out of its bias.
        rounding: How weights are rounded to int8.
        per_channel: A weight scale for every output channel, or one per tensor.
        output_type: What the int8 graph puts out.
    """

    ranges: Method = "auto"
    equalize: bool = True
    bias_correction: BiasCorrection = "full"
    rounding: Rounding = "nearest"
    per_channel: bool = True
    output_type: OutputType = "float32"


@dataclass(frozen=True)
class Prepared:
    """Everything measured that an int8 graph needs.

    Attributes:
        model: The float graph that is quantized; the same function as the one given.
        ranges: Of its activations.
        settings: As given.
        preprocessing: As given.
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
        plan = make_plan(canonical_ir(self.model).graph)
        return tuple(name for name, rule in plan.nodes.items() if rule.role is Role.WEIGHTED)

    def qdq(self, keep_float: Collection[str] = ()) -> onnx.ModelProto:
        """Write the QDQ graph, with uint8 activations (see ``unsigned``).

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


def prepare(
    model: onnx.ModelProto,
    batches: Iterable[np.ndarray],
    settings: Int8Settings,
    *,
    preprocessing: Preprocessing | None,
) -> Prepared:
    """Measure what quantizing needs.

    Args:
        model: The float deploy graph: input float32 NCHW, normalised. It is not changed.
        batches: Calibration images, float32 [N, C, H, W], normalised; iterated more than once.
        settings: How.
        preprocessing: Given, the int8 graph takes raw uint8 NHWC pixels and normalises them.

    Raises:
        InputError: The images or the model cannot be used (see ``calibrate`` and ``quantize``).
    """
    notes = []
    if settings.equalize:
        equalized = equalize(model, batches, per_channel=settings.per_channel)
        model = equalized.model
        notes.append(
            f"equalization: {equalized.channels} classes of channels rescaled, predicted "
            f"quantization noise {equalized.noise_db:+.1f} dB"
        )
    ranges = calibrate(model, batches, method=settings.ranges)
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
) -> Iterator[np.ndarray]:
    """The images as the quantized graph takes them, in its batch size."""
    for _, images in Observer(canonical_ir(model), ()).sized(batches):
        yield images if preprocessing is None else raw_pixels(images, preprocessing)


def _tuning_notes(tuning: Tuning, settings: Int8Settings) -> Iterator[str]:
    if tuning.bias_shift:
        yield f"bias correction ({settings.bias_correction}): {len(tuning.bias_shift)} layers"
    if settings.rounding == "adaptive":
        yield f"adaptive rounding: kept in {len(tuning.weight_codes)} layers, where it helped"
