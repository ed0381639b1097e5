"""RepGhostNets in both forms and G-Ghost RegNets are told from their weights, or refused."""

from __future__ import annotations

import pytest
import torch

from ghostedge_convert import Checkpoint, CheckpointConfig, build, detect_architecture, identify
from ghostedge_convert.architectures.gghost_regnet import MEMBERS, GGhostRegNet
from ghostedge_convert.architectures.repghost import RepGhostNet
from ghostedge_convert.architectures.table import FAMILIES, parse_architecture
from ghostedge_convert.checkpoint.preprocessing import resolve_preprocessing
from ghostedge_runtime.errors import CheckpointError, InputError
from ghostedge_runtime.metadata import ArchitectureInfo, Source

WIDTHS = (0.5, 0.58, 0.8, 1.0, 1.11, 1.3, 1.5, 2.0)


def checkpoint_of(weights: dict[str, torch.Tensor], **config: object) -> Checkpoint:
    given_config = CheckpointConfig(**config) if config else None
    return Checkpoint(weights, given_config, Source("model.pt", "0" * 64), ())


def repghost(width: float, classes: int = 7, *, deployed: bool = False) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        network = RepGhostNet(width=width, num_classes=classes, deployed=deployed)
    return dict(network.state_dict())


def gghost(member: int, classes: int = 7) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return dict(GGhostRegNet(member=member, num_classes=classes).state_dict())


def refusal(weights: dict[str, torch.Tensor], **options: object) -> CheckpointError:
    with pytest.raises(CheckpointError) as raised:
        identify(checkpoint_of(weights), **options)
    assert raised.value.where == "model.pt"
    return raised.value


# RepGhostNet.


@pytest.mark.parametrize("deployed", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_repghostnets_width_is_told_in_both_forms(width, deployed):
    found = identify(checkpoint_of(repghost(width, 13, deployed=deployed)))
    name = f"repghostnet_{round(width * 100):03d}"
    assert found == ArchitectureInfo(name, "repghostnet", width, 13)


def test_the_evidence_names_the_form():
    trained = detect_architecture(checkpoint_of(repghost(0.58), architecture="repghostnet_058"))
    deployed = detect_architecture(checkpoint_of(repghost(0.58, deployed=True)))
    assert trained.evidence == (
        "RepGhostNet in its training form: all its 672 weights are there, and no others",
        "re-parameterised on loading: the deployed network computes the same without branches",
        "width 0.58: from the channels, e.g. blocks.9.0.conv.weight is 556 × 92 × 1 × 1",
        "7 classes: classifier.weight is 7 × 1280",
        "config.json agrees: repghostnet_058",
    )
    assert deployed.evidence[0] == (
        "RepGhostNet in its deployed form: all its 384 weights are there, and no others"
    )
    assert not any("re-parameterised" in line for line in deployed.evidence)


def test_both_forms_build_the_deployed_network_with_the_same_answers():
    torch.manual_seed(0)
    trained = RepGhostNet(width=0.5, num_classes=7).eval()
    for module in trained.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    weights = {k: v for k, v in trained.state_dict().items() if "num_batches" not in k}
    first = build_from(weights)
    again = build_from(dict(first.state_dict()))
    images = torch.randn(2, 3, 64, 48)
    with torch.no_grad():
        assert (first(images) - trained(images)).abs().max() <= 1e-5
        assert torch.equal(again(images), first(images))
    assert not any("fusion" in key for key in first.state_dict())


def build_from(weights: dict[str, torch.Tensor]) -> torch.nn.Module:
    checkpoint = checkpoint_of(weights)
    return build(checkpoint, identify(checkpoint))


def test_a_repghostnet_of_another_width_than_said_is_refused():
    what = refusal(repghost(1.0), arch="repghostnet_050").what
    assert "width 0.5 is given, at which conv_stem.weight is 8 × 3 × 3 × 3" in what
    assert "in the file it is 16 × 3 × 3 × 3: width 1.0" in what


def test_a_repghostnet_that_is_said_to_be_a_ghostnet_is_refused_by_a_key_of_it():
    what = refusal(repghost(1.0), arch="ghostnet_100").what
    assert "these are weights of a RepGhostNet (it has blocks.0.0.ghost1.fusion_bn.0" in what
    assert "but arch says GhostNet V1" in what


@pytest.mark.parametrize(
    ("deployed", "lost", "title"),
    [
        (False, "blocks.6.3.ghost2.fusion_bn.0.running_var", "training form"),
        (True, "blocks.6.3.ghost2.cheap_operation.bias", "deployed form"),
    ],
)
def test_a_missing_weight_is_named_in_the_form_that_the_others_have(deployed, lost, title):
    weights = repghost(0.5, deployed=deployed)
    del weights[lost]
    what = refusal(weights).what
    assert f"not quite the weights of a RepGhostNet in its {title}" in what
    assert f"1 weights are missing: {lost}" in what


def test_a_network_fused_by_half_is_refused():
    weights = repghost(0.5)
    deployed = repghost(0.5, deployed=True)
    for key in [k for k in weights if ".ghost2." in k and "primary" not in k]:
        del weights[key]
    weights |= {k: v for k, v in deployed.items() if ".ghost2.cheap_operation" in k}
    what = refusal(weights).what
    assert "a RepGhostNet in its training form" in what
    assert "32 are surplus: blocks.0.0.ghost2.cheap_operation.weight" in what


def test_other_shapes_of_a_repghostnet_are_shown():
    error = refusal({**repghost(1.0), "conv_stem.weight": torch.zeros(16, 3, 5, 5)})
    assert "1 weights have other shapes than repghostnet_100's" in error.what
    assert "conv_stem.weight is (16, 3, 5, 5), needs (16, 3, 3, 3)" in error.what
    assert error.remedy == "pass a checkpoint of an unchanged RepGhostNet"


# G-Ghost RegNet.


@pytest.mark.parametrize("member", sorted(MEMBERS))
def test_a_g_ghost_regnets_member_is_told_from_its_depths(member):
    found = identify(checkpoint_of(gghost(member, 13)))
    name = f"g_ghost_regnetx_{member:03d}"
    assert found == ArchitectureInfo(name, "g_ghost_regnetx", 1.0, 13)


def test_no_two_members_have_the_same_depths():
    assert len({spec.depths for spec in MEMBERS.values()}) == len(MEMBERS)


def test_the_evidence_shows_the_depths():
    detection = detect_architecture(checkpoint_of(gghost(32, 2)))
    assert detection.evidence == (
        "G-Ghost RegNet: all its 518 weights are there, and no others",
        "member 032: from its stages of 2, 6, 15 and 2 blocks",
        "2 classes: fc.weight is 2 × 1008",
    )


def test_a_g_ghost_regnet_is_built_with_the_weights_of_the_file():
    torch.manual_seed(0)
    network = GGhostRegNet(member=2, num_classes=7).eval()
    images = torch.randn(1, 3, 64, 48)
    with torch.no_grad():
        assert torch.equal(build_from(dict(network.state_dict()))(images), network(images))


@pytest.mark.parametrize("said", [{"arch": "g_ghost_regnetx_032"}, {"arch": "g_ghost_regnetx"}])
def test_a_member_that_is_said_and_agrees_is_taken(said):
    assert identify(checkpoint_of(gghost(32)), **said).name == "g_ghost_regnetx_032"


def test_another_member_than_said_is_refused_with_both():
    what = refusal(gghost(32), arch="g_ghost_regnetx_040").what
    assert "member 040 is given, at which" in what
    assert ": member 032" in what


def test_a_width_is_refused_where_the_family_has_none():
    with pytest.raises(InputError, match="a G-Ghost RegNet has no width") as raised:
        identify(checkpoint_of(gghost(32)), width=1.0)
    assert raised.value.remedy == "leave it out, or name the member: --arch g_ghost_regnetx_032"


def test_a_missing_weight_of_a_g_ghost_regnet_is_named():
    weights = gghost(40)
    del weights["layer3.merge.4.weight"]
    what = refusal(weights).what
    assert "not quite the weights of a G-Ghost RegNet; 1 weights are missing" in what
    assert "layer3.merge.4.weight" in what


def test_other_widths_than_the_members_are_shown():
    weights = {**gghost(16), "conv1.weight": torch.zeros(64, 3, 3, 3)}
    what = refusal(weights).what
    assert "1 weights have other shapes than g_ghost_regnetx_016's" in what
    assert "conv1.weight is (64, 3, 3, 3), needs (32, 3, 3, 3)" in what


# Names and defaults.


def test_every_published_member_of_every_family_has_a_name_that_parses():
    names = [name for family in FAMILIES.values() for name in family.published()]
    assert {"repghostnet_058", "repghostnet_111", "g_ghost_regnetx_160"} < set(names)
    for name in names:
        family, size = parse_architecture(name.upper())
        assert size is not None
        assert family.member(size) == name
        assert family.published().count(name) == 1
        assert parse_architecture(family.name) == (family, None)


@pytest.mark.parametrize(
    ("wrong", "closest"),
    [
        ("repghost_058", "repghostnet_058"),
        ("repghosnet_130", "repghostnet_130"),
        ("g_ghost_regnet_032", "g_ghost_regnetx_032"),
        ("g_ghost_regnetx_033", "g_ghost_regnetx_032"),
        ("g_ghost_regnetx_32", "g_ghost_regnetx_032"),
        ("gghost_regnetx_080", "g_ghost_regnetx_080"),
    ],
)
def test_an_unknown_name_is_met_with_the_closest(wrong, closest):
    with pytest.raises(InputError) as raised:
        parse_architecture(wrong)
    assert raised.value.remedy == f"did you mean {closest}?"


def test_published_weights_are_evaluated_as_their_authors_do():
    repghostnet = checkpoint_of(repghost(0.5))
    regnet = checkpoint_of(gghost(2))
    used = [resolve_preprocessing(c, identify(c)).preprocessing for c in (repghostnet, regnet)]
    assert [p.interpolation for p in used] == ["bicubic", "bilinear"]
    assert {(p.crop_pct, p.input_size) for p in used} == {(0.875, (224, 224))}
