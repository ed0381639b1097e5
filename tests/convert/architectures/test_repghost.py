from __future__ import annotations

import copy
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge_convert.architectures.repghost import RepGhostModule, RepGhostNet, fuse


def lively(network: torch.nn.Module, seed: int) -> torch.nn.Module:
    """He-initialised, with batch norm statistics and parameters that are all different."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.3, 0.8)
            torch.nn.init.normal_(module.bias, 0, 0.3)
            torch.nn.init.normal_(module.running_mean, 0, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
        elif isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network.eval()


def test_keys_of_the_training_form_are_the_published_ones():
    keys = list(RepGhostNet().state_dict())
    assert len(keys) == 672
    assert keys[:2] == ["conv_stem.weight", "bn1.weight"]
    assert keys[-3:] == ["conv_head.bias", "classifier.weight", "classifier.bias"]
    module = [k.removeprefix("blocks.6.3.ghost1.") for k in keys if "blocks.6.3.ghost1." in k]
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert module == [
        "primary_conv.0.weight",
        *(f"primary_conv.1.{name}" for name in norm),
        *(f"fusion_bn.0.{name}" for name in norm),
        "cheap_operation.0.weight",
        *(f"cheap_operation.1.{name}" for name in norm),
    ]
    outside = {k for k in keys if k.startswith("blocks.3.0.") and "ghost" not in k}
    assert {"blocks.3.0.conv_dw.weight", "blocks.3.0.bn_dw.weight"} <= outside
    assert {"blocks.3.0.se.conv_reduce.bias", "blocks.3.0.se.conv_expand.weight"} <= outside
    assert {"blocks.3.0.shortcut.0.weight", "blocks.3.0.shortcut.3.running_var"} <= outside


def test_keys_of_the_deployed_form_are_those_the_authors_conversion_writes():
    keys = list(RepGhostNet(deployed=True).state_dict())
    assert len(keys) == 384
    module = [k.removeprefix("blocks.6.3.ghost1.") for k in keys if "blocks.6.3.ghost1." in k]
    assert module[0] == "primary_conv.0.weight"
    assert module[-2:] == ["cheap_operation.weight", "cheap_operation.bias"]
    assert len(module) == 8


def test_squeeze_and_excitation_stands_where_ghostnet_has_it():
    gated = {k.split(".se.")[0] for k in RepGhostNet(num_classes=2).state_dict() if ".se." in k}
    assert gated == {f"blocks.{b}" for b in ("3.0", "4.0", "6.3", "6.4", "7.0", "8.1", "8.3")}


def test_a_module_adds_its_ghosts_to_the_normed_intrinsic_features():
    module = lively(RepGhostModule(3, 8, relu=True), 0)
    x = torch.randn(2, 3, 5, 7)
    with torch.no_grad():
        intrinsic = module.primary_conv(x)
        ghosts = module.cheap_operation(intrinsic) + module.fusion_bn[0](intrinsic)
        assert torch.equal(module(x), ghosts.relu())
        assert ghosts.min() < 0


@pytest.mark.parametrize("width", [0.5, 1.0, 1.11])
@pytest.mark.parametrize(("seed", "size"), [(1, (64, 96)), (2, (97, 65)), (3, (32, 160))])
def test_the_fused_network_equals_its_training_form(width, seed, size):
    trained = lively(RepGhostNet(width=width, num_classes=10), seed)
    fused = fuse(copy.deepcopy(trained))
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected, found = trained(images), fused(images)
    largest = expected.abs().max()
    assert largest > 0.2
    assert (found - expected).abs().max() <= 1e-5 * max(1, largest)


def test_the_fused_network_is_the_deployed_one():
    fused = fuse(lively(RepGhostNet(width=0.5, num_classes=4), 0))
    deployed = RepGhostNet(width=0.5, num_classes=4, deployed=True)
    assert fused.state_dict().keys() == deployed.state_dict().keys()
    kinds = Counter(type(m).__name__ for m in fused.modules())
    assert kinds == Counter(type(m).__name__ for m in deployed.modules())
    deployed.load_state_dict(fused.state_dict(), strict=True)
    images = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        assert torch.equal(deployed.eval()(images), fused(images))


def test_a_deployed_network_is_left_as_it_is():
    network = lively(RepGhostNet(width=0.5, num_classes=4, deployed=True), 0)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    after = fuse(network).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_fusing_rounds_once():
    module = lively(RepGhostModule(4, 6, relu=False), 5)
    exact = copy.deepcopy(module).double()
    module.fuse()
    exact.fuse()
    for mine, reference in zip(
        module.cheap_operation.parameters(), exact.cheap_operation.parameters(), strict=True
    ):
        assert mine.dtype == torch.float32
        assert torch.equal(mine, reference.float())


@settings(max_examples=5, deadline=None)
@given(width=st.floats(0.1, 2.0), num_classes=st.integers(1, 20), deployed=st.booleans())
def test_any_width_and_number_of_classes_gives_logits(width, num_classes, deployed):
    network = RepGhostNet(width=width, num_classes=num_classes, deployed=deployed).eval()
    with torch.no_grad():
        logits = network(torch.zeros(1, 3, 32, 40))
    assert logits.shape == (1, num_classes)


def test_dropout_acts_in_training_alone():
    network = RepGhostNet(num_classes=5, width=0.5, dropout=0.9)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network.eval()(images), network(images))
        assert not torch.equal(network.train()(images), network(images))
