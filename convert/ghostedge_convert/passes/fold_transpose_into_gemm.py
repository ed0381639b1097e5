"""An image flattened channels last before a matrix product is flattened as it is.

The rows of the weights are put into the order that the features then have.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.axes import perm_of
from ghostedge_convert.passes.graph import (
    constant,
    int_attr,
    nodes_of,
    set_constant,
    static_shape,
)
from ghostedge_convert.passes.run import PassNote


def fold_transpose_into_gemm(model: ir.Model) -> PassNote:
    """Take out each Transpose before a Flatten that only constant Gemms read, in place.

    It runs after ``use_flatten`` and ``use_gemm``, which write those.
    """
    folded = sum(_fold(model, node) for node in nodes_of(model, "Flatten"))
    note = f"{folded} transposes folded into weights" if folded else "none before a matrix product"
    return PassNote("fold_transpose_into_gemm", folded, note)


def _fold(model: ir.Model, flatten: ir.Node) -> bool:
    turned = flatten.inputs[0]
    transpose = turned.producer() if turned is not None else None
    if transpose is None or transpose.op_type != "Transpose" or int_attr(flatten, "axis", 1) != 1:
        return False
    perm, image = perm_of(transpose), transpose.inputs[0]
    shape = static_shape(image)
    flat = flatten.outputs[0]
    if perm is None or perm[0] != 0 or image is None or shape is None or flat.is_graph_output():
        return False
    readers = [use.node for use in flat.uses() if use.idx == 0 and _is_constant_gemm(use.node)]
    if not readers or len(readers) != len(flat.uses()):
        return False
    # Feature i of the transposed image is feature moved[i] of the image itself.
    moved = np.arange(int(np.prod(shape[1:]))).reshape(shape[1:])
    order = np.argsort(moved.transpose([axis - 1 for axis in perm[1:]]).reshape(-1))
    for gemm in readers:
        weight = constant(gemm.inputs[1])
        if weight is not None:
            set_constant(model, gemm, 1, weight[:, order])
    flatten.replace_input_with(0, image)
    if not transpose.outputs[0].uses() and not transpose.outputs[0].is_graph_output():
        model.graph.remove(transpose, safe=True)
    return True


def _is_constant_gemm(node: ir.Node) -> bool:
    """A Gemm of weights ``[out, in]``."""
    return (
        node.op_type == "Gemm"
        and constant(node.inputs[1]) is not None
        and bool(int_attr(node, "transB", 0))
        and not int_attr(node, "transA", 0)
    )
