"""A float ``.onnx`` of any maker, brought to the one form that the main job takes.

That is: sizes fixed, operator set 18 or later, one float32 NCHW input called ``input``, every node
named, and nothing left of training. The function stays the same; the caller keeps the model as it
was read, to compare with.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from ghostedge_convert.doors.given import CHANNELS
from ghostedge_convert.export import INPUT_NAME, OPSET
from ghostedge_convert.foreign.read import open_onnx, pinned
from ghostedge_convert.foreign.use_float32 import use_float32
from ghostedge_convert.passes import fold_constants, remove_dead_nodes
from ghostedge_convert.passes._graph import (
    bypass,
    constant,
    input_at,
    int_attr,
    nodes_of,
    static_shape,
)
from ghostedge_runtime.errors import InputError, ModelFileError, UnsupportedOpError
from ghostedge_runtime.metadata import Source
from ghostedge_runtime.onnx_data import whole_digest

_ONNX_DOMAINS = ("", "ai.onnx")
_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass(frozen=True)
class GivenOnnx:
    """A float ONNX model and what is known of it.

    Attributes:
        model: In the form that the main job takes.
        original: As it was read.
        channels_first: Whether the original takes NCHW, else NHWC.
        title: What it is, for a report.
        source: The file's name and SHA-256.
        in_channels: C.
        input_size: Height and width.
        notes: What was changed on the way, a line each.
        computed_in_half: Whether the original rounds what it computes to float16.
    """

    model: onnx.ModelProto
    original: onnx.ModelProto
    channels_first: bool
    title: str
    source: Source
    in_channels: int
    input_size: tuple[int, int]
    notes: tuple[str, ...]
    computed_in_half: bool = False


def load_float_onnx(path: Path, *, batch: int, input_size: tuple[int, int] | None) -> GivenOnnx:
    """Read a float model and bring it into form.

    Args:
        path: The file; external data beside it is read too.
        batch: N, for a dynamic one.
        input_size: Height and width for dynamic ones.

    Raises:
        ModelFileError: It cannot be read, is in training mode, its input is no float32 image, or
            its operator set cannot be brought up to date.
        UnsupportedOpError: A node is of a library of its own.
        InputError: A size is dynamic and not stated, or contradicts the model.
    """
    original = open_onnx(path)
    _refuse_other_domains(original, path)
    fixed = pinned(original, batch=batch, size=input_size, channels=CHANNELS, opset=OPSET)
    graph = ir.from_proto(fixed.model)
    ShapeInferencePass()(graph)
    floats = use_float32(graph)
    image = _image(graph, batch, path)
    notes = [*fixed.notes, *floats.notes]
    if not fixed.channels_first:
        image = _channels_first(graph, image)
        notes.append("its NHWC input made NCHW")
    _tidy(graph, path)
    _name(graph, image)
    proto = ir.to_proto(graph)
    onnx.checker.check_model(proto, full_check=True)
    maker = " ".join(filter(None, (original.producer_name, original.producer_version)))
    return GivenOnnx(
        model=proto,
        original=original,
        channels_first=fixed.channels_first,
        title=f"ONNX of {maker}" if maker else "ONNX",
        source=Source(path.name, whole_digest(path.read_bytes(), path)[0]),
        in_channels=_sides(image)[1],
        input_size=fixed.size,
        notes=tuple(notes),
        computed_in_half=floats.computed_in_half,
    )


def _refuse_other_domains(model: onnx.ModelProto, path: Path) -> None:
    """Refuse ops that ONNX does not define, before a pass trips over them.

    Raises:
        UnsupportedOpError: Names the node.
    """
    own = {(function.domain, function.name) for function in model.functions}
    for node in model.graph.node:
        if node.domain not in _ONNX_DOMAINS and (node.domain, node.op_type) not in own:
            name = node.name or node.output[0]
            raise UnsupportedOpError(
                f"the op {node.op_type!r} is of {node.domain!r}, not of ONNX",
                where=f"{path}: node {name!r}",
                remedy="export the model without optimising it for one runtime",
            )


def _image(graph: ir.Model, batch: int, path: Path) -> ir.Value:
    """The input.

    Raises:
        ModelFileError: It is not float32.
        InputError: The model's batch is fixed and another.
    """
    (image,) = graph.graph.inputs
    if image.dtype != ir.DataType.FLOAT or image.shape is None:
        raise ModelFileError(
            f"its input {image.name!r} is {str(image.dtype).lower()}, not float32",
            where=path,
            remedy="export it with a float32 input that takes normalised images",
        )
    if image.shape[0] != batch:
        raise InputError(
            f"the model takes batches of {image.shape[0]}, not {batch}",
            where="--batch",
            remedy=f"pass --batch {image.shape[0]}, or export the model with a dynamic batch",
        )
    return image


def _channels_first(model: ir.Model, image: ir.Value) -> ir.Value:
    """Put a transpose behind a new NCHW input; those that turn it back go together with it."""
    batch, height, width, channels = _sides(image)
    new = ir.Value(
        name=f"{image.name}/nchw",
        type=image.type,
        shape=ir.Shape((batch, channels, height, width)),
    )
    for node in [use.node for use in image.uses()]:
        if node.op_type == "Transpose" and _permutation(node) == _TO_NCHW:
            bypass(model, node, new)
    model.graph.inputs[0] = new
    if image.uses():
        turn = ir.Node(
            "", "Transpose", [new], [ir.AttrInt64s("perm", _TO_NHWC)], name=f"{image.name}/nhwc"
        )
        turn.outputs[0].name = f"{image.name}/nhwc"
        turn.outputs[0].type, turn.outputs[0].shape = image.type, image.shape
        for value, index in [(use.node, use.idx) for use in image.uses()]:
            value.replace_input_with(index, turn.outputs[0])
        first = next(iter(model.graph))
        model.graph.insert_before(first, turn)
    return new


def _sides(image: ir.Value) -> tuple[int, ...]:
    sides = static_shape(image)
    if sides is None:  # the sizes were fixed before
        raise ValueError(image.name)
    return sides


def _permutation(node: ir.Node) -> tuple[int, ...]:
    found = node.attributes.get("perm")
    return () if found is None else tuple(found.as_ints())


def _tidy(model: ir.Model, path: Path) -> None:
    """Take out what only training has a use for, and compute what does not need the input."""
    for node in nodes_of(model, "Dropout"):
        mode = input_at(node, 2)
        if mode is not None and (constant(mode) is None or bool(constant(mode))):
            _refuse_training(node, path)
        if len(node.outputs) < 2 or not node.outputs[1].uses():
            bypass(model, node, _data(node))
    for node in nodes_of(model, "BatchNormalization"):
        if int_attr(node, "training_mode", 0):
            _refuse_training(node, path)
    ShapeInferencePass()(model)
    fold_constants(model)
    remove_dead_nodes(model)


def _data(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    if value is None:  # ONNX's checker has seen that it is there
        raise ValueError(node.name)
    return value


def _refuse_training(node: ir.Node, path: Path) -> NoReturn:
    raise ModelFileError(
        f"it was exported in training mode ({node.op_type} {node.name or node.outputs[0].name!r})",
        where=path,
        remedy="export it in evaluation mode",
    )


def _name(model: ir.Model, image: ir.Value) -> None:
    """Give the input its name, and each node without one of its own its op's, in graph order."""
    for node in model.graph:
        for value in node.outputs:
            if value.name == INPUT_NAME:
                value.name = f"{INPUT_NAME}/inner"
    image.name = INPUT_NAME
    seen: Counter[str] = Counter()
    for node in model.graph:
        base = node.name or node.op_type
        seen[base] += 1
        node.name = base if seen[base] == 1 else f"{base}_{seen[base]}"
