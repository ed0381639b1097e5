"""An ONNX model of static sizes: batch and image size filled in, an old operator set updated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference, version_converter
from onnx.inliner import inline_local_functions

from ghostedge_convert.lower.read import OLDEST_OPSET
from ghostedge_convert.sources.onnx_files import opset_of
from ghostedge_runtime.errors import InputError, ModelFileError

_IMAGE_RANK = 4
_COLOURS = 3
_IR_VERSION = 8
"""The oldest that a file of operator set 18 has; before 4 every constant had to be an input."""

_RESIZE_SAYS_HOW = 11
"""The operator set from which on Resize names its sampling; before it was ``asymmetric``."""


@dataclass(frozen=True)
class Pinned:
    """A model of static shapes.

    Attributes:
        model: With the batch and image size filled in.
        size: Height and width of its input.
        channels_first: Whether the input is NCHW, else NHWC.
        notes: What was changed, a line each.
    """

    model: onnx.ModelProto
    size: tuple[int, int]
    channels_first: bool
    notes: tuple[str, ...]


def pinned(
    model: onnx.ModelProto,
    *,
    batch: int,
    size: tuple[int, int] | None,
    channels: Sequence[int] = (_COLOURS,),
    opset: int = OLDEST_OPSET,
) -> Pinned:
    """Fill in a dynamic batch and image size, and bring an old operator set up to date.

    Args:
        model: A model with one image input of rank 4; untouched.
        batch: For a dynamic batch, or one more than 1 that must be the model's own.
        size: Height and width for dynamic ones, or what must be the model's own.
        channels: How many the images may have.
        opset: The operator set that an older model is brought up to.

    Raises:
        ModelFileError: The input is no image, its size contradicts the graph, or the operator set
            cannot be brought up to date.
        InputError: The size is dynamic and ``size`` None, or either contradicts the model.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if copy.functions:
        copy = inline_local_functions(copy)
    _leave_constants_out_of_inputs(copy)
    notes = []
    image = _image_input(copy)
    dims = image.type.tensor_type.shape.dim
    own_sizes = [d.dim_value if d.dim_value > 0 else None for d in dims]
    channels_first = own_sizes[1] in channels
    if not channels_first and own_sizes[3] not in channels:
        many = " or ".join(map(str, channels))
        raise ModelFileError(
            f"it takes {[size or '?' for size in own_sizes]}, which is no batch of images of "
            f"{many} channels",
            where=f"input {image.name!r}",
            remedy="only networks of images, (N, C, H, W) or (N, H, W, C), can be converted; the "
            "number of channels has to be a fixed one",
        )
    spatial = (2, 3) if channels_first else (1, 2)
    wanted = dict(zip((0, *spatial), (batch, *(size or (None, None))), strict=True))
    if any(own_sizes[axis] is None and wanted[axis] is None for axis in spatial):
        raise InputError(
            "its image size is dynamic, and TFLite's is not",
            where=f"input {image.name!r}",
            remedy="say which with --input-size",
        )
    _check_contradictions(own_sizes, wanted, image.name)
    filled = {axis: value for axis, value in wanted.items() if own_sizes[axis] is None}
    if filled:
        _fill(copy, image, {a: int(v) for a, v in filled.items() if v is not None})
        notes.append(f"dynamic input fixed to {[d.dim_value for d in dims]}")
    height, width = (dims[axis].dim_value for axis in spatial)
    version = opset_of(copy)
    if version < opset:
        copy = _updated(with_shapes(copy), version, opset)
        notes.append(f"operator set {version} brought up to {opset}")
    return Pinned(copy, (height, width), channels_first, tuple(notes))


def with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model with the shape of every tensor that can be inferred.

    Raises:
        ModelFileError: Its shapes contradict each other.
    """
    try:
        return shape_inference.infer_shapes(model, data_prop=True)
    except shape_inference.InferenceError as error:
        raise ModelFileError(
            f"its shapes contradict each other ({str(error).strip()})",
            where=f"graph {model.graph.name!r}",
            remedy="check the model with onnx.checker.check_model(model, full_check=True)",
        ) from error


def _leave_constants_out_of_inputs(model: onnx.ModelProto) -> None:
    """Write a file of an IR version before 4 as later ones are: its constants are no inputs."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, _IR_VERSION)


def _updated(model: onnx.ModelProto, version: int, opset: int) -> onnx.ModelProto:
    """The same function in a newer operator set.

    Args:
        model: With the shapes that can be inferred, which the converter needs.
        version: Its operator set.
        opset: A newer one.
    """
    try:
        newer = version_converter.convert_version(model, opset)
    except Exception as error:  # the converter's C++ errors have no common base
        raise ModelFileError(
            f"its operator set {version} is older than {opset} and cannot be brought up "
            f"to date ({str(error).strip().splitlines()[0]})",
            where="opset_import",
            remedy=f"export it with opset {opset} or later, and quantize it again if it was",
        ) from error
    del newer.graph.value_info[:]  # left in, sizes that it could not infer stay unknown
    if version < _RESIZE_SAYS_HOW:
        _name_old_sampling(newer)
    return newer


def _name_old_sampling(model: onnx.ModelProto) -> None:
    """Give resizes the sampling that they had before they could name one.

    The converter leaves them without it, which is another one. Pixels were taken at ``position /
    scale``, by ``nearest`` rounded down where an axis grows, and up where it shrinks (ONNX
    Runtime's ``upsamplebase.h``, ``SIMPLE``); where one grows and one shrinks, each takes a node.
    """
    nodes = list(model.graph.node)
    split = [_by_direction(model, node) if node.op_type == "Resize" else () for node in nodes]
    del model.graph.node[:]
    for node, steps in zip(nodes, split, strict=True):
        for step, rounding in steps:
            for name, value in (
                ("coordinate_transformation_mode", "asymmetric"),
                ("nearest_mode", rounding),
            ):
                step.attribute.append(onnx.helper.make_attribute(name, value))
        model.graph.node.extend([step for step, _ in steps] or [node])


def _by_direction(
    model: onnx.ModelProto, node: onnx.NodeProto
) -> tuple[tuple[onnx.NodeProto, str], ...]:
    """A Resize as one that shrinks and one that grows, or the one of them it is; how they round."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    constants |= {
        n.output[0]: n.attribute[0].t for n in model.graph.node if n.op_type == "Constant"
    }
    scales = constants.get(node.input[2])
    factors = np.ones(1) if scales is None else numpy_helper.to_array(scales)
    if factors.min() >= 1:
        return ((node, "floor"),)
    if factors.max() <= 1:
        return ((node, "ceil"),)
    first, second = onnx.NodeProto(), onnx.NodeProto()
    for step, step_factors in ((first, np.minimum(factors, 1)), (second, np.maximum(factors, 1))):
        step.CopyFrom(node)
        step.name = f"{node.name or node.output[0]}/{'shrink' if step is first else 'grow'}"
        step.input[2] = f"{step.name}/scales"
        model.graph.initializer.append(numpy_helper.from_array(step_factors, step.input[2]))
    first.output[0] = f"{node.output[0]}/shrunk"
    second.input[0] = first.output[0]
    return ((first, "ceil"), (second, "floor"))


def _image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    constants = {t.name for t in model.graph.initializer}
    inputs: list[onnx.ValueInfoProto] = [i for i in model.graph.input if i.name not in constants]
    if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != _IMAGE_RANK:
        raise ModelFileError(
            f"it takes {_words(inputs)}, not one batch of images",
            where=f"graph {model.graph.name!r}",
            remedy="only image classifiers can be converted",
        )
    return inputs[0]


def _words(inputs: Iterable[onnx.ValueInfoProto]) -> str:
    ranks = [f"{i.name!r} of rank {len(i.type.tensor_type.shape.dim)}" for i in inputs]
    return ", ".join(ranks) or "no input"


def _check_contradictions(
    own_sizes: list[int | None], wanted: dict[int, int | None], name: str
) -> None:
    for axis, value in wanted.items():
        own = own_sizes[axis]
        flag = "--input-size" if axis else "--batch"
        default = value is None or (axis == 0 and value == 1)
        if own is not None and not default and own != value:
            raise InputError(
                f"axis {axis} of the model's input {name!r} is {own}, not {value}",
                where=flag,
                remedy=f"leave {flag} out, or export the model with {value} there",
            )


def _fill(model: onnx.ModelProto, image: onnx.ValueInfoProto, sizes: dict[int, int]) -> None:
    """Set sizes of the input; what was inferred from the open ones is forgotten."""
    for axis, size in sizes.items():
        image.type.tensor_type.shape.dim[axis].dim_value = size
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = with_shapes(model).graph.output
    for output, inferred_output in zip(model.graph.output, inferred, strict=True):
        output.CopyFrom(inferred_output)
