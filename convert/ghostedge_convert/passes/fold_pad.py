"""A padding before a convolution or a max pool becomes the op's own.

Frameworks whose padding is not symmetric ("same" at stride 2 pads more after than before) write it
as a Pad of its own. Only a padding that the op would do itself is taken: zeros before a
convolution; before a max pool what no element is below, or the border repeated, which every window
that reaches it holds anyway.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import Array, constant, input_at, nodes_of, remove_unused
from ghostedge_convert.passes.run import PassNote

_FILLS = {"Conv": 0.0, "MaxPool": -np.inf}


def fold_pad(model: ir.Model) -> PassNote:
    """Add each such Pad to the pads of the Conv or MaxPool behind it, in place."""
    folded = sum(_fold(model, node) for node in nodes_of(model, *_FILLS))
    note = f"{folded} paddings folded" if folded else "no padding to fold"
    return PassNote("fold_pad", folded, note)


def _fold(model: ir.Model, node: ir.Node) -> bool:
    pad = node.inputs[0].producer() if node.inputs[0] is not None else None
    if pad is None or pad.op_type != "Pad":
        return False
    if not _repeats_border(pad, node) and _fill(pad) != _FILLS[node.op_type]:
        return False
    auto = node.attributes.get("auto_pad")
    if auto is not None and auto.as_string() != "NOTSET":
        return False
    amounts, source = _amounts(pad), pad.inputs[0]
    if amounts is None or source is None or amounts[:, :2].any() or amounts.min() < 0:
        return False
    own = node.attributes.get("pads")
    total = amounts[:, 2:].reshape(-1) + (0 if own is None else np.asarray(own.as_ints()))
    if node.op_type == "MaxPool" and not _inside_kernel(node, total):
        return False
    node.attributes["pads"] = ir.AttrInt64s("pads", total.tolist())
    node.replace_input_with(0, source)
    if not pad.outputs[0].uses() and not pad.outputs[0].is_graph_output():
        inputs = list(pad.inputs)
        model.graph.remove(pad, safe=True)
        remove_unused(model, inputs)
    return True


def _repeats_border(pad: ir.Node, node: ir.Node) -> bool:
    """Whether a max pool without gaps in its windows sees the border once more."""
    dilations = node.attributes.get("dilations")
    dense = dilations is None or set(dilations.as_ints()) == {1}
    return node.op_type == "MaxPool" and _mode(pad) == "edge" and dense


def _mode(pad: ir.Node) -> str:
    mode = pad.attributes.get("mode")
    return "constant" if mode is None else mode.as_string()


def _fill(pad: ir.Node) -> float | None:
    """What is padded with; None where it is no constant, or a mirror image."""
    if _mode(pad) != "constant":
        return None
    if input_at(pad, 2) is None:
        return 0.0
    array = constant(input_at(pad, 2))
    if array is None:
        return None
    value = float(array.reshape(-1)[0])
    return -np.inf if value <= np.finfo(np.float32).min else value


def _amounts(pad: ir.Node) -> Array | None:
    """Before and after, two rows, a column per axis of the four (or more)."""
    pads, axes = constant(input_at(pad, 1)), constant(input_at(pad, 3))
    shape = pad.inputs[0].shape if pad.inputs[0] is not None else None
    if pads is None or shape is None or (input_at(pad, 3) is not None and axes is None):
        return None
    rank = shape.rank()
    amounts = np.zeros((2, rank), np.int64)
    columns = range(rank) if axes is None else [int(axis) % rank for axis in axes]
    amounts[:, list(columns)] = pads.reshape(2, -1)
    return amounts


def _inside_kernel(pool: ir.Node, pads: Array) -> bool:
    """ONNX requires pads of a pool to be smaller than its kernel."""
    kernel = np.asarray(pool.attributes["kernel_shape"].as_ints())
    return bool(np.all(pads.reshape(2, -1) < kernel))
