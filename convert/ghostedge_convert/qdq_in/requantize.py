"""What TFLite's int8 cannot hold: refused, or rounded where the user allows it.

What rounding costs is measured and stated. It concerns:

- Weights that int8 with zero point 0 cannot hold. Each output channel takes the scale that loses
  least in squared error: its own with the ends cut off, or one that reaches its largest weight.
- Activations with a scale per channel that could not move into the convs beside it
  (:mod:`.share_channel_scales`), or in integers wider or narrower than 8 bits: they get one int8
  scale.
- Concats whose parts are quantized and which are not themselves. Each part is exact on its own
  grid, the whole on none. Where nothing may be rounded the concat computes in float, and with it
  what reads it. Else it gets a pair that reaches all its parts; where some readers have a pair
  already, the others share that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ghostedge_convert.lower.graph import DEQUANTIZE, QUANTIZE
from ghostedge_convert.passes.graph import Array, nodes_of
from ghostedge_convert.qdq_in.constants import LARGEST, is_plain, quantized
from ghostedge_convert.qdq_in.pairs import (
    FLAG,
    Scheme,
    append_pair,
    decode_with,
    decoder_of,
    is_weight,
    limits_of,
    output_axis,
    pairs_of,
    refuse,
    scheme_of,
    set_scheme,
    stored_in,
    uses_of,
)

_EIGHT_BITS = (ir.DataType.INT8, ir.DataType.UINT8)
_LOWEST, _HIGHEST = limits_of(ir.DataType.INT8)
_NO_PAIR = "a concat of parts with unequal scales that is read without a pair"
_WEIGHT_REMEDY = (
    "quantize weights symmetrically to int8 in [-127, 127], per tensor or per output channel, "
    f"or pass {FLAG} to have these rounded to it"
)
_ACTIVATION_REMEDY = (
    f"quantize activations per tensor to int8 or uint8, or pass {FLAG} to have these be"
)


@dataclass(frozen=True)
class Loss:
    """How far a requantized tensor is from the source's.

    Attributes:
        max_abs: Largest difference of a value.
        mean_square: Mean of the squared differences.
    """

    max_abs: float
    mean_square: float


@dataclass(frozen=True)
class Requantized:
    """A tensor whose integers are no longer the source's.

    Attributes:
        tensor: Its name in the source: a constant's, or the real activation's before its pair.
        node: The node that the source's form was refused for.
        reason: What TFLite cannot express.
        loss: What it cost; None for an activation, whose loss depends on the images.
        before: The source's scheme, for an activation that had one.
        after: The new one, None for a constant.
    """

    tensor: str
    node: str
    reason: str
    loss: Loss | None = None
    before: Scheme | None = None
    after: Scheme | None = None

    def loss_on(self, batches: Iterable[npt.NDArray[np.float32]]) -> Loss:
        """What the change does to an activation's values.

        Args:
            batches: The real activation, before its pair, on some images.

        Raises:
            ValueError: This is a constant, or there are no batches.
        """
        if self.after is None:
            raise ValueError(f"{self.tensor!r} is a constant")
        largest, squares, count = 0.0, 0.0, 0
        for real in batches:
            new = self.after.dequantize(quantized(real, self.after))
            before = self.before
            old = real if before is None else before.dequantize(quantized(real, before))
            gap = np.abs(new.astype(np.float64) - old)
            largest = max(largest, float(gap.max(initial=0.0)))
            squares += float(np.square(gap).sum())
            count += gap.size
        if not count:
            raise ValueError("no batches to measure on")
        return Loss(largest, squares / count)


def requantize_weights(model: ir.Model, *, allowed: bool) -> tuple[Requantized, ...]:
    """Round weights that TFLite has no form for, in place.

    Raises:
        UnsupportedOpError: There are such weights and ``allowed`` is False.
    """
    done: list[Requantized] = []
    for decoder, use in list(_weights(model)):
        stored, scheme = stored_in(decoder), scheme_of(decoder)
        if stored is None:
            continue
        axis = output_axis(use[0]) % stored.ndim
        reason = _weight_reason(stored, scheme, axis)
        if reason is None:
            continue
        if not allowed:
            refuse(use[0], reason, _WEIGHT_REMEDY)
        done.append(_round(model, decoder, use, axis, reason))
    return tuple(done)


def _weights(model: ir.Model) -> Iterator[tuple[ir.Node, tuple[ir.Node, int]]]:
    for decoder in pairs_of(model, DEQUANTIZE):
        for use in filter(is_weight, uses_of(decoder.outputs[0])):
            yield decoder, use


def _weight_reason(stored: Array, scheme: Scheme, axis: int) -> str | None:
    if scheme.block_size:
        return f"weights quantized in blocks of {scheme.block_size}"
    steps = stored.astype(np.int64) - scheme.spread(stored.shape)[1]
    if steps.min(initial=0) == -LARGEST - 1 and steps.max(initial=0) <= LARGEST:
        return f"a weight of -{LARGEST + 1} steps; TFLite's go from -{LARGEST} to {LARGEST}"
    if scheme.zeros.any():
        zero = scheme.zeros[np.flatnonzero(scheme.zeros)[0]]
        return f"{scheme.dtype.name.lower()} weights with a zero point of {zero}"
    if not is_plain(scheme):
        return f"weights of type {scheme.dtype.name.lower()}"
    if not scheme.per_tensor and scheme.axis != axis:
        return f"weights quantized along axis {scheme.axis}, not the output channels' {axis}"
    return None


def _round(
    model: ir.Model, decoder: ir.Node, use: tuple[ir.Node, int], axis: int, reason: str
) -> Requantized:
    stored, scheme = stored_in(decoder), scheme_of(decoder)
    if stored is None:
        raise ValueError(f"{decoder.name} decodes no constant")
    real = scheme.dequantize(stored)
    steps, scales = _fitted(real, axis, _own_scales(scheme, stored.shape, axis))
    new = Scheme(scales, np.zeros(scales.size, np.int32), axis, ir.DataType.INT8)
    gap = new.dequantize(steps).astype(np.float64) - real
    source = decoder.inputs[0]
    name = str(decoder.name) if source is None else str(source.name)
    decode_with(model, use, steps, new, f"{decoder.name}/requantized")
    return Requantized(
        tensor=name,
        node=str(use[0].name),
        reason=reason,
        loss=Loss(float(np.abs(gap).max(initial=0.0)), float(np.square(gap).mean())),
    )


def _own_scales(
    scheme: Scheme, shape: tuple[int, ...], axis: int
) -> npt.NDArray[np.float32] | None:
    """The scale of each output channel where it has one."""
    if scheme.block_size or not (scheme.per_tensor or scheme.axis == axis):
        return None
    return np.broadcast_to(scheme.scales, (shape[axis],)).astype(np.float32)


def _fitted(
    real: npt.NDArray[np.float32], axis: int, own: npt.NDArray[np.float32] | None
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Integers and a scale per channel, the better of two candidates in each."""
    rows = np.moveaxis(real, axis, 0).reshape(real.shape[axis], -1).astype(np.float64)
    largest = np.abs(rows).max(axis=1)
    reach = np.where(largest > 0, largest / LARGEST, 1.0).astype(np.float32)
    candidates = [reach] if own is None else [own, reach]
    tried = [np.clip(np.rint(rows / s[:, None]), -LARGEST, LARGEST) for s in candidates]
    errors = [
        np.square(steps * s[:, None] - rows).sum(axis=1)
        for steps, s in zip(tried, candidates, strict=True)
    ]
    best = np.argmin(errors, axis=0)
    every = np.arange(rows.shape[0])
    steps, scales = np.stack(tried)[best, every], np.stack(candidates)[best, every]
    moved = np.moveaxis(real, axis, 0).shape
    return np.moveaxis(steps.reshape(moved), 0, axis).astype(np.int8), scales


def requantize_activations(model: ir.Model, *, allowed: bool) -> tuple[Requantized, ...]:
    """Give activations that TFLite has no form for one int8 scale, in place.

    Raises:
        UnsupportedOpError: There are such activations and ``allowed`` is False, or the two sides
            of a pair contradict each other.
    """
    done: list[Requantized] = []
    for quantizer in pairs_of(model, QUANTIZE):
        scheme = scheme_of(quantizer)
        _check_pair(quantizer, scheme)
        reason = _activation_reason(scheme)
        if reason is None:
            continue
        if not allowed:
            refuse(quantizer, reason, _ACTIVATION_REMEDY)
        done.append(_requantize(model, quantizer, scheme, reason))
    _refuse_inputs(model)
    return tuple(done)


def _check_pair(quantizer: ir.Node, scheme: Scheme) -> None:
    for decoder, _ in uses_of(quantizer.outputs[0]):
        if decoder.op_type == DEQUANTIZE and not scheme_of(decoder).same_as(scheme):
            refuse(
                decoder,
                f"it decodes what {quantizer.name!r} wrote with other parameters",
                "give both sides of a pair one scale and zero point",
            )


def _activation_reason(scheme: Scheme) -> str | None:
    if scheme.block_size:
        return "blockwise quantization of an activation"
    if not scheme.per_tensor:
        return "per-channel quantization of an activation"
    if scheme.dtype not in _EIGHT_BITS:
        return f"an activation quantized to {scheme.dtype.name.lower()}"
    return None


def _refuse_inputs(model: ir.Model) -> None:
    """Integers that come from outside keep their type, so nothing can be done about them."""
    for decoder in pairs_of(model, DEQUANTIZE):
        source = decoder.inputs[0]
        if stored_in(decoder) is None and source is not None and source.producer() is None:
            reason = _activation_reason(scheme_of(decoder))
            if reason is not None:
                refuse(decoder, reason, "quantize the model's input per tensor to int8 or uint8")


def covering(*schemes: Scheme) -> Scheme:
    """One int8 scale that reaches everything that the schemes do, zero exactly among it."""
    low = high = 0.0
    for scheme in schemes:
        least, most = limits_of(scheme.dtype)
        low = min(low, float(((least - scheme.zeros) * scheme.scales.astype(np.float64)).min()))
        high = max(high, float(((most - scheme.zeros) * scheme.scales.astype(np.float64)).max()))
    scale = np.float32((high - low) / (_HIGHEST - _LOWEST))
    zero = int(np.clip(np.rint(_LOWEST - low / float(scale)), _LOWEST, _HIGHEST))
    return Scheme(np.asarray([scale]), np.asarray([zero], np.int32), 0, ir.DataType.INT8)


def _requantize(model: ir.Model, quantizer: ir.Node, before: Scheme, reason: str) -> Requantized:
    after = covering(before)
    decoders = [n for n, _ in uses_of(quantizer.outputs[0]) if n.op_type == DEQUANTIZE]
    for node in (quantizer, *decoders):
        set_scheme(model, node, after)
    source = quantizer.inputs[0]
    name = str(quantizer.name) if source is None else str(source.name)
    return Requantized(name, str(quantizer.name), reason, before=before, after=after)


def join_concats(model: ir.Model) -> tuple[Requantized, ...]:
    """Let every reader of such a concat read one pair, in place."""
    done: list[Requantized] = []
    for node in nodes_of(model, "Concat"):
        decoders = [decoder_of(value) for value in node.inputs]
        schemes = [scheme_of(d) for d in decoders if d is not None]
        value = node.outputs[0]
        real = [use for use in uses_of(value) if use[0].op_type != QUANTIZE]
        if len(schemes) < len(node.inputs) or not real or value.is_graph_output():
            continue
        decoder = _existing_pair(value)
        if decoder is None:
            after = covering(*schemes)
            append_pair(model, node, after)
        else:
            after = scheme_of(decoder)
            for reader, position in real:
                reader.replace_input_with(position, decoder.outputs[0])
        done.append(Requantized(str(value.name), str(node.name), _NO_PAIR, after=after))
    return tuple(done)


def _existing_pair(value: ir.Value) -> ir.Node | None:
    """The DequantizeLinear of the pair that some readers have."""
    for quantizer, _ in uses_of(value):
        if quantizer.op_type == QUANTIZE:
            for decoder, _ in uses_of(quantizer.outputs[0]):
                if decoder.op_type == DEQUANTIZE:
                    return decoder
    return None
