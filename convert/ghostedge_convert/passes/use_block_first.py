"""Pixels out of channels are taken in the order that TFLite knows: the block before the channel.

torch's PixelShuffle has the channel first (``CRD``). Where a convolution makes the channels, its
outputs are put into the other order (``DCR``), which costs nothing; elsewhere the op is left.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    ELEMENTWISE,
    constant,
    input_at,
    int_attr,
    nodes_of,
    only_consumer,
    set_bias,
    set_constant,
)
from ghostedge_convert.passes.run import PassNote


def use_block_first(model: ir.Model) -> PassNote:
    """Rewrite each ``DepthToSpace<mode="CRD">(conv)``, an activation between allowed, in place."""
    edits = sum(_rewrite(model, node) for node in nodes_of(model, "DepthToSpace"))
    note = f"{edits} pixel shuffles with the block first" if edits else "no pixel shuffle of a conv"
    return PassNote("use_block_first", edits, note)


def _rewrite(model: ir.Model, shuffle: ir.Node) -> bool:
    mode = shuffle.attributes.get("mode")
    if mode is None or mode.as_string() != "CRD":
        return False
    value = shuffle.inputs[0]
    node = value.producer() if value is not None and only_consumer(value) is shuffle else None
    if node is not None and node.op_type in ELEMENTWISE:
        value = node.inputs[0]
        alone = value is not None and only_consumer(value) is node
        node = value.producer() if value is not None and alone else None
    if node is None or node.op_type != "Conv" or int_attr(node, "group", 1) != 1:
        return False
    weight, bias = constant(node.inputs[1]), input_at(node, 2)
    held = None if bias is None else constant(bias)
    if weight is None or (bias is not None and held is None):
        return False
    block = int_attr(shuffle, "blocksize", 1) ** 2
    order = np.arange(len(weight)).reshape(-1, block).T.reshape(-1)
    set_constant(model, node, 1, weight[order])
    if held is not None:
        set_bias(model, node, held[order])
    shuffle.attributes["mode"] = ir.AttrString("mode", "DCR")
    return True
