"""The family's table says what a manifest says, and names what does not hold the budget."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("family")


def _artefact(kind: str, precision: str, top1: float, **more: Any) -> dict[str, Any]:
    return {
        "file": f"model_{precision}.{kind}",
        "format": kind,
        "precision": precision,
        "bytes": 4_210_000 if precision == "float32" else 1_470_000,
        "float_agreement_pct": None,
        "float_sqnr_db": None,
        "parity": {"agreement_pct": 100.0},
        "accuracy": {"top1_pct": top1, "images": 5000},
        "latency": {"p50_ms": {"value": 0.414 if precision == "float32" else 0.226}},
        "speed_up": None,
        **more,
    }


def _manifest(int8_top1: float, agreement: float) -> dict[str, Any]:
    int8 = {"float_agreement_pct": agreement, "float_sqnr_db": 27.04}
    return {
        "metadata": {
            "architecture": {"name": "ghostnetv2_040"},
            "preprocessing": {"input_size": [48, 48]},
        },
        "artefacts": [
            _artefact("onnx", "float32", 80.1),
            _artefact("tflite", "float32", 80.1),
            _artefact("onnx", "int8", 80.0, **int8),
            _artefact("tflite", "int8", int8_top1, **int8),
        ],
        "missed": [],
    }


def test_a_network_has_a_line_for_each_format(family: ModuleType) -> None:
    network = family._network("ghostnetv2", _manifest(80.0, 98.9))
    head, _, onnx, tflite = family._table([network]).splitlines()
    assert head.count("|") == onnx.count("|") == tflite.count("|") == 11
    cells = "80.10 | 80.00 | 0.10 | 98.90 | 27.0 | 4.21 → 1.47 | 0.41 → 0.23 |"
    assert onnx == f"| ghostnetv2_040 | 48 | onnx | {cells}"
    assert tflite == f"| ghostnetv2_040 | 48 | tflite | {cells}"
    assert family._missed(network) == []


def test_what_int8_loses_too_much_of_is_named(family: ModuleType) -> None:
    network = family._network("ghostnetv2", _manifest(79.7, 98.4))
    assert family._missed(network) == [
        "ghostnetv2, model_int8.onnx: agrees on 98.4 %, at least 98.5 %",
        "ghostnetv2, model_int8.tflite: int8 loses 0.4 points, at most 0.3",
        "ghostnetv2, model_int8.tflite: agrees on 98.4 %, at least 98.5 %",
    ]
