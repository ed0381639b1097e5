"""The hard-sigmoid gate of squeeze-and-excitation loses both of its constants.

``x * clip(e + 3, 0, 6) / 6`` with ``e`` the output of the expanding conv: +3 goes into that conv's
bias, 1/6 into the weights of the linear ops (Conv, Gemm, MatMul) that read the product, biases
unchanged, and what remains is Conv, Clip(0, 6), Mul: on XNNPACK a conv with fused RELU6 and a
multiplication, instead of two more element-wise ops.

It holds only where nothing else reads the values that change. So a gate is folded when

- the expanding conv, of constant weights, is read by the gate alone;
- every value between it and the product has one reader;
- on every way from the product come, before the first linear op of constant weights, only ops
  that commute with a positive factor (``f(6x) = 6 f(x)``): relu, pooling, reshaping.

Any other gate (an Add behind it, a hard swish, which reads its conv twice) is left and named.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    add_constant,
    bypass,
    constant,
    float_attr,
    input_at,
    insert_before,
    nodes_of,
    only_consumer,
    remove_unused,
    set_bias,
    set_constant,
)
from ghostedge_convert.passes.run import PassNote

COMMUTES_WITH_SCALE = frozenset(
    {
        "AveragePool",
        "Flatten",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Identity",
        "LeakyRelu",
        "MaxPool",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
LINEAR = frozenset({"Conv", "Gemm", "MatMul"})


@dataclass(frozen=True)
class _Gate:
    """One gate: ``conv`` → ``first`` … ``last`` → ``product``, which multiplies by it.

    ``offset`` is what the conv's bias still lacks: nothing where another pass put the 3 there.
    """

    conv: ir.Node
    first: ir.Node
    last: ir.Node
    product: ir.Node
    offset: float


def fold_hard_sigmoid_gate(model: ir.Model) -> PassNote:
    """Fold each hard-sigmoid gate between a conv and linear ops, in place."""
    heads = nodes_of(model, "HardSigmoid", "Clip")
    folded, left = 0, []
    for head in heads:
        gate = _match_hard_sigmoid(head) or _match_clip(head)
        if gate is None:
            if head.op_type == "HardSigmoid":
                left.append(f"{head.name} (not a gate of its own after a convolution)")
            continue
        readers = _linear_readers(gate.product.outputs[0])
        if readers is None:
            left.append(f"{head.name} (its product reaches more than linear ops)")
            continue
        _fold(model, gate, readers)
        folded += 1
    note = f"{folded} hard-sigmoid gates folded" if folded else "no hard-sigmoid gate to fold"
    if left:
        note += f"; left {', '.join(left)}"
    return PassNote("fold_hard_sigmoid_gate", folded, note)


def _match_hard_sigmoid(head: ir.Node) -> _Gate | None:
    """``Mul(x, HardSigmoid(conv))`` with the slope 1/6 and offset 1/2."""
    if head.op_type != "HardSigmoid" or not (
        np.isclose(float_attr(head, "alpha", 0.2), 1 / 6, rtol=1e-5)
        and float_attr(head, "beta", 0.5) == 0.5
    ):
        return None
    return _gate(head.inputs[0], first=head, last=head, offset=3.0)


def _match_clip(clip: ir.Node) -> _Gate | None:
    """``Mul(x, Clip(conv + 3, 0, 6) / 6)``, the division perhaps a multiplication.

    The 3 may be in the conv's bias already, where a pass that folds biases came first.
    """
    if clip.op_type != "Clip" or not (_is(input_at(clip, 1), 0.0) and _is(input_at(clip, 2), 6.0)):
        return None
    before = clip.inputs[0].producer() if clip.inputs[0] is not None else None
    scale = only_consumer(clip.outputs[0])
    if before is None or scale is None or not _is_sixth(scale):
        return None
    if before.op_type == "Conv":
        return _gate(clip.inputs[0], first=clip, last=scale, offset=0.0)
    if before.op_type != "Add" or only_consumer(before.outputs[0]) is not clip:
        return None
    operands = [value for value in before.inputs if not _is(value, 3.0)]
    return _gate(operands[0], first=before, last=scale, offset=3.0) if len(operands) == 1 else None


def _is_sixth(scale: ir.Node) -> bool:
    if scale.op_type == "Div":
        return _is(scale.inputs[1], 6.0)
    return scale.op_type == "Mul" and any(_is(value, 1 / 6) for value in scale.inputs)


def _is(value: ir.Value | None, expected: float) -> bool:
    array = constant(value)
    return array is not None and array.size == 1 and bool(np.isclose(array, expected, rtol=1e-5))


def _gate(source: ir.Value | None, *, first: ir.Node, last: ir.Node, offset: float) -> _Gate | None:
    """The gate where its conv and its product are such as the fold needs."""
    conv = source.producer() if source is not None else None
    product = only_consumer(last.outputs[0])
    if conv is None or conv.op_type != "Conv" or only_consumer(conv.outputs[0]) is not first:
        return None
    bias = input_at(conv, 2)
    if bias is not None and constant(bias) is None:
        return None
    if constant(conv.inputs[1]) is None or product is None or product.op_type != "Mul":
        return None
    return _Gate(conv, first, last, product, offset)


def _linear_readers(product: ir.Value) -> list[ir.Node] | None:
    """The linear ops that a factor 6 on the value would reach, or None where others are too."""
    if product.is_graph_output() or not product.uses():
        return None
    readers: list[ir.Node] = []
    for use in product.uses():
        if use.idx == 0 and use.node.op_type in LINEAR and constant(use.node.inputs[1]) is not None:
            readers.append(use.node)
        elif use.idx == 0 and use.node.op_type in COMMUTES_WITH_SCALE:
            further = _linear_readers(use.node.outputs[0])
            if further is None:
                return None
            readers += further
        else:
            return None
    return readers


def _fold(model: ir.Model, gate: _Gate, readers: list[ir.Node]) -> None:
    weight = constant(gate.conv.inputs[1])
    bias = constant(input_at(gate.conv, 2))
    if weight is None:  # the match has seen it
        raise ValueError(f"{gate.conv.name} has no constant weights")
    start = np.zeros(weight.shape[0], weight.dtype) if bias is None else bias
    set_bias(model, gate.conv, (start + gate.offset).astype(weight.dtype))
    name = f"{str(gate.product.name).removesuffix('/Mul')}/Clip"
    bounds = [add_constant(model, f"{name}:{i}", np.array(v, weight.dtype)) for i, v in _BOUNDS]
    clip = insert_before(model, gate.first, "Clip", [gate.conv.outputs[0], *bounds], name)
    _take_out(model, gate, clip.outputs[0])
    for reader in readers:
        scaled = constant(reader.inputs[1])
        if scaled is not None:
            set_constant(model, reader, 1, (scaled / 6).astype(scaled.dtype))


_BOUNDS = ((1, 0.0), (2, 6.0))


def _take_out(model: ir.Model, gate: _Gate, clip: ir.Value) -> None:
    """Remove the gate's own nodes, from the product back to the conv."""
    chain = [gate.last]
    while chain[-1] is not gate.first:
        source = next(value for value in chain[-1].inputs if constant(value) is None)
        producer = source.producer() if source is not None else None
        if producer is None:  # the match has walked the same way
            raise ValueError(f"{chain[-1].name} does not lead back to {gate.first.name}")
        chain.append(producer)
    inputs = [value for node in chain[1:] for value in node.inputs]
    bypass(model, gate.last, clip)
    for node in chain[1:]:
        model.graph.remove(node, safe=True)
    remove_unused(model, inputs)
