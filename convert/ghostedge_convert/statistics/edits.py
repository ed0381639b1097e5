"""Edits of a graph that turn it into another network of the same weights.

Each is what somebody else's code may have where this network has something else, and changes no
weight, key or shape. ``fault.py`` tries them where weights do not fit their network.

Which way a convolution is padded at an odd edge is not among them: it moves an activation by a
pixel, which changes no mean over space that a batch norm would tell.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import permutations

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

Graph = onnx.ModelProto

_BLOCK = re.compile(r"^(.*?\.\d+(?:\.\d+)*)(?:\.(.+))?$")
"""``blocks.1.0.ghost1.primary_conv.0``: the block ``blocks.1.0``, and what it calls the module."""
_ADDED = "edits/"
"""What the names of constants that are added begin with."""


def edited(model: Graph) -> Iterator[tuple[str, Graph]]:
    """Every other network of the same weights that is known, in words and as a graph.

    Args:
        model: Exported from a module, nodes named after the module tree; it is left as it is.

    Yields:
        Only those that differ from it; whether they can run is not promised.
    """
    for words, edit in EDITS.items():
        copy = _copy(model)
        if edit(copy):
            yield words, copy
    yield from _with_strides_moved(model)


def relu6_for_relu(model: Graph) -> bool:
    """Clip at 6 what is clipped at 0 alone."""
    relus = [node for node in model.graph.node if node.op_type == "Relu"]
    low, high = _constants(model, low=0.0, high=6.0) if relus else ("", "")
    for node in relus:
        node.op_type = "Clip"
        node.input.extend([low, high])
    return bool(relus)


def relu_for_relu6(model: Graph) -> bool:
    """Clip at 0 alone what is clipped at 6 as well."""
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    clips = [
        node
        for node in model.graph.node
        if node.op_type == "Clip"
        and all(name in values for name in node.input[1:])
        and [float(numpy_helper.to_array(values[name])) for name in node.input[1:]] == [0.0, 6.0]
    ]
    for node in clips:
        node.op_type = "Relu"
        del node.input[1:]
    read = {name for node in model.graph.node for name in node.input}
    for name in values.keys() - read:  # ONNX Runtime warns of each
        model.graph.initializer.remove(values[name])
    return bool(clips)


def sigmoid_for_hard_sigmoid(model: Graph) -> bool:
    """The smooth gate in place of the one of straight lines."""
    gates = [node for node in model.graph.node if node.op_type == "HardSigmoid"]
    for node in gates:
        node.op_type = "Sigmoid"
        del node.attribute[:]
    return bool(gates)


def hard_sigmoid_for_sigmoid(model: Graph) -> bool:
    """The reverse, with PyTorch's slope of 1/6."""
    gates = [node for node in model.graph.node if node.op_type == "Sigmoid"]
    for node in gates:
        node.op_type = "HardSigmoid"
        _set(node, "alpha", 1 / 6)
    return bool(gates)


def steeper_hard_sigmoid(model: Graph) -> bool:
    """The slope of 0.2 that Keras 2 and ONNX's default have."""
    gates = [node for node in model.graph.node if node.op_type == "HardSigmoid"]
    for node in gates:
        _set(node, "alpha", 0.2)
    return bool(gates)


def without_identity_shortcuts(model: Graph) -> bool:
    """Leave out the sums of a block's input and what the block made of it."""
    producers = _producers(model)
    removed = False
    for node in model.graph.node:
        block, _ = _block_of(node.name)
        own = [
            name for name in node.input if block and _block_of(producers.get(name, ""))[0] == block
        ]
        if node.op_type == "Add" and len(node.input) == 2 and len(own) == 1:
            node.op_type = "Identity"
            node.input[:] = own
            removed = True
    return removed


def with_identity_shortcuts(model: Graph) -> bool:
    """Add its input to the output of every block of one input and one output of the same shape."""
    shapes = _shapes(model)
    sums: dict[str, str] = {}
    for nodes in _blocks(model).values():
        ends = _ends(model, nodes)
        if ends is None or shapes.get(ends[0]) is None or shapes[ends[0]] != shapes.get(ends[1]):
            continue
        source, result = ends
        sums[result] = total = f"{_ADDED}{result}"
        inside = {node.name for node in nodes}
        for node in model.graph.node:
            if node.name not in inside:
                node.input[:] = [total if name == result else name for name in node.input]
        place = 1 + max(i for i, node in enumerate(model.graph.node) if node.name in inside)
        model.graph.node.insert(
            place, helper.make_node("Add", [result, source], [total], name=total)
        )
        shapes[total] = shapes[result]
    return bool(sums)


def epsilon_of_1e3(model: Graph) -> bool:
    """TensorFlow's epsilon, where batch norms have another."""
    return _set_epsilon(model, 1e-3)


def epsilon_of_1e5(model: Graph) -> bool:
    """PyTorch's epsilon, where batch norms have another."""
    return _set_epsilon(model, 1e-5)


EDITS: dict[str, Callable[[Graph], bool]] = {
    "ReLU6 in place of ReLU": relu6_for_relu,
    "ReLU in place of ReLU6": relu_for_relu6,
    "Sigmoid in place of HardSigmoid": sigmoid_for_hard_sigmoid,
    "HardSigmoid in place of Sigmoid": hard_sigmoid_for_sigmoid,
    "HardSigmoid of slope 0.2 in place of 1/6": steeper_hard_sigmoid,
    "no identity shortcuts": without_identity_shortcuts,
    "identity shortcuts": with_identity_shortcuts,
    "an epsilon of 1e-3": epsilon_of_1e3,
    "an epsilon of 1e-5": epsilon_of_1e5,
}
"""In words → edits a graph in place and says whether that changed anything."""


def _with_strides_moved(model: Graph) -> Iterator[tuple[str, Graph]]:
    """Each convolution's stride on another of its block, in every block that has both so.

    On one with a kernel first: a stride right behind one, on a convolution of 1 by 1, computes the
    same.
    """
    moves: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    kernels: dict[str, int] = {}
    for nodes in _blocks(model).values():
        convolutions = {_block_of(n.name)[1] or "": n for n in nodes if n.op_type == "Conv"}
        for (one, node), (other, target) in permutations(convolutions.items(), 2):
            if _ints(node, "strides") == [2, 2] and _ints(target, "strides") == [1, 1]:
                moves[one, other].append((node.name, target.name))
                kernels[other] = max(_ints(target, "kernel_shape"))
    for (one, other), pairs in sorted(moves.items(), key=lambda move: -kernels[move[0][1]]):
        copy = _copy(model)
        by_name = {node.name: node for node in copy.graph.node}
        for old, new in pairs:
            _set(by_name[old], "strides", [1, 1])
            _set(by_name[new], "strides", [2, 2])
        if _shapes(copy):
            where = _block_of(pairs[0][0])[0] if len(pairs) == 1 else f"{len(pairs)} blocks"
            yield f"the stride of {where} on {other} in place of {one}", copy


def _copy(model: Graph) -> Graph:
    copy = Graph()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]  # shapes may change
    return copy


def _block_of(name: str) -> tuple[str | None, str | None]:
    """The block that a node belongs to, and its module's name there; None where there is none."""
    match = _BLOCK.match(name.rpartition("/")[0])
    return (match[1], match[2]) if match else (None, None)


def _producers(model: Graph) -> dict[str, str]:
    """Tensor → name of the node that makes it."""
    return {name: node.name for node in model.graph.node for name in node.output}


def _shapes(model: Graph) -> dict[str, list[int | str]]:
    """Of every tensor that a node makes; empty where the shapes contradict each other."""
    try:
        inferred = shape_inference.infer_shapes(_copy(model), strict_mode=True)
    except shape_inference.InferenceError:
        return {}
    return {
        info.name: [side.dim_value or side.dim_param for side in info.type.tensor_type.shape.dim]
        for info in inferred.graph.value_info
    }


def _blocks(model: Graph) -> dict[str, list[onnx.NodeProto]]:
    """The nodes of each block, in the graph's order."""
    blocks: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        if block := _block_of(node.name)[0]:
            blocks[block].append(node)
    return blocks


def _ends(model: Graph, block: list[onnx.NodeProto]) -> tuple[str, str] | None:
    """The one tensor that a block reads, once, and the one that others read of it."""
    constants = {tensor.name for tensor in model.graph.initializer}
    own = {name for node in block for name in node.output}
    inputs = [name for node in block for name in node.input if name not in constants | own]
    inside = {node.name for node in block}
    read = {name for node in model.graph.node if node.name not in inside for name in node.input}
    outputs = own & read
    return (inputs[0], outputs.pop()) if len(inputs) == len(outputs) == 1 else None


def _constants(model: Graph, **values: float) -> list[str]:
    names = [f"{_ADDED}{name}" for name in values]
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in zip(names, values.values(), strict=True)
    )
    return names


def _set_epsilon(model: Graph, epsilon: float) -> bool:
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    changed = False
    for node in norms:
        present = {each.name: each.f for each in node.attribute}
        changed |= not np.isclose(present.get("epsilon", 1e-5), epsilon)
        _set(node, "epsilon", epsilon)
    return changed


def _ints(node: onnx.NodeProto, name: str) -> list[int]:
    """An attribute of one number a side; 1 each where it is not there."""
    return next((list(each.ints) for each in node.attribute if each.name == name), [1, 1])


def _set(node: onnx.NodeProto, name: str, value: float | list[int]) -> None:
    others = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*others, helper.make_attribute(name, value)])
