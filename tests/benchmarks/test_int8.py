"""What the int8 benchmarks rest on: that a hostile checkpoint computes what the kind one does, and
that agreement, drop and signal-to-noise are counted right."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ghostedge_convert.architectures.ghostnet import GhostNet

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def support(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Modules of ``benchmarks/support`` by name, as the scripts import them."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return lambda name: importlib.import_module(f"support.{name}")


@pytest.fixture(scope="module")
def network() -> GhostNet:
    """A small GhostNet whose batch norms have seen images, in float64."""
    torch.manual_seed(0)
    module = GhostNet(width=0.25, num_classes=7).double().train()
    with torch.no_grad():
        module(torch.randn(8, 3, 64, 64, dtype=torch.float64))
    return module.eval()


def _logits(module: GhostNet, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    images = torch.randn(4, 3, 64, 64, dtype=torch.float64, generator=torch.manual_seed(1))
    copy = GhostNet(width=0.25, num_classes=7).double().eval()
    copy.load_state_dict(weights)
    with torch.no_grad():
        logits: torch.Tensor = copy(images)
    return logits


@pytest.mark.parametrize("spread", [8, 64])
def test_a_rescaled_network_computes_the_same_function(support, network, spread):
    weights = network.state_dict()
    changed = support("hostile").rescaled(weights, spread, np.random.default_rng(0))
    before, after = _logits(network, weights), _logits(network, changed)
    assert before.std() > 1e-3  # logits that could differ
    torch.testing.assert_close(after, before, rtol=1e-10, atol=1e-10)


def test_every_first_ghost_module_is_rescaled_within_the_spread(support, network):
    weights = network.state_dict()
    changed = support("hostile").rescaled(weights, 64, np.random.default_rng(0))
    keys = [key for key in weights if key.endswith("ghost1.primary_conv.1.weight")]
    assert len(keys) == 16
    for key in keys:
        factors = changed[key] / weights[key]
        assert 1 / 64 <= factors.min() < 1 < factors.max() <= 64
        variance = key.replace("weight", "running_var")
        assert torch.equal(changed[variance], weights[variance])


def test_the_weights_that_come_in_are_left_alone(support, network):
    weights = network.state_dict()
    kept = {key: tensor.clone() for key, tensor in weights.items()}
    support("hostile").rescaled(weights, 8, np.random.default_rng(0))
    assert all(torch.equal(weights[key], kept[key]) for key in kept)


def test_a_score_counts_labels_agreement_and_noise(support):
    reference = np.array([[3, 0], [0, 4], [5, 0], [0, 5]], np.float32)
    logits = reference.copy()
    logits[0] = [0, 3]
    labels = np.array([0, 1, 1, 1])
    found = support("scoring").score(logits, reference, labels)
    assert (found.top1_pct, found.drop_points, found.agreement_pct) == (50.0, 25.0, 75.0)
    assert found.sqnr_db == round(10 * np.log10(75 / 18), 2)


def test_a_file_that_is_the_float_network_has_no_noise_to_speak_of(support):
    reference = np.array([[3, 0], [0, 4]], np.float32)
    found = support("scoring").score(reference, reference, np.array([0, 1]))
    assert (found.agreement_pct, found.drop_points, found.sqnr_db) == (100.0, 0.0, None)


def test_expected_agreement_holds_every_margin_against_the_noise_of_near_ties(support):
    scoring = support("scoring")
    reference = np.stack([np.linspace(0.1, 2.0, 20), np.zeros(20)], axis=1).astype(np.float32)
    # The two least decided images are moved by 0.25, the one apart, the other together.
    logits = reference.copy()
    logits[0, 0] += 0.25
    logits[1, 0] -= 0.25
    # Margins of 0.1 and 0.2 fall to such noise, one time in two; none of the other 18 does.
    assert scoring.expected_agreement(logits, reference) == pytest.approx(1 - 2 / 20 / 2)
    assert scoring.expected_agreement(reference, reference) == 1.0
