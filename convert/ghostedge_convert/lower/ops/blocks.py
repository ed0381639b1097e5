"""DepthToSpace and SpaceToDepth: channels against blocks of pixels."""

from __future__ import annotations

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Node


def depth_to_space(e: Emitter, node: Node) -> None:
    """DepthToSpace; TFLite has the block before the channel (``DCR``), torch behind (``CRD``)."""
    x = e.activation(node.inputs[0])
    size = int(node.attributes["blocksize"])
    shape = e.tensor(x).shape
    block, channels = size * size, shape[-1] // (size * size)
    if node.attributes.get("mode", "DCR") == "CRD" and channels > 1:
        pixels = e.shaped(x, (shape[0] * shape[1] * shape[2], channels, block))
        x = e.shaped(e.transposed(pixels, (0, 2, 1)), shape)
    e.result(node, "DEPTH_TO_SPACE", [x], quant=e.tensor(x).quant, blockSize=size)


def space_to_depth(e: Emitter, node: Node) -> None:
    """SpaceToDepth: both sides have the block before the channel."""
    x = e.activation(node.inputs[0])
    size = int(node.attributes["blocksize"])
    e.result(node, "SPACE_TO_DEPTH", [x], quant=e.tensor(x).quant, blockSize=size)
