"""Arithmetic that spells out Gelu, Mish or Softplus becomes that op.

Exporters write these functions in many ways: by the error function or by tanh, with factors before
or behind, as quotients or products. So it is not the writing that is recognised but the function:
what is made of one tensor and numbers alone, around an Erf, a Tanh, a Log or a Softplus, is
computed on sample points and compared. As one node the function takes one kernel, and int8 has a
border on each side of it instead of several inside.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    Array,
    bypass,
    constant,
    insert_before,
    nodes_of,
    static_shape,
)
from ghostedge_convert.passes.remove_dead_nodes import remove_dead_nodes
from ghostedge_convert.passes.run import PassNote

_erf = np.vectorize(math.erf, otypes=[float])
_POINTS = np.concatenate([np.linspace(-8.0, 8.0, 161), [-60.0, -25.0, 25.0, 60.0]])
"""Far ones too: exporters take softplus(x) for x above a threshold."""

_MOST_NODES = 24
"""Around an anchor; the longest writing known has 9."""


def _softplus(x: Array) -> Array:
    return np.logaddexp(0.0, x)


_ARITHMETIC: Mapping[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Neg": np.negative,
    "Exp": np.exp,
    "Log": np.log,
    "Erf": _erf,
    "Tanh": np.tanh,
    "Softplus": _softplus,
    "Greater": np.greater,
    "Where": np.where,
    "Identity": np.positive,
}
_ANCHORS = ("Erf", "Tanh", "Log", "Softplus")


@dataclass(frozen=True)
class _Activation:
    """An op of ONNX and the function that it is.

    Attributes:
        op: Its name.
        values: What it makes of the sample points.
        opset: The operator set that has it first.
        attributes: Of the node.
    """

    op: str
    values: Array
    opset: int
    attributes: Mapping[str, str] = field(default_factory=dict)


_KNOWN = (
    _Activation("Gelu", _POINTS / 2 * (1 + _erf(_POINTS / math.sqrt(2))), 20),
    _Activation(
        "Gelu",
        _POINTS / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (_POINTS + 0.044715 * _POINTS**3))),
        20,
        {"approximate": "tanh"},
    ),
    _Activation("Mish", _POINTS * np.tanh(_softplus(_POINTS)), 18),
    _Activation("Softplus", _softplus(_POINTS), 1),
)


def use_activations(model: ir.Model) -> PassNote:
    """Replace arithmetic that is an activation, in place.

    Gelu is an op since operator set 20: a model that has one is declared to be of that set, which
    leaves all ops that its older set had as they were.
    """
    replaced: list[str] = []
    for anchor in nodes_of(model, *_ANCHORS):
        if anchor.graph is not None:  # else it went with a neighbour
            replaced.extend(_replace(model, anchor))
    remove_dead_nodes(model)
    note = (
        f"{', '.join(replaced)} written as one node" if replaced else "no activation in its parts"
    )
    return PassNote("use_activations", len(replaced), note)


def _replace(model: ir.Model, anchor: ir.Node) -> Iterator[str]:
    for source in reversed(list(_sources(anchor))):  # the longest writing first
        for node, values in reversed(_made_of(source).items()):
            activation = next((k for k in _KNOWN if _is_equal(values, k.values)), None)
            if activation is None or node.op_type == activation.op:
                continue
            if static_shape(node.outputs[0]) != static_shape(source):
                continue
            new = insert_before(
                model, node, activation.op, [source], f"{node.name}/{activation.op}"
            )
            for name, text in activation.attributes.items():
                new.attributes[name] = ir.AttrString(name, text)
            model.opset_imports[""] = max(model.opset_imports.get("", 1), activation.opset)
            bypass(model, node, new.outputs[0])
            yield activation.op
            return


def _is_equal(values: Array, wanted: Array) -> bool:
    return np.allclose(values, wanted, rtol=1e-5, atol=1e-6)


def _sources(anchor: ir.Node) -> Iterator[ir.Value]:
    """The tensors that an anchor is made of by arithmetic with numbers, nearest first."""
    queue, seen = deque([anchor]), {anchor}
    while queue and len(seen) < _MOST_NODES:
        for value in queue.popleft().inputs:
            if value is None or constant(value) is not None:
                continue
            yield value
            above = value.producer()
            if above is not None and above not in seen and above.op_type in _ARITHMETIC:
                seen.add(above)
                queue.append(above)


def _made_of(source: ir.Value) -> dict[ir.Node, Array]:
    """The nodes that compute something of one tensor and numbers alone, with its sample values."""
    samples: dict[ir.Value, Array] = {source: _POINTS}
    computed: dict[ir.Node, Array] = {}
    queue = deque(use.node for use in source.uses())
    while queue and len(computed) < _MOST_NODES:
        node = queue.popleft()
        function = _ARITHMETIC.get(node.op_type)
        if function is None or node in computed:
            continue
        operands = [_sample(value, samples) for value in node.inputs]
        if any(operand is None for operand in operands):
            continue
        with np.errstate(all="ignore"):
            computed[node] = samples[node.outputs[0]] = function(*operands)
        queue.extend(use.node for use in node.outputs[0].uses())
    return computed


def _sample(value: ir.Value | None, samples: Mapping[ir.Value, Array]) -> Array | None:
    if value is not None and value in samples:
        return samples[value]
    array = constant(value)
    if array is None or array.size != 1:
        return None
    return array.reshape(-1).astype(np.float64)
