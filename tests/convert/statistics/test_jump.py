"""A small difference that lasts is a jump; what sets of images differ in is none.

Layers are drawn: per image and channel a mean and an energy that share the image's contrast.
"""

from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.statistics.jump import JUMP, LEAST_IMAGES, largest_jump
from ghostedge_convert.statistics.measure import NormLayer, NormStatistics

LAYERS, CHANNELS = 30, 24
APART = np.full(LAYERS, 0.01)


def _drawn(
    seed: int, images: int = 32, spread: float = 1.0, begins: int = LAYERS, contrast: float = 0.3
) -> NormStatistics:
    """Layers whose variance is ``spread`` times what they remember from ``begins`` on."""
    random = np.random.default_rng(seed)
    shared = np.exp(random.normal(0, contrast, (images, 1)) - contrast**2 / 2)
    layers = []
    for index in range(LAYERS):
        own = np.exp(random.normal(0, 0.3, (images, CHANNELS)) - 0.3**2 / 2)
        mean = random.normal(0, 0.2, (images, CHANNELS))
        energy = shared * own * (spread if index >= begins else 1.0)
        zeros, ones = np.zeros(CHANNELS), np.ones(CHANNELS)
        layers.append(NormLayer(f"bn{index}", zeros, ones, 1e-5, mean, energy))
    return NormStatistics(tuple(layers), images)


@pytest.mark.parametrize("contrast", [0.1, 0.5])
def test_sets_of_images_that_fit_have_none_whatever_their_contrast(contrast):
    jumps = [largest_jump(_drawn(seed, contrast=contrast), APART) for seed in range(40)]
    assert max(jump.factor for jump in jumps) < JUMP


@pytest.mark.parametrize("contrast", [0.1, 0.5])
def test_a_spread_off_by_a_quarter_is_one_where_it_begins(contrast):
    for seed in range(20):
        jump = largest_jump(_drawn(seed, spread=0.75, begins=12, contrast=contrast), APART)
        assert jump.factor >= JUMP
        assert abs(jump.layer - 12) <= 2


def test_a_difference_from_the_first_layer_on_is_none():
    assert largest_jump(_drawn(0, spread=0.75, begins=0), APART).factor < JUMP


def test_layers_that_the_images_do_not_settle_are_left_out():
    apart = np.where(np.arange(LAYERS) < 14, 0.01, 1.0)
    assert largest_jump(_drawn(0, spread=0.5, begins=14), apart).factor < JUMP
    assert largest_jump(_drawn(0, spread=0.5, begins=14), APART).factor > JUMP


def test_few_images_or_few_layers_are_not_judged():
    assert largest_jump(_drawn(0, images=LEAST_IMAGES - 1), APART) is None
    assert largest_jump(_drawn(0), np.where(np.arange(LAYERS) < 11, 0.01, 1.0)) is None
