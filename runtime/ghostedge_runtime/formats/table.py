"""The table of formats: what each kind of model file is, and what runs it.

A new format is a row in `FORMATS`, a row in `ENGINES` if nothing here runs it yet, and the modules
that the rows name. What GhostEdge writes and reads besides running stands in the table of
`ghostedge.formats.table`, a row for each format too.

Functions are named by strings, ``module:function`` with the module relative to
``ghostedge_runtime``, so that the table imports no interpreter; `resolve` imports one.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

PrecisionMode = Literal["default", "fp16"]
"""As the file says, or floats computed in half precision."""


@dataclass(frozen=True)
class Engine:
    """A library that runs model files, with one choice of its kernels.

    Attributes:
        name: Its name on the command line and in records.
        title: Its name in tables.
        library: What is missing where it cannot be imported.
        distributions: Any one of them provides it.
        extra: The extra of ``ghostedge-runtime`` that installs it; None where the base install
            does.
        bits: Widths of a process's addresses that there are builds for.
        opens: By precision mode, a function that imports the library and returns an `Opens`.
        times_ops: ``(path, case, progress) -> list[OpTime]``, times every operator by itself.
        fixed_precision: Why half precision cannot be forced on it, where it cannot.
        changed_by_fp16: ``(data, path) -> bool``, whether half precision makes a difference to a
            file; None where it cannot be forced.
    """

    name: str
    title: str
    library: str
    distributions: tuple[str, ...]
    extra: str | None
    bits: tuple[int, ...]
    opens: Mapping[PrecisionMode, str]
    times_ops: str
    fixed_precision: str | None = None
    changed_by_fp16: str | None = None


@dataclass(frozen=True)
class Format:
    """A kind of model file.

    Attributes:
        name: Its name in records, such as ``tflite``.
        suffix: Of its files, with the dot.
        article: Before the suffix in a sentence.
        engines: What runs it, by name; the first is taken where none is named.
        mark: Place and bytes that tell such a file whatever its suffix; None: the suffix alone.
        companions: ``(data, path) -> dict[str, Path]``, the files beside it that hold its weights;
            None where there are none.
    """

    name: str
    suffix: str
    article: str
    engines: tuple[str, ...]
    mark: tuple[int, bytes] | None = None
    companions: str | None = None

    def is_marked(self, data: bytes) -> bool:
        """Whether a file's bytes carry the format's mark."""
        if self.mark is None:
            return False
        place, mark = self.mark
        return data[place : place + len(mark)] == mark


_LITERT = ("ai-edge-litert", "tflite-runtime", "tensorflow")

ENGINES: Mapping[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine(
            name="litert",
            title="LiteRT with XNNPACK",
            library="TFLite interpreter",
            distributions=_LITERT,
            extra=None,
            bits=(32, 64),
            opens={
                "default": "formats.tflite.interpreter:optimized_kernels",
                "fp16": "formats.tflite.compiled:half_precision",
            },
            times_ops="formats.tflite.op_times:time_tflite_ops",
            changed_by_fp16="formats.tflite.half_precision:changes",
        ),
        Engine(
            name="litert-reference",
            title="LiteRT reference kernels",
            library="TFLite interpreter",
            distributions=_LITERT,
            extra=None,
            bits=(32, 64),
            opens={"default": "formats.tflite.interpreter:reference_kernels"},
            times_ops="formats.tflite.op_times:time_tflite_ops",
            fixed_precision="the reference kernels compute float models in 32 bits",
        ),
        Engine(
            name="onnxruntime",
            title="ONNX Runtime",
            library="onnxruntime",
            distributions=("onnxruntime",),
            extra="onnx",
            bits=(64,),
            opens={"default": "formats.onnx.session:onnx_runtime"},
            times_ops="formats.onnx.op_times:time_onnx_ops",
            fixed_precision="ONNX Runtime computes in the precision that the .onnx file says",
        ),
        Engine(
            name="openvino",
            title="OpenVINO",
            library="openvino",
            distributions=("openvino",),
            extra="openvino",
            bits=(64,),
            opens={
                "default": "formats.openvino.session:float32_kernels",
                "fp16": "formats.openvino.session:half_precision",
            },
            times_ops="formats.openvino.session:time_openvino_ops",
            changed_by_fp16="formats.openvino:changes",
        ),
    )
}

FORMATS: Mapping[str, Format] = {
    fmt.name: fmt
    for fmt in (
        Format(
            name="tflite",
            suffix=".tflite",
            article="a",
            engines=("litert", "litert-reference"),
            mark=(4, b"TFL3"),
        ),
        Format(
            name="onnx",
            suffix=".onnx",
            article="an",
            engines=("onnxruntime", "openvino"),
            companions="formats.onnx.data:data_files",
        ),
        Format(
            name="openvino",
            suffix=".xml",
            article="an",
            engines=("openvino",),
            companions="formats.openvino:weights_files",
        ),
    )
}


def format_of(path: Path, data: bytes = b"") -> Format | None:
    """The format of a model file by the mark in its bytes, else by its suffix; None for another."""
    marked = (fmt for fmt in FORMATS.values() if fmt.is_marked(data))
    suffix = path.suffix.lower()
    named = (fmt for fmt in FORMATS.values() if fmt.suffix == suffix)
    return next(marked, None) or next(named, None)


def suffixes() -> str:
    """All formats' suffixes as a phrase: ``.tflite or .onnx``."""
    *first, last = (fmt.suffix for fmt in FORMATS.values())
    return f"{', '.join(first)} or {last}"


def resolve(place: str) -> Any:
    """The function that a row names; its module is imported.

    Raises:
        MissingDependencyError: The library that the module needs is not installed.
    """
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"ghostedge_runtime.{module}"), name)
