"""The model files of a conversion, two for each precision: made, written, loaded again.

What the manifest says of each file that was written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

import onnx

import ghostedge
from ghostedge.console import Reporter
from ghostedge.conversion.images import Batches, ImageSet, TrackedBatches
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.source import Loaded
from ghostedge.records.manifest import Artefact, Parity
from ghostedge_convert import embed_onnx_metadata, lower_to_tflite, rename_outputs, to_deploy_graph
from ghostedge_quantize import (
    Int8Settings,
    Prepared,
    float16_weights,
    int8_weights,
    integer_outputs,
    prepare,
)
from ghostedge_runtime import Model
from ghostedge_runtime.errors import GhostEdgeError
from ghostedge_runtime.metadata import InputSpec, ModelMetadata, Precision, QuantizationInfo
from ghostedge_runtime.record import Result, Score

SMALL_WEIGHTS: Mapping[Precision, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "float16": float16_weights,
    "dynamic": int8_weights,
}
"""Precisions that only store the weights otherwise: no images needed, computed in float32."""


@dataclass(frozen=True)
class ModelFile:
    """A file we wrote.

    Attributes:
        path: Where it is.
        format: What it is.
        precision: Of its weights and numbers.
        reference: The artefact it was made from, None for the first.
        output_orders: Where an output's axes stand in another order than in ONNX:
            ``file = onnx.transpose(order)``.
    """

    path: Path
    format: Literal["onnx", "tflite"]
    precision: Precision
    reference: str | None
    output_orders: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class FloatGraph:
    """The deploy graph and what the passes did to it."""

    model: onnx.ModelProto
    metadata: ModelMetadata
    notes: tuple[str, ...]


def deploy_graph(loaded: Loaded, options: ConvertOptions) -> FloatGraph:
    """Export the network and simplify the graph; metadata goes inside.

    Raises:
        InputError: The network cannot be exported, or ``--output-names`` does not fit it.
    """
    exported = loaded.exported or loaded.network.to_onnx(batch=options.source.batch)
    if options.source.output_names is not None:
        exported = rename_outputs(exported, options.source.output_names)
    result = to_deploy_graph(exported)
    metadata = ModelMetadata(
        preprocessing=loaded.preprocessing,
        input=InputSpec(layout="NCHW", dtype="float32", normalized=True),
        architecture=loaded.architecture,
        labels=loaded.labels,
        source=loaded.source,
        producer=f"ghostedge {ghostedge.__version__}",
        classifies=loaded.classes is not None,
        probabilities=loaded.kind.probabilities,
        binary=loaded.kind.binary,
    )
    return FloatGraph(
        model=embed_onnx_metadata(result.model, metadata),
        metadata=metadata,
        notes=tuple(f"{note.name}: {note.note}" for note in result.applied),
    )


def output_words(model: onnx.ModelProto) -> str:
    """A model's outputs for a report: ``boxes 1×240×4, scores 1×240×3``."""
    return ", ".join(
        f"{output.name} "
        + "×".join(str(size.dim_value or "?") for size in output.type.tensor_type.shape.dim)
        for output in model.graph.output
    )


def small_graph(graph: FloatGraph, precision: Precision) -> FloatGraph:
    """The deploy graph with its weights stored as ``SMALL_WEIGHTS`` has them.

    Raises:
        InputError: A weight does not fit the type.
    """
    metadata = replace(graph.metadata, precision=precision)
    model = SMALL_WEIGHTS[precision](graph.model)
    return FloatGraph(model=embed_onnx_metadata(model, metadata), metadata=metadata, notes=())


def prepared_graph(
    graph: FloatGraph, batches: Batches, options: ConvertOptions, reporter: Reporter
) -> Prepared:
    """Calibrate the deploy graph: everything that int8 takes time for."""
    return prepare(
        graph.model,
        TrackedBatches(batches, reporter),
        Int8Settings(**asdict(options.int8)),
        preprocessing=graph.metadata.preprocessing,
    )


def quantized_graph(
    graph: FloatGraph,
    prepared: Prepared,
    calibration: ImageSet,
    options: ConvertOptions,
    keep_float: Collection[str] = (),
) -> FloatGraph:
    """Write the int8 graph, but for the layers ``keep_float``; it takes raw uint8 NHWC pixels.

    Activations are written as uint8, which ONNX Runtime has fast kernels for on every processor;
    lowering shifts them to TFLite's int8, which changes no real value.
    """
    qdq = prepared.qdq(keep_float)
    metadata = replace(
        graph.metadata,
        input=InputSpec(layout="NHWC", dtype="uint8", normalized=False),
        precision="int8",
        quantization=QuantizationInfo(
            ranges=options.int8.ranges,
            calibration_images=len(calibration),
            output_type=options.int8.output_type,
            per_channel=options.int8.per_channel,
            equalized=options.int8.equalize,
            bias_correction=options.int8.bias_correction,
            rounding=options.int8.rounding,
            float_layers=tuple(name for name in prepared.layers if name in keep_float),
            outputs=integer_outputs(qdq),
        ),
    )
    return FloatGraph(
        model=embed_onnx_metadata(qdq, metadata), metadata=metadata, notes=prepared.notes
    )


def write_onnx(graph: FloatGraph, path: Path, reference: str | None) -> ModelFile:
    """Write the graph as ``.onnx``."""
    path.write_bytes(graph.model.SerializeToString(deterministic=True))
    return ModelFile(path, "onnx", graph.metadata.precision, reference)


def write_tflite(graph: FloatGraph, path: Path, reference: str) -> ModelFile:
    """Lower the graph and write it as ``.tflite``."""
    metadata = replace(graph.metadata, input=replace(graph.metadata.input, layout="NHWC"))
    lowered = lower_to_tflite(graph.model, metadata=metadata)
    path.write_bytes(lowered.data)
    return ModelFile(path, "tflite", metadata.precision, reference, lowered.output_layouts)


@contextmanager
def opened(files: Sequence[ModelFile]) -> Iterator[dict[str, Model]]:
    """The files loaded in the runtime, by file name; closed at the end."""
    with ExitStack() as stack:
        yield {f.path.name: stack.enter_context(Model(f.path)) for f in files}


T = TypeVar("T")


@dataclass(frozen=True)
class Findings:
    """What was measured of one file; see ``Artefact`` for the fields."""

    parity: Parity | None = None
    accuracy: Score | None = None
    float_agreement_pct: float | None = None
    float_sqnr_db: float | None = None


class Failures:
    """What went wrong while finished files were looked at: it is said, and costs no file."""

    def __init__(self) -> None:
        self._errors: list[Exception] = []

    def attempt(self, work: Callable[[], T]) -> T | None:
        """What ``work`` returns, None where it failed."""
        try:
            return work()
        except Exception as error:  # files that took hours are kept, whatever this is
            self._errors.append(error)
            return None

    @property
    def last(self) -> Exception | None:
        """The latest of them."""
        return self._errors[-1] if self._errors else None

    def words(self) -> tuple[str, ...]:
        """Each in a message of its own."""
        return tuple(
            str(each) if isinstance(each, GhostEdgeError) else f"{type(each).__name__}: {each}"
            for each in self._errors
        )

    def raise_faults(self) -> None:
        """Raise what is a fault of ours, once the files are in place."""
        for error in self._errors:
            if not isinstance(error, GhostEdgeError):
                raise error


def artefacts(
    files: Sequence[ModelFile],
    models: Mapping[str, Model],
    findings: Mapping[str, Findings],
    results: Sequence[Result],
) -> tuple[Artefact, ...]:
    """A record of every file.

    Args:
        files: In the order they were made.
        models: By file name.
        findings: By file name; empty where the check failed.
        results: Of timing the files, in their order; empty where that failed.
    """
    timed = dict(zip((file.path.name for file in files), results, strict=False))
    p50_ms = {name: result.p50_ms.value for name, result in timed.items() if result.p50_ms}
    originals = {file.format: file.path.name for file in files if file.precision == "float32"}
    records = []
    for file in files:
        name, original = file.path.name, originals.get(file.format)
        record = _artefact(file, models[name], findings.get(name, Findings()))
        if name in timed:
            record = replace(record, latency=_kept(timed[name], name))
        if original in p50_ms and original != name:
            record = replace(record, speed_up=p50_ms[original] / p50_ms[name])
        records.append(record)
    return tuple(records)


def _kept(result: Result, name: str) -> Result:
    """A file's result without the raw samples, under its name beside the manifest."""
    return replace(result, case=replace(result.case, model=name), rounds=())


def _artefact(file: ModelFile, model: Model, found: Findings) -> Artefact:
    data = file.path.read_bytes()
    return Artefact(
        file=file.path.name,
        format=file.format,
        precision=file.precision,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        inputs=(model.io.input,),
        outputs=model.io.outputs,
        parity=found.parity,
        float_agreement_pct=found.float_agreement_pct,
        float_sqnr_db=found.float_sqnr_db,
        accuracy=found.accuracy,
    )
