"""Why a layer hurts: the first cause whose condition its measurements meet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ghostedge_quantize.analysis.findings import (
    Activation,
    Effect,
    LayerAnalysis,
    Weights,
    decibels,
    explain,
)

FINE = Activation("y", 40.0, 35.0, 0.0, 0.0, 256, 250, 200)
SOUND = Weights(45.0, "file", 0.0, 120, 1.0)
WORSE, BETTER = Effect(2.0, 20.0, 0.1), Effect(1.0, 23.0, 0.05)


def layer(activation: Activation | None = FINE, weights: Weights | None = SOUND) -> LayerAnalysis:
    return LayerAnalysis("conv", "Conv", activation, weights, WORSE, 0.5)


@pytest.mark.parametrize(
    ("weights", "cause"),
    [
        (replace(SOUND, used=7), "its weights take 7 magnitudes, int8 has 128"),
        (replace(SOUND, clipped=0.125), "12.5% of its weights are clipped"),
        (replace(SOUND, spread=9.0), "the largest is 9 times the smallest"),
        (replace(SOUND, sqnr_db=20.0), "a few large weights set each channel's scale"),
        (SOUND, "rounded no worse than usual"),
    ],
)
def test_weights_that_do_more_harm_are_explained(weights: Weights, cause: str) -> None:
    words, remedy = explain(layer(weights=weights), WORSE, BETTER)
    assert cause in words
    assert remedy


@pytest.mark.parametrize(
    ("activation", "cause"),
    [
        (replace(FINE, clipping_noise=0.75), "makes 75% of its error"),
        (replace(FINE, used=64), "takes 64 of 256 codes"),
        (replace(FINE, bulk=30), "99% of its output lies within 30 of 256 codes"),
        (FINE, "what follows depends on it strongly"),
    ],
)
def test_an_output_that_does_more_harm_is_explained(activation: Activation, cause: str) -> None:
    assert cause in explain(layer(activation), BETTER, WORSE)[0]


def test_a_layer_without_weights_is_explained_by_its_output() -> None:
    assert "its output" in explain(layer(weights=None), None, WORSE)[0]


@pytest.mark.parametrize(
    ("signal", "noise", "expected"), [(100.0, 1.0, 20.0), (1.0, 0.0, None), (0.0, 1.0, 0.0)]
)
def test_decibels_compare_powers(signal: float, noise: float, expected: float | None) -> None:
    assert decibels(signal, noise) == expected
