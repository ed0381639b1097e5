"""A network that is not the one its weights were trained as is told by where its statistics break.

The small network's statistics are measured on drawn images, as training would leave them; then the
network is changed, or the images are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from ghostedge_convert.export import export_onnx
from ghostedge_convert.statistics.measure import NormStatistics, measure_norms
from ghostedge_convert.statistics.network import LEAST_FAR, judge_network, least_step

SIDE = 24


class Block(nn.Module):
    """A convolution, batch norm and activation beside an identity shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.shortcut = True

    def forward(self, x):
        y = torch.relu(self.norm(self.conv(x)))
        return x + y if self.shortcut else y


class Chain(nn.Module):
    """A stem and five blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.blocks = nn.Sequential(*(Block(32) for _ in range(5)))
        self.dense = nn.Linear(32, 4)

    def forward(self, x):
        return self.dense(self.blocks(self.norm(self.stem(x))).mean((2, 3)))


def _images(count: int, seed: int) -> np.ndarray:
    """Blurred noise of varied brightness, float32 (count, 3, SIDE, SIDE)."""
    random = np.random.default_rng(seed)
    coarse = random.normal(size=(count, 3, SIDE // 4, SIDE // 4))
    images = np.kron(coarse, np.ones((1, 1, 4, 4))) + random.normal(0, 0.3, (count, 3, 1, 1))
    return images.astype(np.float32)


def _remembering() -> Chain:
    """The network, with the statistics that training on such images leaves."""
    torch.manual_seed(0)
    network = Chain()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            nn.init.uniform_(module.weight, 1, 3)
            nn.init.normal_(module.bias, 0, 0.5)
    with torch.no_grad():
        network.train()(torch.from_numpy(_images(512, seed=1)))
    return network.eval()


def _without_shortcuts(network: Chain) -> None:
    for block in network.blocks:
        block.shortcut = False


def _of_epsilon(network: Chain) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3


def _seen(network: nn.Module, images: np.ndarray) -> NormStatistics:
    model: onnx.ModelProto = export_onnx(network, input_size=(SIDE, SIDE), batch=16)
    statistics = measure_norms(model, [images])
    assert statistics is not None
    return statistics


@pytest.fixture(scope="module")
def fitting() -> NormStatistics:
    return _seen(_remembering(), _images(128, seed=2))


def _drawn(statistics: NormStatistics, count: int, seed: int) -> NormStatistics:
    """Of some of the images."""
    chosen = np.random.default_rng(seed).choice(statistics.images, count, replace=False)
    layers = tuple(
        replace(layer, mean=layer.mean[chosen], square=layer.square[chosen])
        for layer in statistics.layers
    )
    return NormStatistics(layers, count)


@pytest.mark.parametrize("count", [16, 32, 64])
def test_the_network_that_was_trained_fits_whatever_images_are_drawn(fitting, count):
    verdicts = [judge_network(_drawn(fitting, count, seed)) for seed in range(20)]
    assert {verdict.verdict for verdict in verdicts} == {"fits"}
    assert {verdict.begins for verdict in verdicts} == {None}


def test_another_network_is_told_and_where_it_begins():
    network = _remembering()
    _without_shortcuts(network)
    statistics = _seen(network, _images(64, seed=2))
    for seed in range(10):
        verdict = judge_network(_drawn(statistics, 32, seed))
        assert verdict.verdict == "wrong"
        # The first block's batch norm reads the stem's, which is as it was.
        assert verdict.begins == "blocks.1.norm/BatchNormalization"
        assert verdict.step >= least_step(32)
        assert verdict.divergences[verdict.begins] >= LEAST_FAR
        assert f"{verdict.begins} does not" in verdict.evidence


@pytest.mark.parametrize(("images", "step"), [(8, 8), (16, 8), (32, 10), (128, 20)])
def test_the_step_that_counts_grows_with_the_root_of_the_number_of_images(images, step):
    assert least_step(images) == pytest.approx(step)


def test_another_epsilon_beside_larger_variances_is_no_other_network():
    network = _remembering()
    _of_epsilon(network)
    assert judge_network(_seen(network, _images(64, seed=2))).verdict == "fits"


def test_where_the_first_layer_does_not_fit_the_network_is_not_judged():
    verdict = judge_network(_seen(_remembering(), _images(64, seed=2) * 3 + 2))
    assert verdict.verdict == "untold"
    assert verdict.begins is None
    assert "until the preprocessing fits" in verdict.evidence


def test_a_drift_from_layer_to_layer_may_be_the_images_or_the_network(fitting):
    layers = tuple(
        replace(layer, running_mean=layer.running_mean + 0.14 * depth * np.sqrt(layer.running_var))
        for depth, layer in enumerate(fitting.layers)
    )
    verdict = judge_network(NormStatistics(layers, fitting.images))
    assert verdict.verdict == "unclear"
    assert verdict.begins is None
    assert "unlike those of training, or" in verdict.evidence


def test_few_images_are_too_few_to_judge_by(fitting):
    verdict = judge_network(_drawn(fitting, 7, seed=0))
    assert verdict.verdict == "untold"
    assert verdict.evidence.startswith("7 images")


def test_of_an_infinite_activation_the_verdict_is_finite(fitting):
    broken = replace(fitting.layers[3], mean=fitting.layers[3].mean * np.inf)
    layers = (*fitting.layers[:3], broken, *fitting.layers[4:])
    assert np.isfinite([*judge_network(NormStatistics(layers, 128)).divergences.values()]).all()


def test_a_network_that_answers_nothing_finite_does_not_fit(fitting):
    broken = [replace(layer, mean=layer.mean * np.nan) for layer in fitting.layers]
    assert judge_network(NormStatistics(tuple(broken), 128)).verdict == "untold"
    later = judge_network(NormStatistics((*fitting.layers[:1], *broken[1:]), 128))
    assert (later.verdict, later.begins) == ("wrong", fitting.layers[1].name)


def test_a_trained_network_fits_and_without_its_gates_does_not(trained_module, trained_pixels):
    model = export_onnx(trained_module, input_size=(64, 64))
    statistics = measure_norms(model, [trained_pixels[::6][:64]])
    assert statistics is not None
    assert judge_network(statistics).verdict == "fits"
    gates = {node.output[0] for node in model.graph.node if node.op_type == "HardSigmoid"}
    assert len(gates) == 7
    for node in model.graph.node:
        if node.op_type == "Mul" and gates & set(node.input):
            node.op_type = "Identity"
            node.input[:] = [name for name in node.input if name not in gates]
    changed = measure_norms(model, [trained_pixels[::6][:64]])
    assert changed is not None
    verdict = judge_network(changed)
    assert verdict.verdict == "wrong"
    assert verdict.begins == "blocks.3.0.ghost2.primary_conv.1/BatchNormalization"
