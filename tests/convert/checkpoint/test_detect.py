from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge_convert import (
    Checkpoint,
    CheckpointConfig,
    build,
    detect_architecture,
    identify,
    resolve_preprocessing,
)
from ghostedge_convert.architectures.gghost_regnet import MEMBERS, GGhostRegNet
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_convert.architectures.repghost import RepGhostNet
from ghostedge_convert.architectures.table import FAMILIES
from ghostedge_runtime.errors import CheckpointError, InputError
from ghostedge_runtime.metadata import ArchitectureInfo, Source


def checkpoint_of(weights: dict[str, torch.Tensor], **config: object) -> Checkpoint:
    given_config = CheckpointConfig(**config) if config else None
    return Checkpoint(weights, given_config, Source("model.pt", "0" * 64), ())


def weights_of(width: float = 1.0, num_classes: int = 10) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return dict(GhostNet(width=width, num_classes=num_classes).state_dict())


def refusal(weights: dict[str, torch.Tensor], **options: object) -> CheckpointError:
    with pytest.raises(CheckpointError) as raised:
        identify(checkpoint_of(weights), **options)
    assert raised.value.where == "model.pt"
    return raised.value


@pytest.mark.parametrize(
    ("width", "classes", "name"),
    [(0.5, 1000, "ghostnet_050"), (1.0, 10, "ghostnet_100"), (1.3, 2, "ghostnet_130")],
)
def test_published_widths_are_told_from_the_shapes(width, classes, name):
    found = identify(checkpoint_of(weights_of(width, classes)))
    assert found == ArchitectureInfo(name, "ghostnet", width, classes)


@settings(max_examples=10, deadline=None)
@given(width=st.integers(10, 300).map(lambda n: n / 100), classes=st.integers(1, 50))
def test_the_width_found_gives_the_same_shapes_and_is_near(width, classes):
    weights = weights_of(width, classes)
    found = identify(checkpoint_of(weights))
    again = weights_of(found.width, found.num_classes)
    assert {k: v.shape for k, v in again.items()} == {k: v.shape for k, v in weights.items()}
    assert found.width == pytest.approx(width, abs=0.005)


def test_the_result_tells_how_it_was_found():
    detection = detect_architecture(checkpoint_of(weights_of(1.3, 7), architecture="ghostnet_130"))
    assert detection.evidence == (
        "GhostNet V1: all its 512 weights are there, and no others",
        "width 1.3: from the channels, e.g. blocks.9.0.conv.weight is 1248 × 208 × 1 × 1",
        "7 classes: classifier.weight is 7 × 1280",
        "config.json agrees: ghostnet_130",
    )


# What the user says.


# What config.json says.


# The other families.


@pytest.mark.parametrize(
    ("family", "form", "keys"),
    [
        ("GhostNetV2", 0, 764),
        ("GhostNetV3 in its training form", 0, 1956),
        ("GhostNetV3 in its deployed form but for the strided convolutions", 1, 580),
        ("GhostNetV3 in its deployed form", 2, 492),
        ("GhostNetV3 in its deployed form without batch norm in its attention", 3, 324),
    ],
)
@pytest.mark.parametrize("width", [0.75, 1.0, 1.6])
def test_every_form_of_v2_and_v3_is_told_at_any_width(family, form, keys, width):
    member = FAMILIES[family.partition(" ")[0].lower()]
    with torch.device("meta"):
        network = member.forms[form].network(width=width, num_classes=7)
    detection = detect_architecture(checkpoint_of(dict(network.state_dict())))
    name = f"{member.name}_{round(width * 100):03d}"
    assert detection.architecture == ArchitectureInfo(name, member.name, width, 7)
    assert detection.evidence[0] == f"{family}: all its {keys} weights are there, and no others"
    told = "re-parameterised on loading" in detection.evidence[1]
    assert told == (member.name == "ghostnetv3" and form < 3)


def test_timms_spelling_of_v3s_norms_is_huaweis():
    weights = v3_weights()
    timms = {key.replace(".bn.", ".bn1."): value for key, value in weights.items()}
    assert "blocks.3.0.dw_rpr_scale.bn1.weight" in timms
    assert "blocks.9.0.bn1.weight" in timms
    assert identify(checkpoint_of(timms)) == identify(checkpoint_of(weights))


@pytest.mark.parametrize(
    ("key", "title"),
    [
        ("blocks.2.0.ghost1.short_conv.0.weight", "GhostNetV2"),
        ("blocks.0.0.ghost1.primary_rpr_conv.0.conv.weight", "GhostNetV3 in its training form"),
    ],
)
def test_a_relatives_key_among_v1s_is_told_as_the_relatives_gaps(key, title):
    what = refusal({**weights_of(), key: torch.zeros(1)}).what
    assert f"weights of a {title}" in what
    assert "weights are missing" in what or "keys are its own" in what


def test_another_family_than_the_keys_tell_is_refused_with_the_key():
    what = refusal(v3_weights(), arch="ghostnetv2_100").what
    assert what == (
        "these are weights of a GhostNetV3 "
        "(it has blocks.0.0.ghost1.primary_rpr_conv.0.conv.weight), but arch says GhostNetV2"
    )


def test_missing_attention_is_named():
    weights = {k: v for k, v in v3_weights().items() if "8.3.ghost1.short_conv" not in k}
    what = refusal(weights).what
    assert "not quite the weights of a GhostNetV3 in its training form; 15 weights are mi" in what
    assert "blocks.8.3.ghost1.short_conv.0.weight" in what


def test_another_width_than_v3s_shapes_have_is_refused_with_both():
    what = refusal(v3_weights(), arch="ghostnetv3_130").what
    assert "width 1.3 is given, at which conv_stem.weight is 20 × 3 × 3 × 3" in what
    assert "in the file it is 16 × 3 × 3 × 3: width 1.0" in what


def v3_weights() -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return dict(FAMILIES["ghostnetv3"].forms[0].network(num_classes=10).state_dict())


# Keys and shapes that do not fit.


def test_another_network_is_refused_with_some_of_its_keys():
    weights = {f"layer{i}.0.conv1.weight": torch.zeros(1) for i in range(20)}
    what = refusal(weights).what
    assert "weights of no network of the family: no key is like any of" in what
    assert "GhostNetV3, GhostNetV2, GhostNet V1" in what
    assert "the file has layer0.0.conv1.weight" in what


def test_another_network_said_to_be_one_of_the_family_is_refused_with_the_keys_it_lacks():
    weights = {f"layer{i}.0.conv1.weight": torch.zeros(1) for i in range(20)}
    what = refusal(weights, arch="ghostnetv2").what
    assert "not the weights of a GhostNetV2: 0 of 20 keys are its own" in what
    assert "missing are" in what
    assert "conv_stem.weight" in what


def test_renamed_keys_are_named_with_the_closest_match_first():
    weights = weights_of()
    for old, new in {
        "classifier.bias": "something_else",
        "blocks.3.0.se.conv_reduce.weight": "blocks.3.0.se.conv_reduced.weight",
    }.items():
        weights[new] = weights.pop(old)
    what = refusal(weights).what
    assert (
        "2 weights are missing: blocks.3.0.se.conv_reduce.weight "
        "(the file has blocks.3.0.se.conv_reduced.weight), classifier.bias;"
    ) in what
    assert "2 are surplus: something_else, blocks.3.0.se.conv_reduced.weight" in what


def test_missing_keys_alone_are_listed_and_counted():
    weights = {k: v for k, v in weights_of().items() if not k.startswith("blocks.8.3.")}
    what = refusal(weights).what
    assert "weights are missing: blocks.8.3.ghost1.primary_conv.0.weight" in what
    assert "more" in what
    assert "surplus" not in what


def test_a_prefix_before_every_key_is_told():
    weights = {f"backbone.{key}": value for key, value in weights_of().items()}
    error = refusal(weights)
    assert "every key of the GhostNet V1 has 'backbone.' before it" in error.what
    assert error.remedy == "remove the prefix 'backbone.' from the keys"


def test_counters_of_batches_may_be_missing():
    weights = {
        key: torch.ones(value.shape)
        for key, value in weights_of(0.5).items()
        if not key.endswith("num_batches_tracked")
    }
    checkpoint = checkpoint_of(weights)
    network = build(checkpoint, identify(checkpoint))
    assert int(network.state_dict()["bn1.num_batches_tracked"]) == 0


def test_other_shapes_are_shown_with_those_needed():
    weights = {**weights_of(), "blocks.3.0.conv_dw.weight": torch.zeros(72, 1, 3, 3)}
    what = refusal(weights).what
    assert "1 weights have other shapes than ghostnet_100's" in what
    assert "blocks.3.0.conv_dw.weight is (72, 1, 3, 3), needs (72, 1, 5, 5)" in what


def test_a_stem_that_is_no_convolution_is_refused():
    error = refusal({**weights_of(), "conv_stem.weight": torch.zeros(16, 3)})
    assert "conv_stem.weight is (16, 3), needs (16, 3, 3, 3)" in error.what
    assert error.remedy == "pass a checkpoint of an unchanged GhostNet V1"


@pytest.mark.parametrize("shape", [(), (10,), (0, 1280)])
def test_a_classifier_that_is_no_matrix_is_refused(shape):
    what = refusal({**weights_of(), "classifier.weight": torch.zeros(shape)}).what
    assert "classifier.weight is" in what


@pytest.mark.parametrize("shape", [(), (0, 160, 1, 1), (7, 160, 1, 1)])
def test_a_widest_layer_of_no_width_is_refused(shape):
    assert "needs" in refusal({**weights_of(), "blocks.9.0.conv.weight": torch.zeros(shape)}).what


def test_building_another_architecture_than_the_weights_have_is_refused():
    checkpoint = checkpoint_of(weights_of(1.0))
    other = replace(identify(checkpoint), width=0.5, name="ghostnet_050")
    with pytest.raises(CheckpointError, match="other shapes than ghostnet_050's"):
        build(checkpoint, other)


WIDTHS = (0.5, 0.58, 0.8, 1.0, 1.11, 1.3, 1.5, 2.0)


def repghost(width: float, classes: int = 7, *, deployed: bool = False) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        network = RepGhostNet(width=width, num_classes=classes, deployed=deployed)
    return dict(network.state_dict())


def gghost(member: int, classes: int = 7) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return dict(GGhostRegNet(member=member, num_classes=classes).state_dict())


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


def test_published_weights_are_evaluated_as_their_authors_do():
    repghostnet = checkpoint_of(repghost(0.5))
    regnet = checkpoint_of(gghost(2))
    used = [resolve_preprocessing(c, identify(c)).preprocessing for c in (repghostnet, regnet)]
    assert [p.interpolation for p in used] == ["bicubic", "bilinear"]
    assert {(p.crop_pct, p.input_size) for p in used} == {(0.875, (224, 224))}
