"""An ONNX file that another tool quantized, as MODEL.

What the file says of itself (a GhostEdge document inside) comes before the family's default, and
flags before both. It is lowered as it is; what TFLite's int8 cannot hold may be rounded, and what
that cost is measured tensor by tensor.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import ghostedge
from ghostedge.conversion.images import PARITY_IMAGES, ImageSet
from ghostedge.conversion.network import Answers
from ghostedge.conversion.option_fields import ModelKind
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.source import Source, class_names, field_words, overridden
from ghostedge.conversion.task import Evidence, kind_of
from ghostedge.records.manifest import Inferred
from ghostedge_convert import (
    CheckpointConfig,
    Loss,
    Normalized,
    Pinned,
    Requantized,
    embed_onnx_metadata,
    head_of,
    left_float,
    normalize_qdq,
    pinned,
    read_onnx,
    read_onnx_metadata,
)
from ghostedge_runtime import Model
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.formats.loading import whole_digest
from ghostedge_runtime.metadata import (
    InputSpec,
    Layout,
    ModelMetadata,
    Preprocessing,
    QuantizationInfo,
)
from ghostedge_runtime.metadata import Source as SourceFile

Array = npt.NDArray[np.float32]

_INSIDE = "the metadata inside the file"
_FROM_FILE = f"from {_INSIDE}"
_FROM_GRAPH = "from the graph's input"
_ERRORS_ONLY = 3
_FROM_DEFAULT = "the family's ImageNet default; the file does not say"


@dataclass(frozen=True)
class QuantizedSource(Source):
    """A quantized ONNX model, ready to be lowered.

    Attributes:
        original: As it was read.
        pinned: With its sizes fixed.
        metadata: For the ONNX artefact: the same graph, explaining itself.
        requantize: Whether what TFLite's int8 cannot hold is rounded, instead of refused.
    """

    original: onnx.ModelProto = field(repr=False)
    pinned: Pinned = field(repr=False)
    metadata: ModelMetadata
    requantize: bool

    @property
    def is_quantized(self) -> bool:
        """It is."""
        return True

    def normalized(self) -> Normalized:
        """The graph in the form that is lowered.

        Raises:
            InputError: Something in it has no such form.
        """
        return normalize_qdq(self.pinned.model, requantize=self.requantize)

    def answers(self, images: ImageSet) -> Iterator[tuple[Any, Answers]]:
        """The outputs of the model as it was read, with its external data, an image at a time."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "source.onnx"
            explained = embed_onnx_metadata(self.original, self.metadata)
            path.write_bytes(explained.SerializeToString())
            with Model(path) as model:
                for image in images.sources:
                    pixels = model.preprocess(image)
                    yield pixels, tuple(model.values(pixels).values())


def read_quantized_onnx(options: ConvertOptions) -> QuantizedSource:
    """Read the model and find out how it is used.

    Raises:
        ModelFileError: It cannot be read, is not quantized in the QDQ format, or has
            another output than one row of numbers.
        InputError: A flag contradicts it, or is of no use to it.
        ImageError: ``--eval`` does not fit its classes.
    """
    options.check_effect(ModelKind.QUANTIZED_ONNX)
    original = read_onnx(options.source.model)
    fixed = pinned(
        original,
        batch=options.source.batch,
        size=options.source.preprocessing.stated().get("input_size"),
    )
    columns = _columns(fixed.model)
    inside = read_onnx_metadata(original, where=str(options.source.model))
    config = None
    if inside is not None:
        config = CheckpointConfig(labels=inside.labels, labels_origin=_INSIDE)
    kind = kind_of(
        Evidence(
            options,
            shapes=((options.source.batch, columns),),
            head=head_of(fixed.model),
            model_name=options.source.artefact_name,
            config=config,
            inside=inside,
        )
    )
    base = Preprocessing() if inside is None else inside.preprocessing
    preprocessing = replace(overridden(base, options), input_size=fixed.size)
    named = class_names(config, options, kind)
    path = options.source.model
    file = SourceFile(path.name, whole_digest(path.read_bytes(), path)[0])
    metadata = ModelMetadata(
        preprocessing=preprocessing,
        input=_input_spec(fixed, inside),
        architecture=None if inside is None else inside.architecture,
        labels=named.labels,
        precision="int8",
        quantization=_quantization(fixed.model, inside),
        source=file,
        producer=f"ghostedge {ghostedge.__version__}",
        classifies=kind.classes is not None,
        probabilities=kind.probabilities,
        binary=kind.binary,
    )
    inferred = (kind.fact, *_facts(preprocessing, options, inside is not None), named.fact)
    return QuantizedSource(
        origin=options.source.model.name,
        file=file,
        kind=kind,
        preprocessing=preprocessing,
        evaluation=named.evaluation,
        inferred=inferred,
        notes=fixed.notes,
        batch=options.source.batch,
        original=original,
        pinned=fixed,
        metadata=metadata,
        requantize=options.source.requantize,
    )


def _columns(model: onnx.ModelProto) -> int:
    """Length of the one output's rows."""
    outputs = [o.type.tensor_type.shape.dim for o in model.graph.output]
    if len(outputs) != 1 or len(outputs[0]) != 2 or outputs[0][1].dim_value < 1:
        shapes = [[d.dim_value or "?" for d in dims] for dims in outputs]
        raise ModelFileError(
            f"its outputs are of shape {', '.join(map(str, shapes))}, not one row of numbers",
            where=f"graph {model.graph.name!r}",
            remedy="only models with one output (images, numbers) can be converted",
        )
    return int(outputs[0][1].dim_value)


def _input_spec(fixed: Pinned, inside: ModelMetadata | None) -> InputSpec:
    """What the graph's input takes: normalised float32, or what the metadata says of pixels."""
    constants = {t.name for t in fixed.model.graph.initializer}
    image = next(i for i in fixed.model.graph.input if i.name not in constants)
    kind = image.type.tensor_type.elem_type
    layout: Layout = "NCHW" if fixed.channels_first else "NHWC"
    if inside is not None:
        return replace(inside.input, layout=layout)
    if kind != TensorProto.FLOAT:
        raise ModelFileError(
            f"its input is {TensorProto.DataType.Name(kind).lower()}, and nothing in the file says "
            "how pixels become it",
            where=f"input {image.name!r}",
            remedy="quantize a model whose input stays float32",
        )
    return InputSpec(layout=layout, dtype="float32", normalized=True)


def _quantization(model: onnx.ModelProto, inside: ModelMetadata | None) -> QuantizationInfo | None:
    """How it was quantized, where the file says; the scale of an integer output in any case."""
    if inside is not None and inside.quantization is not None:
        return inside.quantization
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    name = model.graph.output[0].name
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and name in node.output and len(node.input) > 2:
            if any(n not in constants for n in node.input[1:]):
                continue
            scale, zero_point = (numpy_helper.to_array(constants[n]) for n in node.input[1:])
            return QuantizationInfo(
                ranges="the source's",
                calibration_images=0,
                output_type="int8",
                output_scale=float(scale.reshape(-1)[0]),
                output_zero_point=int(zero_point.reshape(-1)[0]),
            )
    return None


def _facts(
    preprocessing: Preprocessing, options: ConvertOptions, says_itself: bool
) -> Sequence[Inferred]:
    stated = options.source.preprocessing.stated()
    otherwise = _FROM_FILE if says_itself else _FROM_DEFAULT

    def origin(name: str) -> str:
        if name in stated:
            return f"from --{name.replace('_', '-')}"
        return _FROM_GRAPH if name == "input_size" else otherwise

    words = field_words(preprocessing)
    return tuple(Inferred(name, value, origin(name)) for name, value in words.items())


def normalization_notes(normalized: Normalized) -> tuple[str, ...]:
    """What was done to a graph, and what of it stays float."""
    applied = tuple(f"{note.name}: {note.note}" for note in normalized.applied)
    floats = left_float(normalized.model)
    if not floats:
        return applied
    shown = ", ".join(floats[:3]) + (", …" if len(floats) > 3 else "")
    return (
        *applied,
        f"nodes without a pair around them, which stay float: {len(floats)} ({shown})",
    )


def requantizing_losses(
    source: QuantizedSource, normalized: Normalized, onnx_file: Path, images: ImageSet
) -> tuple[Loss, ...]:
    """What each change of a source's numbers costs, on some of the images."""
    with Model(onnx_file) as model:
        batches = _batches(model, images.head(PARITY_IMAGES))
    return losses(source.pinned.model, normalized.requantized, batches)


def _batches(model: Model, images: ImageSet) -> list[npt.NDArray[np.generic]]:
    """The images as full batches of the model's own size."""
    single = [model.preprocess(image) for image in images.sources]
    size = model.io.input.shape[0] or 1
    return [
        np.concatenate([*single[start : start + size], *single[-1:] * size])[:size]
        for start in range(0, len(single), size)
    ]


def losses(
    source: onnx.ModelProto,
    changes: Sequence[Requantized],
    batches: Sequence[npt.NDArray[np.generic]],
) -> tuple[Loss, ...]:
    """The loss of each change: of constants as known, of activations measured on images.

    Args:
        source: The model whose activations they were, before the change.
        changes: What was requantized.
        batches: Inputs of the source.
    """
    watched = [change.tensor for change in changes if change.loss is None]
    seen = _watch(source, list(dict.fromkeys(watched)), batches)
    return tuple(c.loss or c.loss_on(seen[c.tensor]) for c in changes)


def _watch(
    source: onnx.ModelProto, names: Sequence[str], batches: Sequence[npt.NDArray[np.generic]]
) -> Mapping[str, list[Array]]:
    """Real activations of the source, by name, a batch each."""
    if not names:
        return {}
    tapped = onnx.ModelProto()
    tapped.CopyFrom(source)
    del tapped.graph.output[:]
    tapped.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    session = ort.InferenceSession(
        tapped.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = session.get_inputs()[0].name
    rows = [session.run(list(names), {feed: batch}) for batch in batches]
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def loss_words(change: Requantized, loss: Loss) -> str:
    """One line: what was requantized, why, and how far it now is from the source."""
    return (
        f"requantized {change.tensor!r} (node {change.node!r}: {change.reason}): "
        f"largest difference {loss.max_abs:.3g}, mean square {loss.mean_square:.3g}"
    )


def requantizing_words(normalized: Normalized, costs: Sequence[Loss]) -> tuple[str, ...]:
    """A line for each change whose cost is known."""
    return tuple(map(loss_words, normalized.requantized, costs))
