"""Where does an int8 file lose accuracy? Needs the ``convert`` extra.

The measuring is ``ghostedge_quantize.analyse``; here files and folders become what it takes, and
its findings become text. Images are prepared as the file's metadata says; a file of another maker
is given the float model's, or the ImageNet defaults, which the report then says. The text names the
worst layers first, then lists all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from rich.table import Table

from ghostedge.console import Reporter
from ghostedge.conversion.images import calibration_set
from ghostedge.formats.format import image_input
from ghostedge.formats.onnx import onnx_input, parse_onnx
from ghostedge.show.columns import LEFT, RIGHT, Column, draw
from ghostedge.show.words import decibel_words
from ghostedge_convert import with_joined_modules
from ghostedge_quantize import analyse
from ghostedge_quantize.analysis.findings import Analysis, Culprit, LayerAnalysis
from ghostedge_runtime.errors import InputError, ModelFileError
from ghostedge_runtime.inputs import ImageInput
from ghostedge_runtime.metadata import METADATA_KEY, ModelMetadata

_INT8_SUFFIX = "_int8"
_BAR = 16
_PARTS = {
    "file": "the float weights that the file holds",
    "float model": "the float model, its channels rescaled to fit",
    "rounding step": "their rounding step",
}


@dataclass(frozen=True)
class QuantizationReport:
    """An analysis and what it was made with.

    Attributes:
        file: The QDQ model.
        calib: The folder of images.
        float_model: The float model that its weights were compared with, None without.
        notes: What was assumed, a sentence each.
        analysis: The findings.
    """

    file: str
    calib: str
    float_model: str | None
    notes: tuple[str, ...]
    analysis: Analysis


@dataclass(frozen=True)
class _OnnxFile:
    path: Path
    model: onnx.ModelProto
    metadata: ModelMetadata | None


def inspect_quantization(
    path: Path, calib: Path | None, *, images: int, float_path: Path | None, reporter: Reporter
) -> QuantizationReport:
    """Measure a QDQ ``.onnx`` file layer by layer.

    Args:
        path: The file.
        calib: A folder of images, at any depth.
        images: Use at most so many, spread evenly over the folder.
        float_path: The float model it was made from; by default ``NAME.onnx`` beside
            ``NAME_int8.onnx``, if its metadata names the same weights.
        reporter: Is told how far the measuring is.

    Raises:
        InputError: The file is no QDQ model, or the images or the float model do not fit it.
    """
    if calib is None:
        raise InputError(
            "measuring the quantization needs images",
            where="--quantization",
            remedy="pass --calib FOLDER with typical images; no labels are needed",
        )
    quantized = _read(path)
    chosen = calibration_set(calib, images)
    original = _float_model(quantized, float_path)
    encode, notes = _image_input(quantized, original)
    if original is None:
        notes += (
            "the float weights are not at hand (--float), so their error is taken as uniform "
            "within a rounding step",
        )
    quantization = quantized.metadata.quantization if quantized.metadata else None
    try:
        with reporter.counted("measure", len(chosen)) as progress:
            analysis = analyse(
                quantized.model,
                (np.asarray(encode(source)[0]) for source in chosen.sources),
                float_model=None if original is None else with_joined_modules(original.model),
                bias_corrected=quantization is not None and quantization.bias_correction != "none",
                progress=progress,
            )
    except ModelFileError as error:
        # The analysis is given a graph and knows no file.
        error.where = f"{path}: {error.where}" if error.where else str(path)
        raise
    name = None if original is None else str(original.path)
    return QuantizationReport(str(path), str(calib), name, notes, analysis)


def _read(path: Path) -> _OnnxFile:
    if not path.is_file():
        raise ModelFileError(
            "there is no such file", where=path, remedy="give the path of a QDQ .onnx file"
        )
    if path.suffix.lower() != ".onnx":
        raise ModelFileError(
            "the quantization of an .onnx file alone can be measured",
            where=path,
            remedy="give the NAME_int8.onnx that `ghostedge convert --int8` wrote beside the "
            ".tflite: both hold the same numbers",
        )
    model, _ = parse_onnx(path.read_bytes(), path)
    document = next((p.value for p in model.metadata_props if p.key == METADATA_KEY), None)
    metadata = None if document is None else ModelMetadata.from_json(document, where=str(path))
    return _OnnxFile(path, model, metadata)


def _float_model(quantized: _OnnxFile, stated: Path | None) -> _OnnxFile | None:
    """The float model that was given, or the one beside the file if it is of the same weights."""
    if stated is not None:
        return _read(stated)
    path, source = quantized.path, quantized.metadata.source if quantized.metadata else None
    beside = path.with_name(path.stem.removesuffix(_INT8_SUFFIX) + path.suffix)
    if source is None or beside == path or not beside.is_file():
        return None
    original = _read(beside)
    same = original.metadata is not None and original.metadata.source == source
    return original if same else None


def _image_input(
    quantized: _OnnxFile, original: _OnnxFile | None
) -> tuple[ImageInput, tuple[str, ...]]:
    """What makes the file's input of an image, and what had to be assumed for it."""
    tensor = onnx_input(quantized.model, quantized.path)
    metadata = None if original is None else original.metadata
    preprocessing = None if metadata is None else metadata.preprocessing
    origin = None if original is None else original.path
    _, notes, encode = image_input(
        quantized.metadata, tensor, quantized.path, preprocessing, origin
    )
    return encode, notes


def summary_lines(report: QuantizationReport) -> Iterator[str]:
    """The whole, what was assumed, and the worst layers with cause and remedy."""
    analysis = report.analysis
    total = analysis.total
    yield (
        f"{Path(report.file).name} on {analysis.images} images of {report.calib}: output "
        f"{decibel_words(total.sqnr_db)} above its noise, {1 - total.changed:.1%} same top-1 as "
        "float"
    )
    yield f"weights measured against {', '.join(sources(analysis)) or 'nothing: none are in int8'}"
    for note in report.notes:
        yield f"note: {note}"
    shares = {layer.name: layer for layer in analysis.layers}
    for rank, culprit in enumerate(analysis.worst, 1):
        layer = shares[culprit.name]
        yield ""
        yield (
            f"{rank}. {culprit.name} ({layer.op}): {layer.share:.1%} of the output's noise"
            f"{_parts(culprit)}"
        )
        yield f"   {culprit.cause}"
        yield f"   → {culprit.remedy}"


def sources(analysis: Analysis) -> list[str]:
    """What the weights' error was measured against, in words, each once."""
    kinds = dict.fromkeys(layer.weights.source for layer in analysis.layers if layer.weights)
    return [_PARTS[kind] for kind in kinds]


def layer_table(report: QuantizationReport) -> Table:
    """A row per layer in graph order; decibels, and a bar of its share of the output's noise."""
    layers = report.analysis.layers
    largest = max((layer.share for layer in layers), default=0.0)
    bar = Column[LayerAnalysis](
        "", LEFT, lambda layer: "█" * round(_BAR * layer.share / largest) if largest else ""
    )
    worst = {culprit.name for culprit in report.analysis.worst}
    return draw(
        (*_LAYERS, bar),
        layers,
        keep_empty=True,
        style=lambda layer: "bold red" if layer.name in worst else None,
    )


def legend() -> str:
    """What the columns of ``layer_table`` are."""
    return (
        "output dB: signal over the error of its own codes; in int8: the same in the fully "
        "quantized graph; codes: those that occur; weights dB: likewise of the weights; alone dB: "
        "the model's output over the change that this layer alone makes; share: of the sum of "
        "these changes; 6 dB are one bit"
    )


def _parts(culprit: Culprit) -> str:
    """How much of it is the weights', where a layer has both."""
    if culprit.weights is None or culprit.activation is None:
        return ""
    both = culprit.weights.mse + culprit.activation.mse
    share = culprit.weights.mse / both if both else 0.0
    return f", {share:.0%} of that from its weights, {1 - share:.0%} from its output's codes"


def _decibels(value: float | None) -> str:
    return decibel_words(value, "")


_LAYERS: tuple[Column[LayerAnalysis], ...] = (
    Column("layer", LEFT, lambda layer: layer.name),
    Column("op", LEFT, lambda layer: layer.op),
    Column(
        "output dB",
        RIGHT,
        lambda layer: _decibels(layer.activation.sqnr_db) if layer.activation else "float",
    ),
    Column(
        "in int8",
        RIGHT,
        lambda layer: layer.activation and _decibels(layer.activation.accumulated_db),
    ),
    Column(
        "clipped",
        RIGHT,
        lambda layer: layer.activation and layer.activation.clipped,
        "{:.2%}".format,
    ),
    Column("codes", RIGHT, lambda layer: layer.activation and layer.activation.used),
    Column("weights dB", RIGHT, lambda layer: layer.weights and _decibels(layer.weights.sqnr_db)),
    Column("alone dB", RIGHT, lambda layer: _decibels(layer.effect.sqnr_db)),
    Column("share", RIGHT, lambda layer: layer.share, "{:.1%}".format),
)
