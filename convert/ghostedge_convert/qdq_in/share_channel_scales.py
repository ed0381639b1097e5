"""Activations with a scale per channel become per tensor, exactly, around depthwise convs.

NNCF gives the inputs of depthwise convs a scale per channel, which no TFLite kernel takes. A
depthwise conv keeps channels apart, so their scales can move into its weights, and from there, as
ReLU passes positive factors, into the conv before: with S the common scale, the producer's weights
and bias of channel c take the factor S / s_c and the depthwise weights s_c / S. Both are factors on
*scales*; every stored integer, of weights and activations, stays what it was. A concat passes the
scales on if all its parts can do the same, which is what a ghost module is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ghostedge_convert.lower.graph import DEQUANTIZE, QUANTIZE
from ghostedge_convert.passes.graph import (
    constant,
    input_at,
    int_attr,
    only_consumer,
    set_constant,
    static_shape,
)
from ghostedge_convert.passes.run import PassNote
from ghostedge_convert.qdq_in.pairs import (
    Scheme,
    decode_with,
    decoder_of,
    pairs_of,
    scheme_of,
    set_scheme,
    stored_in,
    uses_of,
)

_CHANNELS = 1
Factors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Part:
    """A quantized activation whose scales can move.

    Attributes:
        quantizer: Its QuantizeLinear.
        decoders: Every DequantizeLinear of it.
        conv: The conv that makes it.
        scheme: Its parameters, spread over the channels.
    """

    quantizer: ir.Node
    decoders: tuple[ir.Node, ...]
    conv: ir.Node
    scheme: Scheme


def share_channel_scales(model: ir.Model) -> PassNote:
    """Give channelwise quantized activations one scale where that changes no integer, in place."""
    edits = 0
    for quantizer in pairs_of(model, QUANTIZE):
        if scheme_of(quantizer).per_tensor:
            continue
        group = _group(quantizer)
        if group is not None:
            _share(model, *group)
            edits += len(group[0])
    note = (
        f"{edits} activations with a scale per channel given one, the rest moved into the convs "
        "beside them; no integer changes"
        if edits
        else "no scale per channel that can move"
    )
    return PassNote("share_channel_scales", edits, note)


Group = tuple[list[_Part], list[tuple[ir.Node, list[_Part]]]]
"""Activations that share a scale; the depthwise convs that read them, and of which parts."""


def _group(start: ir.Node) -> Group | None:
    """Everything that must change with one activation, None where something cannot."""
    parts: dict[ir.Node, _Part] = {}
    readers: dict[ir.Node, list[ir.Node]] = {}
    todo = [start]
    while todo:
        quantizer = todo.pop()
        if quantizer in parts:
            continue
        part = _part(quantizer)
        if part is None:
            return None
        parts[quantizer] = part
        for node, position in (u for d in part.decoders for u in uses_of(d.outputs[0])):
            sources = _sources(node, position)
            if sources is None:
                return None
            readers.update(dict.fromkeys(_depthwise_behind(node), sources))
            todo += sources
    zeros = {int(z) for part in parts.values() for z in part.scheme.zeros}
    dtypes = {part.scheme.dtype for part in parts.values()}
    if len(zeros) != 1 or len(dtypes) != 1:
        return None
    return list(parts.values()), [(n, [parts[q] for q in qs]) for n, qs in readers.items()]


def _part(quantizer: ir.Node) -> _Part | None:
    """The activation as one whose scales can move, None where they cannot."""
    conv, stored = _producing_conv(quantizer.inputs[0]), quantizer.outputs[0]
    decoders = [node for node, _ in uses_of(stored)]
    scheme = scheme_of(quantizer)
    channels = _channels(stored)
    if conv is None or channels is None or stored.is_graph_output():
        return None
    if any(d.op_type != DEQUANTIZE or not scheme_of(d).same_as(scheme) for d in decoders):
        return None
    if any(d.outputs[0].is_graph_output() for d in decoders):
        return None
    if not scheme.per_tensor and scheme.axis != _CHANNELS:
        return None
    scales = np.broadcast_to(scheme.scales, (channels,)).astype(np.float32)
    zeros = np.broadcast_to(scheme.zeros, (channels,)).astype(np.int32)
    spread = replace(scheme, scales=scales, zeros=zeros, axis=_CHANNELS)
    return _Part(quantizer, tuple(decoders), conv, spread)


def _channels(value: ir.Value) -> int | None:
    shape = static_shape(value)
    return shape[_CHANNELS] if shape is not None and len(shape) == 4 else None


def _producing_conv(value: ir.Value | None) -> ir.Node | None:
    """The conv behind an activation, through a Relu, where nothing else reads in between."""
    node = None if value is None else value.producer()
    if node is not None and node.op_type == "Relu" and only_consumer(node.outputs[0]) is not None:
        value = node.inputs[0]
        node = None if value is None else value.producer()
    if node is None or node.op_type != "Conv" or only_consumer(node.outputs[0]) is None:
        return None
    constants = [_is_known(node.inputs[1]), input_at(node, 2) is None or _is_known(node.inputs[2])]
    return node if all(constants) else None


def _is_known(value: ir.Value | None) -> bool:
    decoder = decoder_of(value)
    if decoder is None:
        return constant(value) is not None
    return stored_in(decoder) is not None and not scheme_of(decoder).block_size


def _sources(node: ir.Node, position: int) -> list[ir.Node] | None:
    """The quantizers that a depthwise conv, or a concat before such, reads; None for others."""
    if node.op_type == "Conv" and position == 0 and _is_depthwise(node):
        return _quantizers(node.inputs[:1])
    joins = node.op_type == "Concat" and int_attr(node, "axis", 0) in (_CHANNELS, _CHANNELS - 4)
    if not joins or node.outputs[0].is_graph_output():
        return None
    if not all(p == 0 and _is_depthwise(n) for n, p in uses_of(node.outputs[0])):
        return None
    return _quantizers(node.inputs)


def _quantizers(values: Sequence[ir.Value | None]) -> list[ir.Node] | None:
    quantizers: list[ir.Node] = []
    for value in values:
        decoder = decoder_of(value)
        source = None if decoder is None else decoder.inputs[0]
        quantizer = None if source is None else source.producer()
        if quantizer is None or quantizer.op_type != QUANTIZE:
            return None
        quantizers.append(quantizer)
    return quantizers


def _depthwise_behind(node: ir.Node) -> list[ir.Node]:
    return [n for n, _ in uses_of(node.outputs[0])] if node.op_type == "Concat" else [node]


def _is_depthwise(node: ir.Node) -> bool:
    if node.op_type != "Conv" or not _is_known(node.inputs[1]):
        return False
    image = node.inputs[0]
    return image is not None and _channels(image) == int_attr(node, "group", 1)


def _share(model: ir.Model, parts: list[_Part], readers: list[tuple[ir.Node, list[_Part]]]) -> None:
    common = np.float32(max(part.scheme.scales.max() for part in parts))
    for part in parts:
        _scale_weights(model, part.conv, common / part.scheme.scales)
        _scale_bias(model, part.conv, common / part.scheme.scales)
        scheme = Scheme(
            np.asarray([common], np.float32), part.scheme.zeros[:1], 0, part.scheme.dtype
        )
        for node in (part.quantizer, *part.decoders):
            set_scheme(model, node, scheme)
    for conv, sources in readers:
        scales = np.concatenate([part.scheme.scales for part in sources])
        shape = static_shape(conv.outputs[0])
        outputs = scales.size if shape is None else shape[_CHANNELS]
        _scale_weights(model, conv, np.repeat(scales / common, outputs // scales.size))


def _scale_weights(model: ir.Model, conv: ir.Node, factors: Factors) -> None:
    """Multiply the weights of each output channel: their scales where they are integers."""
    _scale(model, conv, 1, factors)


def _scale_bias(model: ir.Model, conv: ir.Node, factors: Factors) -> None:
    if input_at(conv, 2) is not None:
        _scale(model, conv, 2, factors)


def _scale(model: ir.Model, conv: ir.Node, position: int, factors: Factors) -> None:
    value = conv.inputs[position]
    decoder, real = decoder_of(value), constant(value)
    if real is not None:
        along = factors.reshape((-1,) + (1,) * (real.ndim - 1))
        set_constant(model, conv, position, (real * along).astype(np.float32))
        return
    stored = None if decoder is None else stored_in(decoder)
    if decoder is None or stored is None:
        raise ValueError(f"input {position} of {conv.name} is computed")
    scheme = scheme_of(decoder)
    scaled = replace(
        scheme,
        scales=(scheme.scales * factors).astype(np.float32),
        zeros=np.broadcast_to(scheme.zeros, factors.shape).astype(np.int32),
        axis=0,
    )
    decode_with(model, (conv, position), stored, scaled, f"{decoder.name}/{conv.name}")
