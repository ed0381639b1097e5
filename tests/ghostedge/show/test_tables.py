"""What a person reads is what the typed results say."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ghostedge.formats.format import Inspection
from ghostedge.records.manifest import (
    Artefact,
    GuardCheck,
    GuardedLayer,
    GuardReport,
    Manifest,
    Parity,
    manifest_of,
)
from ghostedge.show.tables import conversion_table, guard_tables, inspection_tables
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
    path = Path(__file__).parents[1] / "records" / "manifest_v1.json"
    manifest = manifest_of(json.loads(path.read_text()), path)
    assert "zipped" not in [column.header for column in conversion_table(manifest).columns]
    first, *others = manifest.artefacts
    zipped = replace(manifest, artefacts=(replace(first, zipped_bytes=1_234_000), *others))
    column = next(c for c in conversion_table(zipped).columns if c.header == "zipped")
    assert list(column.cells) == ["1.23 MB", "–", "–", "–"]


REPORT = GuardReport(
    kind="max_drop",
    limit=0.5,
    budget="a drop of at most 0.5 points",
    image_source="5000 evaluation images",
    float_top1_pct=83.3,
    met=False,
    stopped="no choice holds",
    loss_points=0.75,
    layers=(
        GuardedLayer("worst", -12.5, 1.25, left_float=True),
        GuardedLayer("unmeasured", None, 2.0, left_float=True),
        GuardedLayer("good", -60.0, 3.0, left_float=False),
    ),
    layer_count=3,
    checks=(
        GuardCheck("int8", 0, 3.5, 256, holds=False),
        GuardCheck("ranking", 2, 0.75, 5000, holds=False),
        GuardCheck("ranking", 1, 2.25, 1024, holds=False),
    ),
    resumed=0,
    seconds=61.0,
)


def shown(report: GuardReport) -> list[str]:
    written = io.StringIO()
    console = Console(file=written, width=120)
    for each in guard_tables(report):
        console.print(each)
    return written.getvalue().splitlines()


def test_the_curve_rises_from_none_to_most_layers_float() -> None:
    lines = shown(REPORT)
    assert lines[0] == "guard: a drop of at most 0.5 points; 5000 evaluation images"
    rows = [line.split("│")[1:4] for line in lines if " of 3" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["0 of 3", "3.50", "256"],
        ["1 of 3", "2.25", "1,024"],
        ["2 of 3", "0.75", "5,000"],
    ]


def test_only_layers_left_float_are_listed_with_their_cost() -> None:
    text = "\n".join(shown(REPORT))
    assert "worst" in text
    assert "-12.5 dB" in text
    assert "unmeasured" in text
    assert "good" not in text


def test_agreement_is_shown_as_such() -> None:
    text = "\n".join(shown(replace(REPORT, kind="min_agreement")))
    assert "agreement, %" in text
    assert "96.50" in text


def test_full_int8_needs_no_table() -> None:
    assert shown(replace(REPORT, stopped="int8 holds", met=True)) == []


@pytest.mark.parametrize(
    ("stopped", "said"),
    [("time is up", "--guard-minutes gives it longer"), ("no choice holds", "no choice of layers")],
)
def test_a_missed_budget_is_one_sentence_with_figures_and_the_reason(
    stopped: str, said: str
) -> None:
    (sentence,) = replace(REPORT, stopped=stopped).missed()
    assert sentence.startswith("int8: drop 0.75 points with 2 of 3 layers float")
    assert said in sentence
    assert replace(REPORT, met=True).missed() == ()
