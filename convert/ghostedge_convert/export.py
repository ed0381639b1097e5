"""A torch module becomes an ONNX model, once, with torch's current exporter.

The result is a static-shape float graph at opset 18, checked by onnx in full, named after the
module tree and free of traces of the machine it was made on, so that exporting twice
gives the same bytes. Opset 18 is the oldest that the exporter writes without converting, and so
the one most readers take. Simplifying the graph for a device is the passes' work. GhostEdge's
metadata is one entry of the model's ``metadata_props``.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence

import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import NameFixPass
from onnxscript import opset18 as op

from ghostedge_convert.names import (
    check_names,
    name_by_module,
    name_constants,
    name_outputs,
    names_of,
    strip_origin,
)
from ghostedge_convert.passes.fold_constants import fold_constants
from ghostedge_convert.passes.remove_dead_nodes import remove_dead_nodes
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import METADATA_KEY, ModelMetadata

OPSET = 18
INPUT_NAME = "input"

_RESIZES = {
    torch.ops.aten.upsample_bilinear2d.default: torch.ops.aten.upsample_bilinear2d.vec,
    torch.ops.aten.upsample_bicubic2d.default: torch.ops.aten.upsample_bicubic2d.vec,
    torch.ops.aten._upsample_nearest_exact2d.default: torch.ops.aten._upsample_nearest_exact2d.vec,
}
"""Forms that TorchScript and older programs hold, and the ones that torch's exporter knows."""


def export_onnx(
    module: torch.nn.Module,
    *,
    input_size: tuple[int, int],
    batch: int = 1,
    in_channels: int = 3,
    output_names: Sequence[str] | None = None,
) -> onnx.ModelProto:
    """Export a module in eval mode.

    Args:
        module: Maps one float32 ``[N, C, H, W]`` tensor to a tensor, or to several in a dict, a
            tuple or a list.
        input_size: Height and width in pixels.
        batch: N, fixed in the graph.
        in_channels: C.
        output_names: A name for each output, in the order in which the module returns them. None:
            a dict's keys, ``output_0``, ``output_1``, … for a tuple, ``logits`` for one tensor.

    Returns:
        A model with input ``input`` (float32 NCHW) and the outputs by these names, every size
        static.

    Raises:
        InputError: A size is not positive, the module is in training mode, it returns something
            that is no tensor, or the names do not fit its outputs.
    """
    if min(batch, in_channels, *input_size) < 1:
        raise InputError(
            f"an input of shape {(batch, in_channels, *input_size)} has no elements",
            where="export",
            remedy="give a batch and an input size of at least 1",
        )
    if module.training:
        raise InputError(
            "the module is in training mode, where dropout and batch statistics are random",
            where="export",
            remedy="call module.eval() first",
        )
    model = _trace(module, torch.zeros(batch, in_channels, *input_size), output_names)
    fold_constants(model)
    remove_dead_nodes(model)
    name_by_module(model)
    name_constants(model)
    NameFixPass()(model)
    strip_origin(model)
    model.graph.name = type(module).__name__
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _trace(
    module: torch.nn.Module, example: torch.Tensor, stated: Sequence[str] | None
) -> ir.Model:
    with _quiet(), torch.no_grad():
        program = torch.export.export(module, (example,), strict=False)
        _use_known_resizes(program)
    names = _names(program, stated)
    with _quiet(), torch.no_grad():
        exported = torch.onnx.export(
            program,
            dynamo=True,
            optimize=False,
            verbose=False,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            custom_translation_table={
                torch.ops.aten._upsample_nearest_exact2d.vec: _nearest_exact,
            },
        )
    if exported is None:  # by its type it may be None, as its older, file-writing form returned
        raise RuntimeError("torch.onnx.export returned no program")
    name_outputs(exported.model, names)
    return exported.model


def _use_known_resizes(program: torch.export.ExportedProgram) -> None:
    """Write resizes in the form that becomes a Resize rather than a dozen gathers, in place.

    The one ends in two scales, which may be None, the other in a list of both or None.
    """
    for node in program.graph.nodes:
        if node.target not in _RESIZES:
            continue
        image, size, *others = node.args
        aligned, scales = (others[:1], others[1:]) if "bi" in str(node.target) else ([], others)
        stated = len(scales) == 2 and None not in scales
        node.target = _RESIZES[node.target]
        node.args = (image, None if stated else size, *aligned, list(scales) if stated else None)


def _nearest_exact(
    image: ir.Value, size: Sequence[int] | None, scales: Sequence[float] | None
) -> ir.Value:
    """``nearest-exact`` as a Resize; torch's own form of it is gathers by computed indices.

    It takes the element in which ``(i + 0.5) / scale`` lies.
    """
    modes = {
        "mode": "nearest",
        "coordinate_transformation_mode": "half_pixel",
        "nearest_mode": "round_prefer_ceil",
    }
    factors = sizes = None
    if scales is not None:
        factors = op.Constant(value_floats=[1.0, 1.0, *scales])
    else:
        sides = op.Constant(value_ints=list(size or ()))
        sizes = op.Concat(op.Shape(image, start=0, end=2), sides, axis=0)
    resized: ir.Value = op.Resize(image, None, factors, sizes, **modes)
    return resized


def _names(program: torch.export.ExportedProgram, stated: Sequence[str] | None) -> tuple[str, ...]:
    """The outputs' names, of what the traced module returned where nobody states them."""
    spec = program.call_spec.out_spec
    names_of_places = names_of(spec.unflatten(range(spec.num_leaves)))
    ends = program.graph_signature.user_outputs
    for name, end in zip(names_of_places, ends, strict=True):
        if not isinstance(end, str):
            raise InputError(
                f"its output {name!r} is {end!r}, no tensor",
                where="export",
                remedy="let the module return tensors only, in evaluation mode",
            )
    names = names_of_places if stated is None else tuple(stated)
    check_names(names, len(names_of_places), INPUT_NAME)
    return names


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress, deprecation warnings and registry log off the terminal.

    None of it is about the user's model: a fault in that is raised.
    """
    with (
        quiet_logger("torch.onnx", logging.ERROR),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def quiet_logger(name: str, level: int) -> Iterator[None]:
    """Let a logger pass messages of a level and above only."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def embed_onnx_metadata(model: onnx.ModelProto, metadata: ModelMetadata) -> onnx.ModelProto:
    """Return a copy of the model that carries the metadata, in place of any it had."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    others = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del copy.metadata_props[:]
    copy.metadata_props.extend(others)
    copy.metadata_props.add(key=METADATA_KEY, value=metadata.to_json())
    return copy


def read_onnx_metadata(model: onnx.ModelProto, *, where: str | None = None) -> ModelMetadata | None:
    """Read the metadata, or None where the model carries none.

    Args:
        model: Any ONNX model.
        where: The file it came from, for messages.

    Raises:
        ModelFileError: The entry is there but is not of the schema.
    """
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            return ModelMetadata.from_json(entry.value, where=where)
    return None
