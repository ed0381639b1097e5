"""Rows and columns that are repeated become a nearest Resize.

Keras's UpSampling2D, ``repeat_interleave`` and ``x[:, :, :, None].expand(...)`` write an axis of
size 1, its expansion and a reshape, of tensors with five or six axes that no runtime has a kernel
for. Channels are taken as last where a Transpose shows it; two in a row are joined.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.axes import TABLE as COMMUTING
from ghostedge_convert.passes.axes import perm_of
from ghostedge_convert.passes.graph import (
    add_constant,
    bypass,
    constant,
    nodes_of,
    static_shape,
)
from ghostedge_convert.passes.remove_dead_nodes import remove_dead_nodes
from ghostedge_convert.passes.run import PassNote

_TO_LAST = (0, 2, 3, 1)


def use_nearest_resize(model: ir.Model) -> PassNote:
    """Write each repetition of an image's rows or columns as a Resize, in place."""
    written = sum(_write(model, node) for node in nodes_of(model, "Reshape"))
    if written:
        remove_dead_nodes(model)
    note = f"{written} repetitions became resizes" if written else "no repetition of pixels"
    return PassNote("use_nearest_resize", written, note)


def _write(model: ir.Model, merge: ir.Node) -> bool:
    repeat = _producer(merge, ("Expand", "Tile"))
    spread = None if repeat is None else _producer(repeat, ("Unsqueeze", "Reshape"))
    if repeat is None or spread is None or spread.inputs[0] is None:
        return False
    image = spread.inputs[0]
    factors = _factors(
        static_shape(image),
        static_shape(spread.outputs[0]),
        static_shape(repeat.outputs[0]),
        static_shape(merge.outputs[0]),
    )
    if factors is None or not _only_in_space(image, factors):
        return False
    above = image.producer()
    if above is not None and _is_repetition(above) and len(image.uses()) == 1:
        origin, earlier = above.inputs[0], constant(above.inputs[2])
        if origin is None or earlier is None:
            return False
        image, factors = origin, [a * int(b) for a, b in zip(factors, earlier, strict=True)]
    scales = add_constant(model, f"{merge.name}/scales", np.asarray(factors, np.float32))
    resize = ir.Node(
        "",
        "Resize",
        [image, None, scales],
        [
            ir.AttrString("mode", "nearest"),
            ir.AttrString("coordinate_transformation_mode", "asymmetric"),
            ir.AttrString("nearest_mode", "floor"),
        ],
        name=str(merge.name).replace("Reshape", "Resize"),
    )
    out = resize.outputs[0]
    out.name, out.type, out.shape = resize.name, merge.outputs[0].type, merge.outputs[0].shape
    model.graph.insert_before(merge, resize)
    bypass(model, merge, out)
    return True


def _producer(node: ir.Node, ops: tuple[str, ...]) -> ir.Node | None:
    """What makes a node's first input, where it is of these ops and nothing else reads that."""
    source = node.inputs[0]
    above = source.producer() if source is not None else None
    if source is None or above is None or above.op_type not in ops or len(source.uses()) != 1:
        return None
    return above


def _factors(
    image: tuple[int, ...] | None,
    spread: tuple[int, ...] | None,
    repeated: tuple[int, ...] | None,
    merged: tuple[int, ...] | None,
) -> list[int] | None:
    """How often each of four axes is repeated, None where the shapes are of something else."""
    if image is None or spread is None or repeated is None or merged is None:
        return None
    if len(image) != 4 or len(spread) != len(repeated):
        return None
    factors: list[int] = []
    for size, after in zip(spread, repeated, strict=True):
        if len(factors) < 4 and size == after == image[len(factors)]:
            factors.append(1)
        elif size == 1 and factors:
            factors[-1] *= after
        else:
            return None
    wanted = tuple(size * factor for size, factor in zip(image, factors, strict=False))
    return factors if len(factors) == 4 and wanted == merged and max(factors) > 1 else None


def _only_in_space(image: ir.Value, factors: list[int]) -> bool:
    """Whether height and width alone are repeated, wherever they are."""
    last = _is_channels_last(image)
    return factors[0] == factors[3 if last else 1] == 1


def _is_channels_last(image: ir.Value) -> bool:
    """Whether a Transpose shows it, before ops that it would move behind."""
    above = image.producer()
    while above is not None and above.op_type in COMMUTING:
        data = [v for v in above.inputs if v is not None and constant(v) is None]
        above = data[0].producer() if data else None
    return above is not None and above.op_type == "Transpose" and perm_of(above) == _TO_LAST


def _is_repetition(node: ir.Node) -> bool:
    """Whether it is a Resize that this pass wrote."""
    mode = node.attributes.get("coordinate_transformation_mode")
    return (
        node.op_type == "Resize"
        and node.attributes["mode"].as_string() == "nearest"
        and mode is not None
        and mode.as_string() == "asymmetric"
        and len(node.inputs) == 3
    )
