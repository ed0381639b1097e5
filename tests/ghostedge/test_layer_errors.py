"""What ``inspect --quantization`` needs to be installed, and how its findings are drawn."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from ghostedge.commands.inspect import command
from ghostedge.layer_errors import QuantizationReport, summary_lines
from ghostedge.show.quantization_plot import draw_quantization
from ghostedge_quantize.analysis.findings import (
    Activation,
    Analysis,
    Culprit,
    Effect,
    LayerAnalysis,
    Weights,
)
from ghostedge_runtime.errors import MissingDependencyError


def report() -> QuantizationReport:
    """Two layers: one without error, one that makes all of it."""
    none, all_of_it = Effect(0.0, None, 0.0), Effect(0.5, 20.0, 0.25)
    exact = Activation("a", None, None, 0.0, 0.0, 256, 3, 2)
    lossy = Activation("b", 30.5, 28.25, 0.125, 0.75, 256, 200, 90)
    weights = Weights(40.0, "rounding step", 0.0, 128, 1.0)
    layers = (
        LayerAnalysis("first", "Add", exact, None, none, 0.0),
        LayerAnalysis("second", "Conv", lossy, weights, all_of_it, 1.0),
    )
    quarter = Effect(0.1, 27.0, 0.0), Effect(0.3, 22.0, 0.25)
    worst = Culprit("second", *quarter, "it is cut off", "widen it")
    analysis = Analysis(8, False, all_of_it, layers, (worst,))
    return QuantizationReport("some_int8.onnx", "photos", None, ("assumed",), analysis)


def test_a_layer_of_any_name_is_drawn() -> None:
    found = report()
    layers = [
        replace(layer, name=name)
        for layer, name in zip(found.analysis.layers, ("$\\frac$", "\x1b[1m\ud800"), strict=True)
    ]
    odd = replace(found, file="$\\x$.onnx", analysis=replace(found.analysis, layers=tuple(layers)))
    assert draw_quantization(odd).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("package", "extra"), [("matplotlib", "report"), ("onnxruntime", "convert")]
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: str, extra: str
) -> None:
    ours = ("ghostedge.layer_errors", "ghostedge.show.quantization_plot", "ghostedge_quantize")
    for name in [*sys.modules]:
        if name.startswith((package, *ours)):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    arguments = ["--quantization", "some.onnx", "--calib", ".", "-o", str(tmp_path / "a.png")]
    with pytest.raises(MissingDependencyError, match=package) as raised:
        CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert raised.value.remedy == f"pip install 'ghostedge[{extra}]'"


def test_the_worst_layer_is_named_with_its_share_cause_and_remedy() -> None:
    lines = list(summary_lines(report()))
    assert lines[0] == (
        "some_int8.onnx on 8 images of photos: output 20.0 dB above its noise, "
        "75.0% same top-1 as float"
    )
    assert "note: assumed" in lines
    first = lines.index(
        "1. second (Conv): 100.0% of the output's noise, 25% of that from its weights, 75% from "
        "its output's codes"
    )
    assert lines[first + 1 :] == ["   it is cut off", "   → widen it"]


def test_equal_findings_draw_equal_pictures() -> None:
    one = draw_quantization(report())
    assert one.startswith(b"\x89PNG")
    assert one == draw_quantization(report())
