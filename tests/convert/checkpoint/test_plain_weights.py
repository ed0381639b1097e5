"""What torch.nn.utils leaves of a weight becomes the weight, as torch itself computes it."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, prune

from ghostedge_convert.checkpoint.plain_weights import plain_weights, without_observers
from ghostedge_runtime.errors import CheckpointError

CLOSE = {"rtol": 1e-6, "atol": 1e-7}


def old(function, *args, **options):
    """A function of torch.nn.utils that warns of its successor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **options)


def layers() -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Conv2d(6, 8, 3, groups=2), nn.Linear(6, 5), nn.Conv1d(1, 1, 1),
            nn.ConvTranspose2d(4, 6, 2), nn.Linear(1, 4)]  # fmt: skip


def computed(layer: nn.Module) -> dict[str, torch.Tensor]:
    """The plain weights of a layer inside a network, by the layer's keys."""
    weights = {f"net.0.{key}": value for key, value in layer.state_dict().items()}
    found, _ = plain_weights({"net.1.bias": torch.ones(1), **weights}, "w.pt")
    assert found.pop("net.1.bias") == 1
    return {key.removeprefix("net.0."): value for key, value in found.items()}


def run(layer: nn.Module) -> None:
    """Once, which is when the older functions compute the weight."""
    channels = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    with torch.no_grad():
        layer.eval()(torch.zeros(2, channels, *[4] * (layer.weight.dim() - 2)))


@pytest.mark.parametrize("index", range(len(layers())))
@pytest.mark.parametrize("dim", [0, 1, "last", None])
def test_weight_norm_is_computed_over_whatever_axes_it_was_taken(index, dim) -> None:
    layer = layers()[index]
    old(nn.utils.weight_norm, layer, dim=layer.weight.dim() - 1 if dim == "last" else dim)
    with torch.no_grad():
        layer.weight_g.mul_(1.7)
    run(layer)
    found = computed(layer)
    assert set(found) == {"weight", "bias"}
    torch.testing.assert_close(found["weight"], layer.weight.detach(), **CLOSE)


@pytest.mark.parametrize("index", range(len(layers())))
@pytest.mark.parametrize("dim", [0, 1, None])
def test_the_parametrization_of_weight_norm_is_too(index, dim) -> None:
    layer = layers()[index]
    parametrizations.weight_norm(layer, dim=dim)
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(0.3)
    found = computed(layer)
    assert set(found) == {"weight", "bias"}
    torch.testing.assert_close(found["weight"], layer.weight.detach(), **CLOSE)


@pytest.mark.parametrize("index", range(len(layers())))
@pytest.mark.parametrize("wrap", [nn.utils.spectral_norm, parametrizations.spectral_norm])
def test_spectral_norm_divides_as_evaluation_mode_does(index, wrap) -> None:
    layer = layers()[index]
    old(wrap, layer)
    run(layer)
    found = computed(layer)
    assert set(found) == {"weight", "bias"}
    torch.testing.assert_close(found["weight"], layer.weight.detach(), rtol=1e-5, atol=1e-6)


def test_pruned_weights_and_biases_are_zero_where_the_mask_is() -> None:
    layer = layers()[0]
    prune.l1_unstructured(layer, "weight", amount=0.4)
    prune.random_unstructured(layer, "bias", amount=3)
    found = computed(layer)
    assert set(found) == {"weight", "bias"}
    assert torch.equal(found["weight"], layer.weight.detach())
    assert torch.equal(found["bias"], layer.bias.detach())
    assert int((found["bias"] == 0).sum()) == 3


@settings(max_examples=15, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    dim=st.integers(0, 3),
    seed=st.integers(0, 9),
)
def test_weight_norm_of_any_shape_is_torch_s_own(shape, dim, seed) -> None:
    torch.manual_seed(seed)
    module = nn.Module()
    module.weight = nn.Parameter(torch.randn(shape))
    parametrizations.weight_norm(module, dim=dim % len(shape))
    torch.testing.assert_close(computed(module)["weight"], module.weight.detach(), **CLOSE)


def test_the_note_counts_each_kind() -> None:
    network = nn.Sequential(*layers()[:3])
    prune.l1_unstructured(network[0], "weight", amount=1)
    prune.l1_unstructured(network[1], "weight", amount=1)
    parametrizations.weight_norm(network[2])
    _, notes = plain_weights(network.state_dict(), "w.pt")
    assert notes == (
        "computed 2 weights from the parts that pruning of torch.nn.utils left",
        "computed 1 weight from the parts that weight norm of torch.nn.utils left",
    )


def test_plain_weights_are_left_as_they_are() -> None:
    weights = nn.Sequential(*layers()).state_dict()
    found, notes = plain_weights(weights, "w.pt")
    assert notes == ()
    assert list(found) == list(weights)
    assert all(found[key] is weights[key] for key in weights)


@pytest.mark.parametrize("kind", ["own", "orthogonal"])
def test_a_parametrization_that_keys_do_not_tell_is_refused(kind: str) -> None:
    layer = nn.Linear(4, 4)
    if kind == "own":
        nn.utils.parametrize.register_parametrization(layer, "weight", nn.Tanh())
    else:
        parametrizations.orthogonal(layer)
    with pytest.raises(CheckpointError) as raised:
        computed(layer)
    assert "net.0.weight is stored as a parametrization" in raised.value.what
    assert "remove_parametrizations" in str(raised.value.remedy)


def test_parts_that_a_network_has_itself_are_kept() -> None:
    layer = parametrizations.weight_norm(nn.Linear(2, 2))
    weights = layer.state_dict()
    found, notes = plain_weights(weights, "w.pt", keep=weights)
    assert (list(found), notes) == (list(weights), ())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_observers_and_fake_quantization_are_dropped() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    names = list(network.state_dict())
    network.qconfig = torch.ao.quantization.get_default_qat_qconfig("fbgemm")
    prepared = torch.ao.quantization.prepare_qat(network.train())
    stored = prepared.state_dict()
    assert len(stored) > len(names) + 20
    found, (note,) = without_observers(stored)
    assert list(found) == names
    assert note.startswith(f"dropped {len(stored) - len(names)} values of observers")


@pytest.mark.parametrize(
    "dropped",
    [
        ("conv._input_quantizer._amax", "conv._weight_quantizer._amax"),
        ("activation_post_process_3.scale", "activation_post_process_3.eps"),
        ("q.fake_quant_enabled", "q.observer_enabled", "q.scale", "q.zero_point"),
        ("o.min_val", "o.max_val", "o.eps"),
    ],
)
def test_so_are_those_of_other_names(dropped: tuple[str, ...]) -> None:
    weights = {"conv.weight": torch.ones(1), "norm.scale": torch.ones(1), "o.weight": torch.ones(1)}
    found, _ = without_observers({**weights, **dict.fromkeys(dropped, torch.ones(1))})
    assert list(found) == list(weights)
