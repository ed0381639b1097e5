"""The graphs that the files of a conversion are written of: float, smaller weights, int8."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace

import onnx

import ghostedge
from ghostedge.console import Reporter
from ghostedge.conversion.images import Batches, ImageSet
from ghostedge.conversion.option_groups import Int8Options
from ghostedge.conversion.source import FloatSource
from ghostedge_convert import (
    embed_onnx_metadata,
    rename_outputs,
    to_deploy_graph,
    with_split_modules,
)
from ghostedge_quantize import (
    Int8Settings,
    Prepared,
    float16_weights,
    int8_weights,
    integer_outputs,
    prepare,
)
from ghostedge_runtime.metadata import InputSpec, ModelMetadata, Precision, QuantizationInfo

SMALL_WEIGHTS: Mapping[Precision, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "float16": float16_weights,
    "dynamic": int8_weights,
}
"""Precisions that only store the weights otherwise: no images needed, computed in float32."""


@dataclass(frozen=True)
class Graph:
    """A graph that files are written of.

    Attributes:
        model: The graph, its metadata inside.
        metadata: These; of the file in ONNX.
        notes: What was done to make it, a sentence each.
    """

    model: onnx.ModelProto
    metadata: ModelMetadata
    notes: tuple[str, ...]


def deploy_graph(source: FloatSource) -> Graph:
    """Export the network and simplify the graph; metadata goes inside.

    Raises:
        InputError: The network cannot be exported, or the names of its outputs do not fit it.
    """
    exported = source.exported or source.network.to_onnx(batch=source.batch)
    if source.output_names is not None:
        exported = rename_outputs(exported, source.output_names)
    result = to_deploy_graph(exported)
    metadata = ModelMetadata(
        preprocessing=source.preprocessing,
        input=InputSpec(layout="NCHW", dtype="float32", normalized=True),
        architecture=source.architecture,
        labels=source.labels,
        source=source.file,
        producer=f"ghostedge {ghostedge.__version__}",
        classifies=source.classes is not None,
        probabilities=source.kind.probabilities,
        binary=source.kind.binary,
    )
    return Graph(
        model=embed_onnx_metadata(result.model, metadata),
        metadata=metadata,
        notes=tuple(f"{note.name}: {note.note}" for note in result.applied),
    )


def float_graph(graph: Graph) -> Graph:
    """The deploy graph as float files have it: its ghost modules in halves."""
    result = with_split_modules(graph.model)
    notes = tuple(f"{note.name}: {note.note}" for note in result.applied)
    return replace(graph, model=result.model, notes=(*graph.notes, *notes))


def output_words(model: onnx.ModelProto) -> str:
    """A model's outputs for a report: ``boxes 1×240×4, scores 1×240×3``."""
    return ", ".join(
        f"{output.name} "
        + "×".join(str(size.dim_value or "?") for size in output.type.tensor_type.shape.dim)
        for output in model.graph.output
    )


def small_graph(graph: Graph, precision: Precision) -> Graph:
    """The deploy graph with its weights stored as ``SMALL_WEIGHTS`` has them.

    Raises:
        InputError: A weight does not fit the type.
    """
    metadata = replace(graph.metadata, precision=precision)
    model = SMALL_WEIGHTS[precision](graph.model)
    return Graph(model=embed_onnx_metadata(model, metadata), metadata=metadata, notes=())


def prepared_graph(
    graph: Graph, calibration: Batches, options: Int8Options, reporter: Reporter
) -> Prepared:
    """Calibrate the deploy graph: everything that int8 takes time for."""
    with reporter.shares("quantize") as report_progress:
        return prepare(
            graph.model,
            calibration,
            Int8Settings(**asdict(options)),
            preprocessing=graph.metadata.preprocessing,
            progress=report_progress,
        )


def quantized_graph(
    graph: Graph,
    prepared: Prepared,
    calibration: ImageSet,
    keep_float: Collection[str] = (),
) -> Graph:
    """Write the int8 graph, but for the layers ``keep_float``; it takes raw uint8 NHWC pixels.

    Activations are written as uint8, which ONNX Runtime has fast kernels for on every processor;
    lowering shifts them to TFLite's int8, which changes no real value.
    """
    qdq, settings = prepared.qdq(keep_float), prepared.settings
    metadata = replace(
        graph.metadata,
        input=InputSpec(layout="NHWC", dtype="uint8", normalized=False),
        precision="int8",
        quantization=QuantizationInfo(
            ranges=settings.ranges,
            calibration_images=len(calibration),
            output_type=settings.output_type,
            per_channel=settings.per_channel,
            equalized=settings.equalize,
            bias_correction=settings.bias_correction,
            rounding=prepared.rounding,
            float_layers=tuple(name for name in prepared.layers if name in keep_float),
            outputs=integer_outputs(qdq),
        ),
    )
    return Graph(model=embed_onnx_metadata(qdq, metadata), metadata=metadata, notes=prepared.notes)
