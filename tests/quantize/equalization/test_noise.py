"""The noise terms: their gradients against finite differences, their values against rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge_quantize.equalization.noise import (
    ORDER,
    ActivationNoise,
    ChannelWeightNoise,
    TensorWeightNoise,
    Term,
)

_CLASSES = 6
_KINDS = ("activation", "channel", "tensor")


def _term(kind: str, seed: int, *, flat: bool = False) -> Term:
    """A term of 2 groups of 3 outputs and 2 inputs; flat: all that it holds is 1."""
    random = np.random.default_rng(seed)

    def values(*shape: int) -> np.ndarray:
        return np.ones(shape) if flat else random.uniform(0.2, 2, shape)

    inputs = random.integers(0, _CLASSES, (2, 2))
    outputs = random.integers(0, _CLASSES, (2, 3))
    if kind == "activation":
        classes = random.integers(0, _CLASSES, 8)
        starts = np.array([0, 1, 5])  # three activations, of 1, 4 and 3 channels
        low = values(8) * (seed % 2)
        return ActivationNoise(classes, values(8), low, values(8), starts)
    magnitude, power, effect = values(2, 3, 2) ** ORDER, values(2, 2), values(2, 3)
    if kind == "channel":
        return ChannelWeightNoise(inputs, magnitude, power, effect)
    return TensorWeightNoise(inputs, outputs, magnitude, power, effect)


@pytest.mark.parametrize("kind", _KINDS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_gradients_are_those_of_finite_differences(kind: str, seed: int) -> None:
    term = _term(kind, seed)
    logs = np.random.default_rng(seed + 1).uniform(-1.5, 1.5, _CLASSES)
    gradient, ignored = np.zeros(_CLASSES), np.zeros(_CLASSES)
    value = term.add(np.exp(logs), gradient)
    for index in range(_CLASSES):
        step = np.eye(_CLASSES)[index] * 1e-5
        rise = term.add(np.exp(logs + step), ignored) - term.add(np.exp(logs - step), ignored)
        assert gradient[index] == pytest.approx(rise / 2e-5, rel=1e-4, abs=1e-6 * value)


@pytest.mark.parametrize("kind", _KINDS)
def test_gradients_are_added_to_what_is_there(kind: str) -> None:
    term, scales = _term(kind, 5), np.linspace(0.5, 2, _CLASSES)
    alone, more = np.zeros(_CLASSES), np.full(_CLASSES, 100.0)
    term.add(scales, alone)
    term.add(scales, more)
    assert np.abs(alone).max() > 0
    np.testing.assert_allclose(more - 100, alone, atol=1e-10)


@pytest.mark.parametrize("kind", _KINDS)
def test_one_factor_for_all_changes_nothing(kind: str) -> None:
    """Scaling a whole tensor scales its step with it."""
    term, scales = _term(kind, 7), np.linspace(0.5, 2, _CLASSES)
    gradient = np.zeros(_CLASSES)
    value = term.add(scales, gradient)
    assert term.add(scales * 17, np.zeros(_CLASSES)) == pytest.approx(value, rel=1e-9)
    assert abs(gradient.sum()) < 1e-9 * np.abs(gradient).sum()


def test_an_activation_is_best_where_its_channels_are_even() -> None:
    term = ActivationNoise(
        classes=np.array([1, 2]),
        high=np.array([1.0, 100.0]),
        low=np.zeros(2),
        effect=np.array([1.0, 1e-4]),
        starts=np.array([0]),
    )
    even = term.add(np.array([1.0, 1.0, 100.0]), np.zeros(3))
    uneven = term.add(np.ones(3), np.zeros(3))
    assert even < uneven / 1000


@pytest.mark.parametrize("seed", range(3))
def test_an_activations_noise_is_that_of_rounding(seed: int) -> None:
    """Against values that are rounded; the smooth maximum may be a fourth too large."""
    random = np.random.default_rng(seed)
    high = np.array([1.0, 0.3, 0.1, 0.03])
    values = random.uniform(0, 1, (4, 20_000)) * high[:, None]
    step = values.max() / 255
    error = np.square(np.rint(values / step) * step - values).mean(axis=1)
    effect = random.uniform(0.5, 2, 4)
    term = ActivationNoise(np.arange(4), high, np.zeros(4), effect, np.array([0]))
    predicted = term.add(np.ones(4), np.zeros(4))
    assert predicted == pytest.approx(float((effect * error).sum()), rel=0.25)


def test_weights_noise_is_that_of_rounding_them() -> None:
    """Within 2 dB, by which the smooth maximum of a row may be too large."""
    random = np.random.default_rng(0)
    weight = random.normal(size=(60, 80)) * random.uniform(0.1, 3, (60, 1))
    power = random.uniform(0.5, 2, 80)
    largest = np.abs(weight).max(axis=1, keepdims=True)
    inputs, magnitude = np.zeros((1, 80), int), (np.abs(weight) ** ORDER)[None]
    effect, none = np.ones((1, 60)), np.zeros(1)

    def rounded(step: np.ndarray) -> float:
        error = np.rint(weight / step) * step - weight
        return float((np.square(error) * power).sum())

    channel = ChannelWeightNoise(inputs, magnitude, power[None], effect).add(np.ones(1), none)
    tensor = TensorWeightNoise(inputs, np.zeros((1, 60), int), magnitude, power[None], effect).add(
        np.ones(1), none
    )
    assert abs(10 * np.log10(channel / rounded(largest / 127))) < 2
    assert abs(10 * np.log10(tensor / rounded(largest.max() / 127))) < 2
    assert tensor > 2 * channel


@pytest.mark.parametrize("kind", _KINDS)
def test_tensors_of_zeros_make_no_noise_and_no_nan(kind: str) -> None:
    term, gradient = _term(kind, 2), np.zeros(_CLASSES)
    if isinstance(term, ActivationNoise):
        term = replace(term, high=np.zeros(8), low=np.zeros(8))
    elif isinstance(term, ChannelWeightNoise | TensorWeightNoise):
        term = replace(term, magnitude=np.zeros((2, 3, 2)))
    assert term.add(np.ones(_CLASSES), gradient) < 1e-20
    assert np.isfinite(gradient).all()


def test_activations_together_make_the_noise_of_each_alone() -> None:
    both = _term("activation", 11)
    assert isinstance(both, ActivationNoise)
    scales, ends = np.linspace(0.5, 2, _CLASSES), [*both.starts[1:], len(both.classes)]
    alone = [
        replace(
            both,
            **{
                name: getattr(both, name)[first:last]
                for name in ("classes", "high", "low", "effect")
            },
            starts=np.array([0]),
        )
        for first, last in zip(both.starts, ends, strict=True)
    ]
    gradient, summed = np.zeros(_CLASSES), np.zeros(_CLASSES)
    each = [term.add(scales, summed) for term in alone]
    np.testing.assert_allclose(both.each(scales), each)
    assert both.add(scales, gradient) == pytest.approx(sum(each))
    np.testing.assert_allclose(gradient, summed)
    factors = np.array([0.0, 1.0, 3.0])
    np.testing.assert_allclose(both.weighed(factors).each(scales), each * factors)


def test_an_activation_without_values_makes_no_noise() -> None:
    term = ActivationNoise(
        np.arange(4), np.array([0, 0, 1, 2.0]), np.zeros(4), np.ones(4), np.array([0, 2])
    )
    gradient = np.zeros(4)
    term.add(np.ones(4), gradient)
    assert term.each(np.ones(4))[0] == 0
    assert gradient[:2].tolist() == [0, 0]
