"""What a person reads is what the typed results say."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from ghostedge.inspection.report import Inspection
from ghostedge.tables import inspection_tables
from ghostedge_runtime.metadata import InputSpec, ModelMetadata, Preprocessing, QuantizationInfo

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
