"""TensorFlow's ops that move, join, cut and repeat elements, as ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from ghostedge_convert.sources.keras.tf_writer import GraphWriter, TfOp, first_input


def _reshape(graph: GraphWriter, op: Any) -> list[str]:
    """Reshape, Squeeze, ExpandDims: the static shape says it all."""
    shape = op.outputs[0].shape
    if not shape.is_fully_defined():
        graph.refuse(op, f"the shape {shape} is not known before it runs")
    target = graph.constant(np.array(shape.as_list(), np.int64), f"{op.name}/shape")
    return [graph.node("Reshape", [graph.value(op.inputs[0]), target], op.name)]


def _transpose(graph: GraphWriter, op: Any) -> list[str]:
    perm = [int(axis) for axis in graph.array(op.inputs[1])]
    return [graph.node("Transpose", [graph.value(op.inputs[0])], op.name, perm=perm)]


def _concat(graph: GraphWriter, op: Any) -> list[str]:
    *parts, axis = op.inputs
    return [
        graph.node("Concat", [graph.value(t) for t in parts], op.name, axis=int(graph.array(axis)))
    ]


def _split(graph: GraphWriter, op: Any) -> list[str]:
    axis, count = int(graph.array(op.inputs[0])), len(op.outputs)
    first = graph.node(
        "Split", [graph.value(op.inputs[1])], op.name, outputs=count, axis=axis, num_outputs=count
    )
    return [first, *(f"{first}:{i}" for i in range(1, count))]


def _gather(graph: GraphWriter, op: Any) -> list[str]:
    if op.get_attr("batch_dims"):
        graph.refuse(op, "a gather with batch dimensions")
    axis = int(graph.array(op.inputs[2])) % op.inputs[0].shape.rank
    indices = graph.constant(np.asarray(graph.array(op.inputs[1]), np.int64), f"{op.name}/indices")
    return [graph.node("Gather", [graph.value(op.inputs[0]), indices], op.name, axis=axis)]


def _pack(graph: GraphWriter, op: Any) -> list[str]:
    """Tensors stacked along a new axis."""
    axis = int(op.get_attr("axis")) % op.outputs[0].shape.rank
    axes = graph.constant(np.array([axis]), f"{op.name}/axes")
    parts = [graph.node("Unsqueeze", [graph.value(t), axes], op.name) for t in op.inputs]
    return [graph.node("Concat", parts, op.name, axis=axis)]


def _unpack(graph: GraphWriter, op: Any) -> list[str]:
    axis, count = int(op.get_attr("axis")) % op.inputs[0].shape.rank, len(op.outputs)
    first = graph.node(
        "Split", [graph.value(op.inputs[0])], op.name, outputs=count, axis=axis, num_outputs=count
    )
    axes = graph.constant(np.array([axis]), f"{op.name}/axes")
    parts = [first, *(f"{first}:{i}" for i in range(1, count))]
    return [graph.node("Squeeze", [part, axes], op.name) for part in parts]


def _tile(graph: GraphWriter, op: Any) -> list[str]:
    shapes = (op.outputs[0].shape, op.inputs[0].shape)
    if not all(shape.is_fully_defined() for shape in shapes):
        graph.refuse(op, "how often it repeats is not known before it runs")
    after, before = (np.array(shape.as_list(), np.int64) for shape in shapes)
    repeats = graph.constant(after // before, f"{op.name}/repeats")
    return [graph.node("Tile", [graph.value(op.inputs[0]), repeats], op.name)]


def _broadcast_to(graph: GraphWriter, op: Any) -> list[str]:
    shape = np.array(op.outputs[0].shape.as_list(), np.int64)
    target = graph.constant(shape, f"{op.name}/shape")
    return [graph.node("Expand", [graph.value(op.inputs[0]), target], op.name)]


def _strided_slice(graph: GraphWriter, op: Any) -> list[str]:
    """``x[1:-1, ..., None, 0]``: a Slice, and a Reshape for axes that come or go."""
    sizes, value = op.inputs[0].shape.as_list(), graph.value(op.inputs[0])
    cuts = {a: cut for a, cut in _cuts(graph, op, sizes).items() if cut != range(sizes[a])}
    if cuts:
        stated = {
            "starts": [cut.start for cut in cuts.values()],
            # No index names the place before the first element; one far below it does.
            "ends": [cut.stop if cut.stop >= 0 else -(2**31) for cut in cuts.values()],
            "axes": list(cuts),
            "steps": [cut.step for cut in cuts.values()],
        }
        names = [graph.constant(np.array(v), f"{op.name}/{n}") for n, v in stated.items()]
        value = graph.node("Slice", [value, *names], op.name)
    if not op.get_attr("new_axis_mask") and not op.get_attr("shrink_axis_mask"):
        return [value]
    shape = graph.constant(np.array(op.outputs[0].shape.as_list(), np.int64), f"{op.name}/shape")
    return [graph.node("Reshape", [value, shape], op.name)]


def _cuts(graph: GraphWriter, op: Any, sizes: list[int]) -> dict[int, range]:
    """What a StridedSlice keeps of each axis that it names, as places."""
    parts = list(zip(*(np.ravel(graph.array(t)).tolist() for t in op.inputs[1:]), strict=True))
    begins, ends, dots, new, single = (
        [bool(op.get_attr(f"{name}_mask") >> i & 1) for i in range(len(parts))]
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    )
    cuts, axis = {}, 0
    for i, (begin, end, step) in enumerate(parts):
        if dots[i]:
            axis = len(sizes) - sum(not added for added in new[i + 1 :])
        elif not new[i]:
            place = begin % sizes[axis]
            whole = slice(None if begins[i] else begin, None if ends[i] else end, step)
            cuts[axis] = range(place, place + 1) if single[i] else range(sizes[axis])[whole]
            axis += 1
    return cuts


def _filled(number: float | None) -> TfOp:
    """ZerosLike, OnesLike and Fill (None: with its second input), whose shape is static."""

    def write(graph: GraphWriter, op: Any) -> list[str]:
        shape, kind = op.outputs[0].shape, op.outputs[0].dtype.as_numpy_dtype
        if not shape.is_fully_defined():
            graph.refuse(op, f"the shape {shape} is not known before it runs")
        value = graph.array(op.inputs[1]) if number is None else number
        return [graph.constant(np.full(shape.as_list(), value, kind), op.name)]

    return TfOp(write, lambda _: ())


def _pad(graph: GraphWriter, op: Any) -> list[str]:
    amounts = np.asarray(graph.array(op.inputs[1]), np.int64).T.reshape(-1)
    inputs = [graph.value(op.inputs[0]), graph.constant(amounts, f"{op.name}/pads")]
    if op.type == "PadV2":
        inputs.append(graph.constant(np.float32(graph.array(op.inputs[2])), f"{op.name}/value"))
    if op.type != "MirrorPad":
        return [graph.node("Pad", inputs, op.name)]
    if op.get_attr("mode") != b"REFLECT":
        graph.refuse(op, "a symmetric mirror padding")
    return [graph.node("Pad", inputs, op.name, mode="reflect")]


SHAPE_TABLE: dict[str, TfOp] = {
    "BroadcastTo": TfOp(_broadcast_to, first_input),
    "ConcatV2": TfOp(_concat, lambda op: op.inputs[:-1]),
    "ExpandDims": TfOp(_reshape, first_input),
    "Fill": _filled(None),
    "GatherV2": TfOp(_gather, first_input),
    "MirrorPad": TfOp(_pad, first_input),
    "OnesLike": _filled(1.0),
    "Pack": TfOp(_pack),
    "Pad": TfOp(_pad, first_input),
    "PadV2": TfOp(_pad, first_input),
    "Reshape": TfOp(_reshape, first_input),
    "Split": TfOp(_split, lambda op: op.inputs[1:]),
    "Squeeze": TfOp(_reshape, first_input),
    "StridedSlice": TfOp(_strided_slice, first_input),
    "Tile": TfOp(_tile, first_input),
    "Transpose": TfOp(_transpose, first_input),
    "Unpack": TfOp(_unpack),
    "ZerosLike": _filled(0.0),
}
