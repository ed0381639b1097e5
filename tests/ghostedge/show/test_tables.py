"""What a person reads is what the typed results say."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from ghostedge.formats.format import Inspection
from ghostedge.records.manifest import Artefact, Manifest, Parity, read_manifest
from ghostedge.show.tables import conversion_table, inspection_tables
from ghostedge_runtime.formats.backend import TensorInfo
from ghostedge_runtime.metadata import InputSpec, ModelMetadata, Preprocessing, QuantizationInfo
from ghostedge_runtime.record import BenchRun, Case, Estimate, MachineFacts, Result, Score, Settings

MACHINE = MachineFacts("aarch64", 4, "Debian", "Linux", "3.11")
OLDEST = {"ranges": "mse", "calibration_images": 500, "output_type": "float32"}
FULL = QuantizationInfo(
    "auto", 500, "float32", None, None, False, True, "full", "adaptive", ("/a/conv", "/b/conv")
)


def quantized_row(quantization: dict[str, Any]) -> str:
    metadata = ModelMetadata(Preprocessing(), InputSpec("NHWC", "uint8", normalized=False))
    document = asdict(metadata) | {"quantization": quantization}
    found = Inspection("m.onnx", "onnx", 1, "0", 1, 1, metadata=document)
    names, values = inspection_tables(found)[0].columns
    return str(list(values.cells)[list(names.cells).index("quantized")])


@pytest.mark.parametrize(
    ("quantization", "said"),
    [
        (OLDEST, "mse ranges, 500 images"),
        (asdict(QuantizationInfo("mse", 500, "float32")), "mse ranges, 500 images"),
        (
            asdict(FULL),
            "auto ranges, 500 images, equalized, full bias correction, adaptive rounding, "
            "one scale per weight tensor, 2 layers left float",
        ),
    ],
)
def test_inspection_says_what_was_done_for_int8(quantization: dict[str, Any], said: str) -> None:
    assert quantized_row(quantization) == said


def conversion_headings(*, accuracy: Score | None, speed_up: float | None) -> list[str]:
    signature = (TensorInfo("input", (1, 3, 64, 64), "float32"),)
    artefact = Artefact(
        file="m.onnx",
        format="onnx",
        precision="float32",
        bytes=1,
        sha256="0",
        inputs=signature,
        outputs=signature,
        parity=Parity("checkpoint", 1, "images", 0.0, 0.0, 100.0, None, "none", within_budget=True),
        accuracy=accuracy,
        latency=Result(
            Case("m.onnx", "0", 1, "onnxruntime", 1),
            p50_ms=Estimate(1.0, 0.9, 1.1),
            steady=True,
        ),
        speed_up=speed_up,
    )
    manifest = Manifest(
        folder=Path("out"),
        name="m",
        source_sha256="0",
        metadata={},
        inferred=(),
        notes=(),
        artefacts=(artefact,),
        stages=(),
        arguments={},
        versions={},
        run=BenchRun("0" * 16, "", "local", (), "", Settings(), MACHINE, (), ()),
        missed=(),
    )
    return [str(column.header) for column in conversion_table(manifest).columns]


def test_a_conversion_shows_no_column_that_no_file_has_a_value_for() -> None:
    assert conversion_headings(accuracy=None, speed_up=None) == [
        "artefact",
        "size",
        "check against its source",
        "p50",
    ]
    accuracy = Score(images=1, top1_pct=50.0, top5_pct=100.0)
    assert conversion_headings(accuracy=accuracy, speed_up=2.0)[3:] == [
        "top-1",
        "top-5",
        "p50",
        "vs float",
    ]


def test_how_large_a_file_is_zipped_is_shown_where_it_is_known() -> None:
    manifest = read_manifest(Path(__file__).parent / "records" / "manifest_v1.json")
    assert "zipped" not in [column.header for column in conversion_table(manifest).columns]
    first, *others = manifest.artefacts
    zipped = replace(manifest, artefacts=(replace(first, zipped_bytes=1_234_000), *others))
    column = next(c for c in conversion_table(zipped).columns if c.header == "zipped")
    assert list(column.cells) == ["1.23 MB", "–", "–", "–"]
