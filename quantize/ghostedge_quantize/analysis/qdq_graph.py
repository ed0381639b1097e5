"""A QDQ graph taken apart, so that any part of it can run quantized and the rest in float.

Constants behind a DequantizeLinear become float initializers, pairs on activations become switches:
off, a pair hands its tensor on. Quantizers such as ONNX Runtime's drop a ReLU or ReLU6 where the
codes end at its bounds; a pair with such a range keeps those bounds when it is off.
``QdqGraph.variant`` writes the model for one setting of the switches. Any QDQ graph of 8 bits will
do, whoever made it. Measuring is in ``analyse``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from ghostedge_quantize.graph.ops import LAYERS, TABLE, Role
from ghostedge_runtime.errors import ModelFileError

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
# Other codes (4 and 16 bits, float8) are refused.
_INTEGERS = (np.dtype(np.uint8), np.dtype(np.int8), np.dtype(np.int32))
WEIGHTED = LAYERS | {"MatMul"}
"""Ops of other makers' graphs that have weights."""
_ZERO, _SIX = "ghostedge/zero", "ghostedge/six"
_FUSED = frozenset({"Relu", "Clip"})
_STANDARD_DOMAINS = frozenset({"", "ai.onnx"})


@dataclass(frozen=True)
class Codes:
    """A quantized constant.

    Attributes:
        values: The integers, in the tensor's shape.
        scale: float32, a scalar or [channels].
        zero_point: Integers, shaped like ``scale``.
        axis: The axis that ``scale`` runs along; of no meaning for a scalar.
        original: The float values where the file still holds them (a pair on a constant).
    """

    values: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int
    original: np.ndarray | None = None

    def along_axis(self, array: np.ndarray) -> np.ndarray:
        """Reshape ``scale`` or ``zero_point`` so that it broadcasts over ``values``."""
        if array.ndim == 0:
            return array
        shape = [1] * self.values.ndim
        shape[self.axis] = -1
        return array.reshape(shape)

    @property
    def real(self) -> np.ndarray:
        """The numbers that the codes stand for: ``(q - z) · s``, float32."""
        shifted = self.values.astype(np.int32) - self.along_axis(self.zero_point.astype(np.int32))
        return np.asarray(shifted.astype(np.float32) * self.along_axis(self.scale))


@dataclass(frozen=True)
class Pair:
    """QuantizeLinear on an activation, with the codes it can write.

    Attributes:
        tensor: What it quantizes.
        node: The QuantizeLinear's own output, which no other node has.
        scale: A scalar, or one per channel along ``axis``.
        zero_point: Shaped like ``scale``.
        low: Smallest code of its type.
        high: Largest.
    """

    tensor: str
    node: str
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int
    low: int
    high: int

    @property
    def starts_at_zero(self) -> bool:
        """Whether nothing below zero has a code, as behind a ReLU."""
        return self.zero_point.ndim == 0 and int(self.zero_point) == self.low

    @property
    def ends_at_six(self) -> bool:
        """Whether the largest code stands for 6, as behind a ReLU6, to half a step."""
        top = (self.high - self.zero_point.astype(np.float64)) * self.scale
        return self.scale.ndim == 0 and abs(float(top) - 6) < float(self.scale) / 2

    def grid(self) -> tuple[bytes, bytes]:
        """Equal for pairs that represent the same real values, int8 or uint8."""
        steps = self.zero_point.astype(np.int64) - self.low
        return self.scale.tobytes(), steps.tobytes()


@dataclass(frozen=True)
class Layer:
    """What is measured together: a node, its weights, its fused activation, the pair behind it.

    Attributes:
        name: The node's; its output's where it has none.
        op: The node's type; ``input`` for a pair on the graph's own input.
        pairs: On its output; none where the output stays float.
        weight: The initializer that holds its dequantized weights, None without.
        bias: The initializer that holds its bias, None without.
    """

    name: str
    op: str
    pairs: tuple[Pair, ...]
    weight: str | None = None
    bias: str | None = None


def read_codes(
    node: NodeProto, constants: Mapping[str, np.ndarray], original: np.ndarray | None
) -> Codes:
    """What a DequantizeLinear on a constant decodes.

    Args:
        node: The DequantizeLinear.
        constants: Of the graph, by name.
        original: What a QuantizeLinear in front of it encodes, None where the codes are stored.
    """
    scale, zero_point, axis = parameters(node, constants)
    if original is None:
        return Codes(constants[node.input[0]], scale, zero_point, axis)
    empty = Codes(original, scale, zero_point, axis)
    limits = np.iinfo(zero_point.dtype)
    values = np.rint(original / empty.along_axis(scale)) + empty.along_axis(zero_point)
    values = np.clip(values, limits.min, limits.max).astype(zero_point.dtype)
    return Codes(values, scale, zero_point, axis, original)


def parameters(
    node: NodeProto, constants: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Scale, zero point and axis of a Q or DQ node, one-element arrays as scalars.

    Raises:
        ModelFileError: They are computed at run time, or of other than 8 (or 32) bits.
    """
    missing = [name for name in node.input[1:] if name and name not in constants]
    if missing:
        raise ModelFileError(
            "its scale or zero point is computed at run time",
            where=node.name or node.output[0],
            remedy="quantize the model statically",
        )
    scale = constants[node.input[1]].astype(np.float32)
    if len(node.input) > 2 and node.input[2]:
        zero_point = constants[node.input[2]]
    else:
        codes = constants.get(node.input[0])
        kind = codes.dtype if codes is not None and node.op_type == DEQUANTIZE else np.uint8
        zero_point = np.zeros(scale.shape, kind)
    if zero_point.dtype not in _INTEGERS or scale.ndim > 1:
        raise ModelFileError(
            f"its codes are {zero_point.dtype} with scales of shape {list(scale.shape)}; only "
            "8 bits, per tensor or per channel, are analysed",
            where=node.name or node.output[0],
        )
    if scale.size == 1:
        scale, zero_point = scale.reshape(()), zero_point.reshape(())
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    return scale, zero_point, axis


def take_constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Move initializers and Constant nodes out of a graph."""
    outside = [t.name for t in graph.initializer if t.data_location == TensorProto.EXTERNAL]
    if outside:
        raise ModelFileError(
            f"its weights ({outside[0]}, …) are in a second file",
            remedy="save the model as one file (onnx.save with save_as_external_data=False)",
        )
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    nodes = []
    for node in graph.node:
        value = next((a for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            constants[node.output[0]] = numpy_helper.to_array(value.t)
        else:
            nodes.append(node)
    del graph.initializer[:]
    del graph.node[:]
    graph.node.extend(nodes)
    inputs = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)
    return constants


class QdqGraph:
    """A QDQ model with its activation pairs switchable.

    Args:
        model: It is not changed.

    Raises:
        ModelFileError: It holds no QuantizeLinear / DequantizeLinear, or keeps weights elsewhere.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        graph = self._model.graph
        if not any(node.op_type == DEQUANTIZE for node in graph.node):
            raise ModelFileError(
                "it is not quantized: it holds no QuantizeLinear / DequantizeLinear nodes",
                remedy="give a QDQ model, such as the NAME_int8.onnx of `ghostedge convert --int8`",
            )
        self.constants = take_constants(graph)
        self.codes: dict[str, Codes] = {}
        self._end_in_float()
        self._fold_constants()
        self.constants |= {_ZERO: np.float32(0).reshape(()), _SIX: np.float32(6).reshape(())}
        self._makers = {output: node for node in graph.node for output in node.output}
        self._decoded = _decoders(graph)
        self.pairs = {
            node.output[0]: self._pair(node) for node in graph.node if node.op_type == QUANTIZE
        }

    @property
    def input(self) -> ValueInfoProto:
        """The one input.

        Raises:
            ModelFileError: There are several, or none.
        """
        inputs = list(self._model.graph.input)
        if len(inputs) != 1:
            raise ModelFileError(f"it has {len(inputs)} inputs, one image is all that can be fed")
        value: ValueInfoProto = inputs[0]
        return value

    @property
    def output(self) -> str:
        """The first output, always float."""
        return str(self._model.graph.output[0].name)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every node that adds quantization error: int8 weights, or a pair with a grid of its own.

        A pair behind an op that only hands values on (Concat, Reshape, …) from the same grid
        loses nothing and is none.
        """
        behind: dict[str, list[Pair]] = {}
        for pair in self.pairs.values():
            if not self._on_grid(pair.tensor, pair.grid()):
                behind.setdefault(self._source(pair.tensor), []).append(pair)
        layers = [
            Layer(name, "input", tuple(behind[name])) for name in behind if name not in self._makers
        ]
        for node in self._model.graph.node:
            pairs = tuple(pair for out in node.output for pair in behind.get(out, ()))
            weight, bias = self._weights(node)
            if pairs or weight:
                name = node.name or node.output[0]
                layers.append(Layer(name, node.op_type, pairs, weight, bias))
        return tuple(layers)

    def variant(
        self,
        *,
        on: Collection[Pair] = (),
        values: Mapping[str, np.ndarray] | None = None,
        outputs: Sequence[str] | None = None,
        more: Sequence[NodeProto] = (),
    ) -> bytes:
        """The serialized model with only some pairs on.

        Args:
            on: The pairs that quantize; the others hand their tensor on.
            values: Other contents for constants, or new ones.
            outputs: Names of tensors to put out; by default the model's own first.
            more: Nodes to append.
        """
        switched = {pair.node for pair in on}
        result = onnx.ModelProto(ir_version=self._model.ir_version)
        result.opset_import.extend(self._model.opset_import)
        graph = result.graph
        graph.name = "variant"
        graph.input.extend(self._model.graph.input)
        graph.output.extend(
            helper.make_empty_tensor_value_info(o) for o in outputs or [self.output]
        )
        for node in self._model.graph.node:
            graph.node.extend(self._switched(node, switched))
        graph.node.extend(more)
        changed = {n: numpy_helper.from_array(a, n) for n, a in (values or {}).items()}
        graph.initializer.extend({**self._stored, **changed}.values())
        return bytes(result.SerializeToString())

    @cached_property
    def _stored(self) -> dict[str, TensorProto]:
        return {name: numpy_helper.from_array(a, name) for name, a in self.constants.items()}

    def decoded(self, pair: Pair) -> str:
        """The tensor that a pair hands on: quantized where it is on, else float."""
        return self._decoded[pair.node]

    def node_of(self, layer: Layer) -> NodeProto:
        """The node of a layer that has weights; several may share the weights, not the output."""
        node: NodeProto = next(
            node
            for node in self._model.graph.node
            if layer.weight in node.input[1:2] and layer.name in (node.name, node.output[0])
        )
        return node

    def _switched(self, node: NodeProto, on: Collection[str]) -> Iterable[NodeProto]:
        if node.op_type == QUANTIZE:
            return [node] if node.output[0] in on else []
        pair = self.pairs.get(node.input[0]) if node.op_type == DEQUANTIZE else None
        if pair is None or pair.node in on:
            return [node]
        inputs, kind = [pair.tensor], "Identity"
        if pair.starts_at_zero:
            inputs, kind = (
                ([pair.tensor, _ZERO, _SIX], "Clip") if pair.ends_at_six else (inputs, "Relu")
            )
        return [helper.make_node(kind, inputs, node.output, name=node.name)]

    def _end_in_float(self) -> None:
        """Append a DequantizeLinear to a quantized output."""
        graph = self._model.graph
        makers = {output: node for node in graph.node for output in node.output}
        for value in graph.output:
            maker = makers.get(value.name)
            if maker is not None and maker.op_type == QUANTIZE:
                name = f"{value.name}_in_float"
                inputs = [value.name, *maker.input[1:]]
                back = helper.make_node(DEQUANTIZE, inputs, [name], name=name)
                back.attribute.extend(a for a in maker.attribute if a.name == "axis")
                graph.node.append(back)
                value.name = name
                value.type.tensor_type.elem_type = TensorProto.FLOAT

    def _fold_constants(self) -> None:
        """Turn quantized constants into float ones, remembering the codes."""
        graph = self._model.graph
        remaining = []
        written: dict[str, np.ndarray] = {}
        for node in graph.node:
            if node.op_type == QUANTIZE and node.input[0] in self.constants:
                written[node.output[0]] = self.constants[node.input[0]]
            elif node.op_type == DEQUANTIZE and node.input[0] in (self.constants | written):
                codes = read_codes(node, self.constants, written.get(node.input[0]))
                self.codes[node.output[0]] = codes
                self.constants[node.output[0]] = codes.real
            else:
                remaining.append(node)
        del graph.node[:]
        graph.node.extend(remaining)
        used = {name for node in remaining for name in node.input} | {o.name for o in graph.output}
        self.constants = {n: a for n, a in self.constants.items() if n in used}

    def _pair(self, node: NodeProto) -> Pair:
        scale, zero_point, axis = parameters(node, self.constants)
        limits = np.iinfo(zero_point.dtype)
        low, high = int(limits.min), int(limits.max)
        return Pair(node.input[0], node.output[0], scale, zero_point, axis, low, high)

    def _on_grid(self, tensor: str, grid: tuple[bytes, bytes]) -> bool:
        """Whether a tensor's values lie on a grid already, so that its pair changes nothing."""
        maker = self._makers.get(tensor)
        if maker is None:
            return False
        if maker.op_type == DEQUANTIZE:
            source = self.pairs.get(maker.input[0])
            if source is not None:
                return source.grid() == grid
            scale, zero_point, _ = parameters(maker, self.constants)
            low = np.iinfo(zero_point.dtype).min
            return (scale.tobytes(), (zero_point.astype(np.int64) - low).tobytes()) == grid
        rule = TABLE.get(maker.op_type)
        if rule is None or rule.role is not Role.SHARES or maker.op_type == "Resize":
            return False
        inputs = maker.input if rule.all_inputs else maker.input[:1]
        return all(self._on_grid(name, grid) for name in inputs)

    def _source(self, tensor: str) -> str:
        """The tensor itself, or the result that a fused activation made it from."""
        maker = self._makers.get(tensor)
        if maker is not None and maker.op_type in _FUSED:
            before = self._makers.get(maker.input[0])
            if before is not None and before.op_type != DEQUANTIZE:
                return str(maker.input[0])
        return tensor

    def _weights(self, node: NodeProto) -> tuple[str | None, str | None]:
        if node.op_type not in WEIGHTED or node.domain not in _STANDARD_DOMAINS:
            return None, None
        codes = self.codes.get(node.input[1])
        weight = node.input[1] if codes is not None and codes.values.ndim > 1 else None
        bias = node.input[2] if len(node.input) > 2 and node.input[2] in self.constants else None
        return weight, bias if weight else None


def _decoders(graph: onnx.GraphProto) -> dict[str, str]:
    """What is decoded from each quantized activation, by the activation's name."""
    quantized = {node.output[0] for node in graph.node if node.op_type == QUANTIZE}
    decoded: dict[str, str] = {}
    for node in graph.node:
        for name in quantized.intersection(node.input):
            if node.op_type != DEQUANTIZE:
                raise ModelFileError(
                    f"it computes on codes ({node.op_type}), so its quantization cannot be lifted",
                    where=node.name or node.output[0],
                    remedy="write the model in QDQ format",
                )
            decoded.setdefault(name, str(node.output[0]))
    return decoded
