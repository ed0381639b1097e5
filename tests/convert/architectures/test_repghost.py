from __future__ import annotations

import copy
from collections import Counter
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ghostedge_convert import Checkpoint, CheckpointConfig, build, detect_architecture
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_convert.architectures.repghost import RepGhostModule, RepGhostNet, Variant, fuse
from ghostedge_convert.architectures.table import parse_architecture
from ghostedge_runtime.errors import CheckpointError
from ghostedge_runtime.metadata import Source


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


# The ablations.


SUFFIXES = {"norm": "", "identity": "_repid", "none": "_norep"}
VARIANTS = list(product(SUFFIXES, (True, False), (True, False)))


def network(branch="norm", *, shortcuts=True, squeeze=True, width=0.5) -> RepGhostNet:
    torch.manual_seed(0)
    made = RepGhostNet(width=width, num_classes=3, variant=Variant(branch, shortcuts, squeeze))
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1)
            nn.init.normal_(module.bias, 0, 0.3)
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return made.eval()


def checkpoint(made: nn.Module, **config) -> Checkpoint:
    said = CheckpointConfig(**config) if config else None
    return Checkpoint(dict(made.state_dict()), said, Source("w.pt", ""), ())


def name_of(branch: str, *, shortcuts: bool, squeeze: bool) -> str:
    return f"repghostnet{SUFFIXES[branch]}{'' if shortcuts else '_wo'}{'' if squeeze else '_nose'}"


def difference(one: nn.Module, other: nn.Module) -> float:
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = one(x)
        return float((wanted - other(x)).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("branch", SUFFIXES)
def test_a_module_adds_what_its_branch_makes_and_fuses_to_the_same(branch) -> None:
    torch.manual_seed(0)
    module = RepGhostModule(4, 6, relu=True, branch=branch).eval()
    norm = module.cheap_operation[1]
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.weight, 0.5, 1)
    x = torch.randn(2, 4, 5, 5)
    with torch.no_grad():
        primary = module.primary_conv(x)
        beside = {"none": 0.0, "identity": primary, "norm": primary / (1 + 1e-5) ** 0.5}[branch]
        wanted = torch.relu(module.cheap_operation(primary) + beside)
        torch.testing.assert_close(module(x), wanted)
        module.fuse()
        assert isinstance(module.cheap_operation, nn.Conv2d)
        torch.testing.assert_close(module(x), wanted)


def test_without_shortcuts_a_block_of_one_shape_adds_nothing() -> None:
    made = network(shortcuts=False)
    x = torch.randn(1, 8, 16, 16)
    plain, strided = made.blocks[0][0], made.blocks[1][0]
    with torch.no_grad():
        torch.testing.assert_close(plain(x), plain.ghost2(plain.ghost1(x)))
        main = strided.ghost2(strided.bn_dw(strided.conv_dw(strided.ghost1(x))))
        torch.testing.assert_close(strided(x), main + strided.shortcut(x))


@pytest.mark.parametrize(("branch", "shortcuts", "squeeze"), VARIANTS)
def test_each_variant_is_built_as_it_is_named(branch, shortcuts, squeeze) -> None:
    made = network(branch, shortcuts=shortcuts, squeeze=squeeze)
    name = name_of(branch, shortcuts=shortcuts, squeeze=squeeze)
    for arch in (name, f"{name}_050", f"{name}_0_5x"):
        stored = checkpoint(made)
        found = detect_architecture(stored, arch=arch)
        assert found.architecture.name == f"{name}_050"
        assert found.twins == ()
        assert difference(made, build(stored, found.architecture)) < 1e-5


@pytest.mark.parametrize(("squeeze", "deployed"), [(True, True), (True, False), (False, False)])
def test_keys_tell_squeeze_and_excitation_and_what_they_do_not_tell_is_said(squeeze, deployed):
    made = network(squeeze=squeeze)
    if deployed:
        fuse(made)
    found = detect_architecture(checkpoint(made))
    name = name_of("norm", shortcuts=True, squeeze=squeeze)
    other = f"{name_of('norm', shortcuts=False, squeeze=squeeze)}_050"
    assert found.architecture.name == f"{name}_050"
    assert found.twins == (other,)
    (line,) = [line for line in found.evidence if "keys cannot tell" in line]
    assert "no identity shortcuts" in line
    assert f"(--arch {other})" in line


def test_the_variant_without_shortcuts_is_another_function() -> None:
    assert difference(network(), network(shortcuts=False)) > 0.1


@pytest.mark.parametrize("branch", ["identity", "none"])
def test_two_that_no_key_tells_apart_are_refused_until_one_is_named(branch) -> None:
    with pytest.raises(CheckpointError) as raised:
        detect_architecture(checkpoint(network(branch)))
    for name in ("repghostnet_repid", "repghostnet_norep", "repghostnet_norep_wo"):
        assert f"--arch {name}" in str(raised.value.remedy)


@pytest.mark.parametrize("name", ["repghostnet_norep_050", "repghostnet_norep_0_5x"])
def test_a_config_that_names_one_of_them_is_believed(name) -> None:
    found = detect_architecture(checkpoint(network("none"), architecture=name))
    assert found.architecture.name == "repghostnet_norep_050"


def trained(
    branch: str, *, shortcuts: bool = True, momentum: float | None = None, side: int = 64
) -> RepGhostNet:
    """A network whose batch norms have seen images."""
    made = network(branch, shortcuts=shortcuts)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = momentum
    with torch.no_grad():
        for seed in range(1 if momentum is None else 40):
            generator = torch.Generator().manual_seed(seed)
            made.train()(torch.randn(8, 3, side, side, generator=generator))
    return made.eval()


@pytest.mark.parametrize("branch", SUFFIXES)
@pytest.mark.parametrize("shortcuts", [True, False])
def test_the_means_that_batch_norms_kept_tell_what_keys_do_not(branch, shortcuts) -> None:
    made = trained(branch, shortcuts=shortcuts)
    stored = checkpoint(made)
    found = detect_architecture(stored)
    name = name_of(branch, shortcuts=shortcuts, squeeze=True)
    assert found.architecture.name == f"{name}_050"
    assert found.measured
    assert f"{name}_050" not in found.twins
    (line,) = [line for line in found.evidence if "keys cannot tell" in line]
    assert "they are 0% off this one's" in line
    assert difference(made, build(stored, found.architecture)) < 1e-4


@pytest.mark.parametrize("shortcuts", [True, False])
def test_they_may_lag_behind_the_weights(shortcuts) -> None:
    made = trained("norm", shortcuts=shortcuts, momentum=0.1)
    found = detect_architecture(checkpoint(made))
    assert found.measured
    assert found.architecture.name == f"repghostnet{'' if shortcuts else '_wo'}_050"


@pytest.mark.parametrize("shortcuts", [True, False])
def test_they_tell_it_of_a_deployed_network_too(shortcuts) -> None:
    made = fuse(trained("norm", shortcuts=shortcuts, side=224))
    found = detect_architecture(checkpoint(made))
    assert found.measured
    assert found.architecture.name == f"repghostnet{'' if shortcuts else '_wo'}_050"


def test_means_that_fit_nothing_tell_nothing() -> None:
    found = detect_architecture(checkpoint(network()))
    assert not found.measured


def test_what_is_said_comes_before_what_is_measured() -> None:
    found = detect_architecture(checkpoint(trained("norm")), arch="repghostnet_wo")
    assert found.architecture.name == "repghostnet_wo_050"
    assert found.twins == ()


def test_a_fused_identity_is_the_deployed_network() -> None:
    made = fuse(network("identity"))
    stored = checkpoint(made)
    found = detect_architecture(stored)
    assert found.architecture.name == "repghostnet_050"
    assert difference(made, build(stored, found.architecture)) < 1e-5


def test_a_ghostnet_is_none_of_them() -> None:
    weights = checkpoint(GhostNet(width=0.5, num_classes=3))
    assert detect_architecture(weights).architecture.name == "ghostnet_050"
    with pytest.raises(CheckpointError, match="but arch says RepGhostNet with no branch"):
        detect_architecture(weights, arch="repghostnet_norep")


@pytest.mark.parametrize("arch", ["repghostnet_repid", "repghostnet_nose"])
def test_what_the_keys_contradict_is_refused(arch) -> None:
    with pytest.raises(CheckpointError, match="but arch says"):
        detect_architecture(checkpoint(network()), arch=arch)


def test_the_authors_names_parse() -> None:
    family, size = parse_architecture("repghostnet_1_11x")
    assert size is not None
    assert family.member(size) == "repghostnet_111"
