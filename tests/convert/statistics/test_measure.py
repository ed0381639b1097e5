"""The moments that reach batch norms are those that torch sees, whatever the batch and the rank."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ghostedge_convert.export import export_onnx
from ghostedge_convert.statistics.measure import WORST, NormLayer, measure_norms
from ghostedge_runtime.errors import InputError


class Small(nn.Module):
    """A convolution, a batch norm of maps and, behind pooling, one of vectors."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3, 2, 1)
        self.maps = nn.BatchNorm2d(6, eps=1e-3)
        self.vectors = nn.BatchNorm1d(6)
        self.dense = nn.Linear(6, 4)

    def forward(self, x):
        x = torch.relu(self.maps(self.conv(x)))
        return self.dense(self.vectors(x.mean((2, 3))))


def _trained(network: nn.Module) -> nn.Module:
    """Batch norms that remember something."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def _seen(network: nn.Module, x: np.ndarray) -> dict[str, np.ndarray]:
    """What torch brings each batch norm, (N, channels, places), by its path."""
    inputs = {}
    for path, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.register_forward_hook(
                lambda _, args, __, path=path: inputs.update({path: args[0]})
            )
    with torch.no_grad():
        network(torch.from_numpy(x))
    return {
        path: value.reshape(*value.shape[:2], -1).double().numpy() for path, value in inputs.items()
    }


def _dynamic(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    del copy.graph.value_info[:]
    return copy


@cache
def _network(channels: int, own: int) -> tuple[nn.Module, onnx.ModelProto]:
    network = _trained(Small(channels))
    return network, export_onnx(network, input_size=(9, 12), batch=own, in_channels=channels)


@settings(max_examples=12, deadline=None)
@given(
    channels=st.sampled_from([1, 3, 4]),
    own=st.sampled_from([1, 3, None]),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3),
)
def test_moments_are_those_that_torch_sees(channels, own, sizes):
    network, model = _network(channels, own or 1)
    x = np.random.default_rng(1).normal(1, 2, (sum(sizes), channels, 9, 12)).astype("f")
    batches = np.split(x, np.cumsum(sizes)[:-1])
    statistics = measure_norms(model if own else _dynamic(model), batches)
    assert statistics is not None
    assert statistics.images == len(x)
    assert [layer.name.split("/")[0] for layer in statistics.layers] == ["maps", "vectors"]
    assert [layer.epsilon for layer in statistics.layers] == pytest.approx([1e-3, 1e-5])
    for layer, seen in zip(statistics.layers, _seen(network, x).values(), strict=True):
        np.testing.assert_allclose(layer.mean, seen.mean(2), atol=1e-5)
        np.testing.assert_allclose(layer.square, (seen**2).mean(2), rtol=1e-4, atol=1e-6)


def test_a_batch_norm_that_remembers_nothing_is_left_out():
    network = _trained(Small(3))
    network.maps.reset_running_stats()
    model = export_onnx(network, input_size=(8, 8))
    statistics = measure_norms(model, [np.ones((2, 3, 8, 8), "f")])
    assert statistics is not None
    assert [layer.name for layer in statistics.layers] == ["vectors/BatchNormalization"]


@pytest.mark.parametrize("network", [Small(3), nn.Conv2d(3, 4, 3)], ids=["untrained", "without"])
def test_without_trained_batch_norms_there_is_nothing_to_measure(network):
    model = export_onnx(network.eval(), input_size=(8, 8))
    assert measure_norms(model, [np.ones((2, 3, 8, 8), "f")]) is None


@pytest.mark.parametrize(
    "images",
    [np.ones((1, 3, 8, 9), "f"), np.ones((1, 1, 8, 8), "f"), np.ones((3, 8, 8), "f")],
    ids=["side", "channels", "rank"],
)
def test_images_of_another_shape_are_refused_with_both_shapes(images):
    model = export_onnx(_trained(Small(3)), input_size=(8, 8))
    with pytest.raises(InputError, match=r"the network takes \[3, 8, 8\]"):
        measure_norms(model, [images])


def test_no_images_are_refused():
    model = export_onnx(_trained(Small(3)), input_size=(8, 8))
    with pytest.raises(InputError, match="no images"):
        measure_norms(model, [])


def test_the_model_itself_is_left_as_it_is():
    model = export_onnx(_trained(Small(3)), input_size=(8, 8))
    before = model.SerializeToString(deterministic=True)
    measure_norms(model, [np.ones((1, 3, 8, 8), "f")])
    assert model.SerializeToString(deterministic=True) == before


def _layer(mean: list[float], square: list[float], epsilon: float = 0.0) -> NormLayer:
    zeros, ones = np.zeros(len(mean)), np.ones(len(mean))
    return NormLayer("n", zeros, ones, epsilon, np.array([mean]), np.array([square]))


def test_a_divergence_is_half_a_symmetric_kullback_leibler_one():
    # As remembered; a standard deviation off; twice the variance.
    layer = _layer([0, 1, 0], [1, 2, 2])
    np.testing.assert_allclose(layer.channel_divergences(), [0, 0.5, 0.125])
    assert layer.divergence() == 0.125


def test_epsilon_bounds_what_a_small_variance_weighs():
    remembered = np.full(1, 1e-6)
    small = NormLayer("n", np.zeros(1), remembered, 1e-3, np.zeros((1, 1)), np.full((1, 1), 4e-6))
    assert small.divergence() < 1e-5


def test_a_dead_channel_or_an_infinite_one_counts_as_the_worst():
    layer = _layer([0, np.nan, np.inf], [0, 1, np.inf])
    assert layer.channel_divergences().tolist() == [WORST] * 3


def test_images_can_be_chosen_and_repeated():
    layer = NormLayer(
        "n", np.zeros(1), np.ones(1), 0.0, np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    )
    assert layer.divergence([0, 0]) == 0
    assert layer.divergence([1]) == 0.5
    assert layer.divergence([0, 1]) == layer.divergence()


def test_the_bundled_network_remembers_images_like_those_it_was_trained_on(
    trained_module, trained_pixels
):
    model = export_onnx(trained_module, input_size=(64, 64))
    statistics = measure_norms(model, [trained_pixels[::5][:64]])
    assert statistics is not None
    fitting = statistics.divergences()
    assert next(iter(fitting.values())) < 0.01
    assert max(fitting.values()) < 0.2
    darker = measure_norms(model, [trained_pixels[::5][:64] - 2])
    assert darker is not None
    assert darker.layers[0].divergence() > 0.5
