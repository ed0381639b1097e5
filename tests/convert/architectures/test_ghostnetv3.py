from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ghostedge_convert import Checkpoint, build, identify
from ghostedge_convert.architectures.ghostnetv3 import GhostNetV3, fuse
from ghostedge_runtime.metadata import Source

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def lively(network: nn.Module, seed: int) -> nn.Module:
    """In eval mode, weights as spread as a trained network's, every batch norm different."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.reset_parameters()  # they were drawn before the seed was set
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.2, 0.8)
            nn.init.normal_(module.bias, 0, 0.3)
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network.eval()


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((one - other).abs().max() / one.abs().max())


def test_keys_of_the_training_form_are_huaweis():
    keys = list(GhostNetV3().state_dict())
    assert len(keys) == 1956
    module = {k.removeprefix("blocks.3.0.ghost1.") for k in keys if "blocks.3.0.ghost1." in k}
    assert module == {
        *(
            f"{part}_rpr_conv.{i}.{key}"
            for part in ("primary", "cheap")
            for i in range(3)
            for key in ("conv.weight", *(f"bn.{name}" for name in NORM))
        ),
        *(f"cheap_rpr_skip.{name}" for name in NORM),
        "cheap_rpr_scale.conv.weight",
        *(f"cheap_rpr_scale.bn.{name}" for name in NORM),
        *(f"short_conv.{i}.weight" for i in (0, 2, 4)),
        *(f"short_conv.{i}.{name}" for i in (1, 3, 5) for name in NORM),
    }
    strided = {k.split(".dw_rpr_")[0] for k in keys if ".dw_rpr_" in k}
    assert strided == {f"blocks.{block}.0" for block in (1, 3, 5, 7)}
    assert "blocks.3.0.dw_rpr_conv.2.conv.weight" in keys
    assert "blocks.3.0.dw_rpr_scale.bn.running_var" in keys
    assert not any(".conv_dw." in key or ".bn_dw." in key for key in keys)


@pytest.mark.parametrize(
    ("fused", "count", "has", "lacks"),
    [
        (("ghost",), 580, "dw_rpr_conv.0.conv.weight", "ghost1.primary_rpr_conv.0.conv.weight"),
        (("ghost", "strided"), 492, "ghost1.short_conv.1.weight", "dw_rpr_conv.0.conv.weight"),
        (("ghost", "strided", "attention"), 324, "ghost1.short_conv.4.bias", "bn_dw.weight"),
    ],
)
def test_keys_of_the_deployed_forms_are_huaweis_timms_and_without_norms(fused, count, has, lacks):
    keys = set(GhostNetV3(fused=fused).state_dict())
    assert len(keys) == count
    assert {f"blocks.3.0.ghost1.{part}.0.bias" for part in ("primary_conv", "cheap_operation")} <= (
        keys
    )
    assert f"blocks.3.0.{has}" in keys
    assert f"blocks.3.0.{lacks}" not in keys
    assert ("blocks.3.0.conv_dw.bias" in keys) == ("strided" in fused)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 99), width=st.sampled_from([0.3, 0.5, 1.0]), height=st.integers(33, 96))
def test_the_fused_network_equals_the_training_form(seed, width, height):
    # In float64: the same function, whatever a deep network of random weights makes of roundings.
    network = lively(GhostNetV3(width=width, num_classes=10), seed).double()
    deployed = fuse(copy.deepcopy(network))
    x = torch.randn(2, 3, height, 64, dtype=torch.float64)
    with torch.no_grad():
        assert gap(network(x), deployed(x)) < 1e-12


@pytest.mark.parametrize("fused", [(), ("ghost",), ("ghost", "strided")])
def test_every_form_is_fused_into_the_same_keys(fused):
    wanted = GhostNetV3(num_classes=4, width=0.5, fused=("ghost", "strided", "attention"))
    network = fuse(GhostNetV3(num_classes=4, width=0.5, fused=fused))
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    assert shapes == {key: value.shape for key, value in wanted.state_dict().items()}


def test_fusing_twice_changes_nothing():
    network = fuse(lively(GhostNetV3(num_classes=4, width=0.5), 0))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    after = fuse(network).state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("fused", [(), ("ghost",), ("ghost", "strided")])
@pytest.mark.parametrize("spelling", [".bn.", ".bn1."])
def test_a_loaded_checkpoint_is_deployed_and_computes_what_was_trained(fused, spelling):
    network = lively(GhostNetV3(num_classes=5, width=0.5, fused=fused), 3)
    weights = {
        key.replace(".bn.", spelling) if "_rpr_" in key else key: value
        for key, value in network.state_dict().items()
    }
    checkpoint = Checkpoint(weights, None, Source("model.pt", "0" * 64), ())
    built = build(checkpoint, identify(checkpoint))
    assert len(built.state_dict()) == 324
    x = torch.randn(1, 3, 64, 48)
    with torch.no_grad():
        assert built(x).shape == (1, 5)
        assert gap(network(x), built(x)) < 1e-5


def test_the_network_learns_in_its_training_form():
    network = GhostNetV3(num_classes=4, width=0.5).train()
    network(torch.randn(2, 3, 64, 64)).sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None]
    assert without == []
