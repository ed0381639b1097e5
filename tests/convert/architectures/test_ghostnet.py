from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge_convert.architectures.ghostnet import GhostModule, GhostNet, make_divisible


@pytest.mark.parametrize(("width", "millions"), [(0.5, 2.587292), (1.0, 5.182508), (1.3, 7.35882)])
def test_parameters_are_as_many_as_the_published_networks_have(width, millions):
    network = GhostNet(width=width)
    assert sum(p.numel() for p in network.parameters()) == round(millions * 1e6)


def test_keys_are_those_of_the_published_weights(cifar_checkpoint: Path):
    published = torch.load(cifar_checkpoint, weights_only=True)
    network = GhostNet(num_classes=10)
    assert list(network.state_dict()) == list(published)
    network.load_state_dict(published, strict=True)


def test_squeeze_and_excitation_stands_in_the_papers_seven_blocks():
    gated = {k.split(".se.")[0] for k in GhostNet(num_classes=2).state_dict() if ".se." in k}
    assert gated == {f"blocks.{b}" for b in ("3.0", "4.0", "6.3", "6.4", "7.0", "8.1", "8.3")}


def test_batch_norm_divides_by_the_upstream_epsilon():
    norms = [m for m in GhostNet().modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 80
    assert {norm.eps for norm in norms} == {1e-5}


# By the number of classes: of 400 images of CIFAR-10 (83.38 % of all 5,000), and of 396 drawn
# glyphs.
RIGHT = {10: 336, 36: 383}


def test_trained_weights_score_what_they_scored_when_trained(
    trained, trained_module, trained_pixels
):
    with torch.no_grad():
        answers = trained_module(torch.from_numpy(trained_pixels)).argmax(dim=1).numpy()
    classes = len(trained.labels)
    right = answers == np.repeat(np.arange(classes), len(answers) // classes)
    assert int(right.sum()) == RIGHT[classes]


@pytest.mark.parametrize(
    ("channels", "expected"), [(16, 16), (8, 8), (20.8, 20), (22, 24), (4.5, 8), (1, 4), (72, 72)]
)
def test_channels_round_to_multiples_of_four_but_not_far_down(channels, expected):
    assert make_divisible(channels) == expected


@settings(max_examples=6, deadline=None)
@given(width=st.floats(0.1, 2.0), num_classes=st.integers(1, 20))
def test_any_width_and_number_of_classes_gives_logits(width, num_classes):
    network = GhostNet(width=width, num_classes=num_classes).eval()
    with torch.no_grad():
        logits = network(torch.zeros(2, 3, 32, 40))
    assert logits.shape == (2, num_classes)


def test_a_ghost_module_of_odd_output_cuts_the_last_ghost_off():
    module = GhostModule(4, 7, relu=False).eval()
    with torch.no_grad():
        assert module(torch.zeros(1, 4, 5, 5)).shape == (1, 7, 5, 5)


def test_dropout_acts_in_training_alone():
    network = GhostNet(num_classes=5, width=0.5, dropout=0.9).eval()
    image = torch.ones(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(image), network(image))
