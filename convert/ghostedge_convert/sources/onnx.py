"""A float ``.onnx`` of any maker, brought to the one form that the main job takes.

That is: sizes fixed, operator set 18 or later, one float32 NCHW input called ``input``, every node
named, and nothing left of training. The function stays the same; the caller keeps the model as it
was read, to compare with.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from ghostedge_convert.export import INPUT_NAME, OPSET
from ghostedge_convert.passes.fold_constants import fold_constants
from ghostedge_convert.passes.graph import (
    Array,
    bypass,
    constant,
    input_at,
    int_attr,
    nodes_of,
    static_shape,
)
from ghostedge_convert.passes.remove_dead_nodes import remove_dead_nodes
from ghostedge_convert.sources.float32 import use_float32
from ghostedge_convert.sources.module import CHANNELS
from ghostedge_convert.sources.onnx_files import ONNX_DOMAINS, open_onnx
from ghostedge_convert.sources.onnx_shapes import pinned
from ghostedge_convert.sources.rescaling import InputRescaling, without_rescaling
from ghostedge_runtime.errors import InputError, ModelFileError, UnsupportedOpError
from ghostedge_runtime.formats.loading import whole_digest
from ghostedge_runtime.metadata import Source

_MOVES = ("Concat", "Gather", "Identity", "Slice", "Split", "Transpose")
"""What may come before the cast of pixels."""

_HOLD_PIXELS = (ir.DataType.FLOAT, ir.DataType.INT32, ir.DataType.INT64)

_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass(frozen=True)
class LoadedOnnx:
    """A float ONNX model and what is known of it.

    Attributes:
        rescaling: What its first nodes do to the input, and the graph without them.
        takes_pixels: Whether the original takes uint8, else floats.
        original: As it was read.
        channels_first: Whether the original takes NCHW, else NHWC.
        title: What it is, for a report.
        source: The file's name and SHA-256.
        in_channels: C.
        input_size: Height and width.
        notes: What was changed on the way, a line each.
        computed_in_half: Whether the original rounds what it computes to float16.
    """

    rescaling: InputRescaling
    takes_pixels: bool
    original: onnx.ModelProto
    channels_first: bool
    title: str
    source: Source
    in_channels: int
    input_size: tuple[int, int]
    notes: tuple[str, ...]
    computed_in_half: bool = False

    @property
    def model(self) -> onnx.ModelProto:
        """In the form that the main job takes."""
        return self.rescaling.model

    def original_input(self, images: Array) -> Array:
        """What the original takes, from what ``model`` does: float32 (N, C, H, W)."""
        images = self.rescaling.undone(images)
        if not self.channels_first:
            images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        return np.clip(np.rint(images), 0, 255).astype(np.uint8) if self.takes_pixels else images


def load_float_onnx(path: Path, *, batch: int, input_size: tuple[int, int] | None) -> LoadedOnnx:
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
    takes_pixels = image.dtype == ir.DataType.UINT8
    if takes_pixels:
        _cast_pixels_outside(graph, image, path)
    notes = [*fixed.notes, *floats.notes]
    if not fixed.channels_first:
        image = _channels_first(graph, image)
        notes.append("its NHWC input made NCHW")
    _tidy(graph, path)
    _name(graph, image)
    proto = ir.to_proto(graph)
    onnx.checker.check_model(proto, full_check=True)
    rescaling = without_rescaling(proto)
    if takes_pixels or rescaling.present or rescaling.reordered:
        proto = rescaling.model
        notes += _rescaling_notes(rescaling, takes_pixels=takes_pixels)
    else:
        rescaling = replace(rescaling, model=proto)
    maker = " ".join(filter(None, (original.producer_name, original.producer_version)))
    return LoadedOnnx(
        rescaling=rescaling,
        takes_pixels=takes_pixels,
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
        if node.domain not in ONNX_DOMAINS and (node.domain, node.op_type) not in own:
            name = node.name or node.output[0]
            raise UnsupportedOpError(
                f"the op {node.op_type!r} is of {node.domain!r}, not of ONNX",
                where=f"{path}: node {name!r}",
                remedy="export the model without optimising it for one runtime",
            )


def _image(graph: ir.Model, batch: int, path: Path) -> ir.Value:
    """The input.

    Raises:
        ModelFileError: It is neither float32 nor uint8.
        InputError: The model's batch is fixed and another.
    """
    (image,) = graph.graph.inputs
    if image.dtype not in (ir.DataType.FLOAT, ir.DataType.UINT8) or image.shape is None:
        raise ModelFileError(
            f"its input {image.name!r} is {str(image.dtype).lower()}, neither float32 nor uint8",
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


def _cast_pixels_outside(model: ir.Model, image: ir.Value, path: Path) -> None:
    """Let a graph of uint8 pixels take them as float32; what moves them before its cast may.

    Raises:
        ModelFileError: Anything else reads them before they are cast.
    """
    waiting = [(image, use.node) for use in image.uses()]
    read: set[ir.Node] = set()
    while waiting:
        value, node = waiting.pop()
        value.dtype = ir.DataType.FLOAT
        if node in read:
            continue
        read.add(node)
        is_cast = node.op_type == "Cast" and node.outputs[0].dtype in _HOLD_PIXELS
        if not is_cast and node.op_type not in _MOVES:
            raise ModelFileError(
                f"node {node.name or node.outputs[0].name!r} ({node.op_type}) computes with "
                f"the uint8 pixels of its input {image.name!r}",
                where=path,
                remedy="let a Cast to float32 come first, or export it with a float32 input",
            )
        if node.outputs[0].dtype != ir.DataType.FLOAT:
            waiting += [(output, use.node) for output in node.outputs for use in output.uses()]
        if is_cast:
            bypass(model, node, _data(node))


def _rescaling_notes(rescaling: InputRescaling, *, takes_pixels: bool) -> list[str]:
    """What was done to the graph's first nodes."""
    notes = ["its uint8 input is cast outside of it: the files take floats"] if takes_pixels else []
    if rescaling.present:
        notes.append("its rescaling of the input was moved into the preprocessing")
    if rescaling.reordered:
        notes.append("its exchange of the input's channels was moved into the first layer")
    return notes


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
    attribute = node.attributes.get("perm")
    return () if attribute is None else tuple(attribute.as_ints())


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
