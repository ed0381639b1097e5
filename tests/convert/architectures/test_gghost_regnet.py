from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from ghostedge_convert.architectures.gghost_regnet import (
    MEMBERS,
    Bottleneck,
    GGhostRegNet,
    GhostStage,
)


def keys_of(member: int) -> list[str]:
    with torch.device("meta"):
        return list(GGhostRegNet(member=member).state_dict())


@pytest.mark.parametrize(
    ("member", "count"), [(2, 302), (32, 518), (40, 482), (80, 482), (160, 464)]
)
def test_there_are_as_many_keys_as_in_huaweis_network(member, count):
    assert len(keys_of(member)) == count


def test_keys_are_the_published_ones():
    keys = keys_of(32)
    assert keys[:2] == ["conv1.weight", "bn1.weight"]
    assert keys[-2:] == ["fc.weight", "fc.bias"]
    weights = [k for k in keys if k.startswith("layer3.") and k.endswith(".weight")]
    assert weights[:8] == [
        "layer3.base.conv1.weight",
        "layer3.base.bn1.weight",
        "layer3.base.conv2.weight",
        "layer3.base.bn2.weight",
        "layer3.base.conv3.weight",
        "layer3.base.bn3.weight",
        "layer3.base.downsample.0.weight",
        "layer3.base.downsample.1.weight",
    ]
    assert {f"layer3.merge.{i}.weight" for i in (1, 2, 4, 5)} <= set(weights)
    assert {"layer3.cheap.0.weight", "layer3.cheap.1.weight"} <= set(weights)
    assert {"layer3.layers.12.conv3.weight", "layer3.end.bn3.weight"} <= set(weights)
    assert "layer3.layers.0.downsample.0.weight" not in weights
    assert {"layer1.1.conv1.weight", "layer4.0.downsample.0.weight"} <= set(keys)


def test_stages_of_one_or_two_blocks_are_plain_ones():
    merged = {m: {k[:6] for k in keys_of(m) if ".merge." in k} for m in (2, 4, 32, 80)}
    assert merged == {
        2: {"layer3", "layer4"},
        4: {"layer3", "layer4"},
        32: {"layer2", "layer3"},
        80: {"layer2", "layer3"},
    }


@pytest.mark.parametrize(
    ("channels", "group_width", "intrinsic"), [(192, 48, 72), (432, 48, 216), (560, 40, 270)]
)
def test_half_of_a_stages_channels_is_intrinsic_in_whole_groups(channels, group_width, intrinsic):
    stage = GhostStage(8, channels, 3, group_width)
    assert stage.intrinsic == intrinsic
    assert stage.layers[0].conv2.groups == intrinsic // (group_width * 3 // 4)
    assert stage.cheap[0].weight.shape == (channels - intrinsic,) * 2 + (1, 1)


def test_a_stage_computes_what_the_paper_draws():
    torch.manual_seed(0)
    stage = GhostStage(8, 16, 5, 8).eval()
    x = torch.randn(2, 8, 9, 14)
    with torch.no_grad():
        first = stage.base(x)
        blocks = [first[:, :6]]
        for block in stage.layers:
            blocks.append(block(blocks[-1]))
        everything = torch.cat([first, *blocks[1:]], dim=1)
        ghosts = stage.cheap(first[:, 6:]) + stage.merge(everything)
        expected = stage.end(torch.cat([blocks[-1], functional.relu(ghosts)], dim=1))
        assert len(stage.layers) == 3
        assert expected.shape == (2, 16, 5, 7)
        torch.testing.assert_close(stage(x), expected, atol=1e-6, rtol=0)


def test_a_block_narrower_than_a_group_has_one_group():
    assert Bottleneck(4, 80, 120).conv2.groups == 1


@pytest.mark.parametrize("member", sorted(MEMBERS))
def test_every_member_gives_logits(member):
    with torch.device("meta"):
        network = GGhostRegNet(member=member, num_classes=7).eval()
        assert network(torch.zeros(2, 3, 64, 96)).shape == (2, 7)
