"""Pairs of QuantizeLinear and DequantizeLinear: their parameters, read and written in one place.

Two edits of pairs change no number:

- Pairs of ONNX Runtime's own domain become ONNX's. ONNX Runtime writes ``com.microsoft`` pairs for
  types that ONNX did not have yet at the model's operator set, and on request
  (``UseQDQContribOps``). For these types both compute the same.
- The pair of a value that only moves is repeated behind the move. NNCF puts a pair in front of a
  Reshape, a pooling or a Concat and none behind. Such values lie on the pair's grid, so that a
  second equal pair changes nothing, and what follows can run on integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ghostedge_convert.lower.graph import DEQUANTIZE, QUANTIZE
from ghostedge_convert.passes.graph import Array, add_constant, constant, input_at, int_attr
from ghostedge_convert.passes.run import PassNote
from ghostedge_runtime.errors import UnsupportedOpError

FLAG = "--requantize"

_WEIGHT_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_WEIGHT, _BIAS = 1, 2  # input positions
_DOMAIN = "com.microsoft"
_MOVERS = frozenset(
    {"Flatten", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)


@dataclass(frozen=True)
class Scheme:
    """How stored integers stand for reals: ``(stored - zeros) * scales``, broadcast over an axis.

    Attributes:
        scales: float32, one or one per channel.
        zeros: int32, as many.
        axis: The channel axis, 0 where there is one scale.
        dtype: What is stored.
        block_size: Elements that share a scale along ``axis``, 0 for all of a channel.
    """

    scales: npt.NDArray[np.float32]
    zeros: npt.NDArray[np.int32]
    axis: int
    dtype: ir.DataType
    block_size: int = 0

    @property
    def per_tensor(self) -> bool:
        """Whether one scale serves the whole tensor."""
        return self.scales.size == 1

    def same_as(self, other: Scheme) -> bool:
        """Whether the same integers stand for the same reals."""
        return (
            self.dtype == other.dtype
            and self.axis == other.axis
            and self.block_size == other.block_size
            and np.array_equal(self.scales, other.scales)
            and np.array_equal(self.zeros, other.zeros)
        )

    def dequantize(self, stored: Array) -> npt.NDArray[np.float32]:
        """The reals, as DequantizeLinear computes them."""
        scales, zeros = self.spread(stored.shape)
        return (stored.astype(np.int64) - zeros).astype(np.float32) * scales

    def spread(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Scales and zero points, each broadcastable to a tensor of ``shape``."""
        if self.block_size:
            scales, zeros = (
                np.repeat(v, self.block_size, self.axis) for v in (self.scales, self.zeros)
            )
            size = shape[self.axis]
            return scales.take(range(size), self.axis), zeros.take(range(size), self.axis)
        if self.per_tensor:
            return self.scales.reshape(()), self.zeros.reshape(())
        where = [1] * len(shape)
        where[self.axis] = self.scales.size
        return self.scales.reshape(where), self.zeros.reshape(where)


def refuse(node: ir.Node, what: str, remedy: str) -> NoReturn:
    """Raise the error for a node that lowering cannot read."""
    raise UnsupportedOpError(what, where=f"node {node.name!r} ({node.op_type})", remedy=remedy)


def pairs_of(model: ir.Model, *op_types: str) -> Iterator[ir.Node]:
    """The nodes of these ops (both by default), in a list that edits do not disturb."""
    wanted = op_types or (QUANTIZE, DEQUANTIZE)
    yield from [n for n in model.graph if n.op_type in wanted and n.domain in ("", "ai.onnx")]


def scheme_of(node: ir.Node) -> Scheme:
    """What a QuantizeLinear or DequantizeLinear states of the integers that it makes or reads.

    Raises:
        UnsupportedOpError: Its parameters are computed by the graph, or no positive numbers.
    """
    scales, zero_input = constant(input_at(node, 1)), input_at(node, 2)
    zeros = constant(zero_input)
    if scales is None or (zero_input is not None and zeros is None):
        refuse(node, "its scale or zero point is computed", "use a statically quantized model")
    scales = scales.astype(np.float32)
    if not np.all(np.isfinite(scales)) or scales.min(initial=1.0) <= 0:
        refuse(node, "a scale that is not a positive number", "quantize the model again")
    zeros = np.zeros(scales.shape, np.int32) if zeros is None else zeros.astype(np.int32)
    block, axis = int_attr(node, "block_size", 0), int_attr(node, "axis", 1)
    rank = _rank(node)
    if not block:
        scales, zeros = scales.reshape(-1), zeros.reshape(-1)
        zeros = np.broadcast_to(zeros, scales.shape).copy()
    axis = axis % rank if rank and (block or scales.size > 1) else 0
    return Scheme(scales, zeros, axis, _stored_type(node), block)


def _rank(node: ir.Node) -> int:
    for value in (node.inputs[0], node.outputs[0]):
        if value is not None and value.shape is not None:
            return len(value.shape)
    return 0


def _stored_type(node: ir.Node) -> ir.DataType:
    """The integers' type: of the zero point, else of the value, else ONNX's default."""
    zero = input_at(node, 2)
    stored = node.outputs[0] if node.op_type == QUANTIZE else node.inputs[0]
    for value in (zero, stored):
        if value is not None and value.dtype is not None:
            return value.dtype
        if value is not None and value.const_value is not None:
            return value.const_value.dtype
    return ir.DataType.UINT8


def set_scheme(model: ir.Model, node: ir.Node, scheme: Scheme) -> None:
    """Give a Q or DQ node other parameters; other nodes keep those they share with it."""
    name = node.name or str(node.outputs[0].name)
    tensor = scheme.per_tensor
    scales = scheme.scales.reshape(()) if tensor else scheme.scales
    zeros = scheme.zeros.astype(scheme.dtype.numpy())
    node.resize_inputs(3)
    node.replace_input_with(1, add_constant(model, f"{name}/scale", scales))
    node.replace_input_with(2, add_constant(model, f"{name}/zero", zeros.reshape(scales.shape)))
    for attribute in ("axis", "block_size", "output_dtype"):
        node.attributes.pop(attribute, None)
    if not tensor:
        node.attributes["axis"] = ir.AttrInt64("axis", scheme.axis)
    if node.op_type == QUANTIZE:
        node.outputs[0].dtype = scheme.dtype


def decoder_of(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear that makes a value, if one does."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == DEQUANTIZE else None


def stored_in(node: ir.Node) -> Array | None:
    """The integers that a DequantizeLinear reads where they are a constant."""
    return constant(node.inputs[0])


def is_weight(use: tuple[ir.Node, int]) -> bool:
    """Whether a use is the weights of a linear op."""
    node, position = use
    return node.op_type in _WEIGHT_OPS and position == _WEIGHT


def is_bias(use: tuple[ir.Node, int]) -> bool:
    """Whether a use is the bias of a linear op."""
    node, position = use
    return node.op_type in _WEIGHT_OPS and position == _BIAS


def uses_of(value: ir.Value) -> list[tuple[ir.Node, int]]:
    """Who reads a value, and as which input."""
    return [(use.node, use.idx) for use in value.uses()]


def output_axis(node: ir.Node) -> int:
    """Where the output channels are in the weights of a linear op."""
    if node.op_type == "Gemm":
        return 0 if int_attr(node, "transB", 0) else 1
    return {"Conv": 0, "ConvTranspose": 1}.get(node.op_type, -1)


def decode_with(
    model: ir.Model, use: tuple[ir.Node, int], stored: Array, scheme: Scheme, name: str
) -> ir.Node:
    """Make an input of a node the DequantizeLinear of a new constant; other readers keep theirs."""
    node, position = use
    source = add_constant(model, f"{name}/stored", stored)
    decoder = ir.Node("", DEQUANTIZE, [source], name=f"{name}/decode")
    output = decoder.outputs[0]
    output.name = f"{name}/real"
    output.type, output.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(stored.shape)
    model.graph.insert_before(node, decoder)
    set_scheme(model, decoder, scheme)
    node.replace_input_with(position, output)
    return decoder


def limits_of(dtype: ir.DataType) -> tuple[int, int]:
    """The least and the largest stored integer."""
    signed = dtype.name.startswith("INT")
    bits = int(dtype.bitwidth)
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def is_integer(dtype: ir.DataType) -> bool:
    """Whether a stored type is of integers, of any width."""
    return dtype.name.startswith(("INT", "UINT"))


def round_even(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Round half to even, as ONNX does."""
    rounded: npt.NDArray[np.int64] = np.rint(values).astype(np.int64)
    return rounded


def use_standard_pairs(model: ir.Model) -> PassNote:
    """Move each QuantizeLinear and DequantizeLinear of ``com.microsoft`` to ONNX's domain."""
    nodes = [n for n in model.graph if n.domain == _DOMAIN and n.op_type in (QUANTIZE, DEQUANTIZE)]
    for node in nodes:
        node.domain = ""
    note = f"{len(nodes)} pairs of {_DOMAIN} are ONNX's own" if nodes else "all pairs are ONNX's"
    return PassNote("use_standard_pairs", len(nodes), note)


def repeat_pairs(model: ir.Model) -> PassNote:
    """Repeat pairs behind ops that only move values, in place."""
    edits = 0
    for node in list(model.graph):
        if node.op_type not in _MOVERS and node.op_type != "Concat":
            continue
        if not _is_read_as_real(node.outputs[0]):
            continue
        read = node.inputs if node.op_type == "Concat" else node.inputs[:1]
        decoders = [decoder_of(value) for value in read]
        schemes = [scheme_of(d) for d in decoders if d is not None]
        if len(schemes) < len(read):
            continue
        if all(s.per_tensor and s.same_as(schemes[0]) for s in schemes):
            append_pair(model, node, schemes[0])
            edits += 1
    note = f"{edits} pairs repeated behind moved values" if edits else "no pair to repeat"
    return PassNote("repeat_pairs", edits, note)


def _is_read_as_real(value: ir.Value) -> bool:
    readers = [use.node for use in value.uses()]
    return (
        not value.is_graph_output()
        and bool(readers)
        and not all(reader.op_type == QUANTIZE for reader in readers)
    )


def append_pair(model: ir.Model, node: ir.Node, scheme: Scheme) -> None:
    """Quantize and decode a node's output for all that read it."""
    value = node.outputs[0]
    readers = uses_of(value)
    name = node.name or str(value.name)
    quantizer = ir.Node("", QUANTIZE, [value], name=f"{name}/quantize")
    decoder = ir.Node("", DEQUANTIZE, [quantizer.outputs[0]], name=f"{name}/decode")
    for node_of_pair, suffix, dtype in (
        (quantizer, "stored", scheme.dtype),
        (decoder, "real", ir.DataType.FLOAT),
    ):
        node_of_pair.outputs[0].name = f"{name}/{suffix}"
        node_of_pair.outputs[0].shape, node_of_pair.outputs[0].type = (
            value.shape,
            ir.TensorType(dtype),
        )
    model.graph.insert_after(node, [quantizer, decoder])
    for node_of_pair in (quantizer, decoder):
        set_scheme(model, node_of_pair, scheme)
    for reader, position in readers:
        reader.replace_input_with(position, decoder.outputs[0])
