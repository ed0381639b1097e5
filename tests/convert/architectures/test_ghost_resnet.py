"""Ghost-ResNet, told from the weights that its authors' code stores."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by

from ghostedge_convert import Checkpoint, build, detect_architecture
from ghostedge_convert.architectures.ghost_resnet import GhostConv, GhostResNet
from ghostedge_convert.architectures.table import parse_architecture
from ghostedge_runtime.errors import CheckpointError, InputError
from ghostedge_runtime.metadata import ArchitectureInfo, Source


def checkpoint(weights: dict[str, torch.Tensor]) -> Checkpoint:
    return Checkpoint(weights, None, Source("w.pt", ""), ())


def small(**options) -> GhostResNet:
    torch.manual_seed(0)
    options = {"depths": (1, 2, 1, 1), "num_classes": 3, **options}
    return GhostResNet(**options).eval()


def as_stored(network: GhostResNet) -> dict[str, torch.Tensor]:
    """The weights with those that the authors' ghost modules have besides and never use."""
    stored = {}
    for key, value in network.state_dict().items():
        stored[key] = value
        if key.endswith(".conv1.bias"):
            module = key.removesuffix(".conv1.bias")
            stored[f"{module}.weight1"] = torch.ones(2, 2, 1, 1)
            stored[f"{module}.weight2"] = torch.ones(2, 1, 3, 3)
            for number in (1, 2):
                for name in ("weight", "bias", "running_mean", "running_var"):
                    stored[f"{module}.bn{number}.{name}"] = torch.ones(2)
                stored[f"{module}.bn{number}.num_batches_tracked"] = torch.tensor(1)
    return stored


@pytest.mark.parametrize(("ratio", "kernel", "stride"), [(4, 3, 1), (2, 5, 2), (3, 3, 1)])
def test_ghosts_come_of_the_primary_channels_without_norm_or_activation(ratio, kernel, stride):
    torch.manual_seed(0)
    module = GhostConv(6, 10, 3, stride=stride, ratio=ratio, cheap_kernel=kernel)
    x = torch.randn(2, 6, 8, 8)
    primary = F.conv2d(x, module.conv1.weight, module.conv1.bias, stride, padding=1)
    count = -(-10 // ratio)
    assert primary.shape[1] == count
    each = []
    for channel in range(10 - count):  # depthwise: ratio - 1 in a row of each primary channel
        of = channel // (ratio - 1)
        weight, bias = module.conv2.weight[channel], module.conv2.bias[channel]
        each.append(
            F.conv2d(primary[:, of : of + 1], weight[None], bias[None], padding=kernel // 2)
        )
    torch.testing.assert_close(module(x), torch.cat([primary, *each], dim=1))


def test_the_member_is_told_whatever_the_classes() -> None:
    with torch.device("meta"):
        weights = GhostResNet(num_classes=13).state_dict()
    found = detect_architecture(checkpoint(as_stored_on_meta(weights)))
    assert found.architecture == ArchitectureInfo("ghost_resnet_50", "ghost_resnet", 1.0, 13)
    assert "624 weights are never used by its authors' code, and left out" in found.evidence


def as_stored_on_meta(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    network = type("Stored", (), {"state_dict": lambda _: weights})()
    return as_stored(network)


@pytest.mark.parametrize(("ratio", "kernel"), [(4, 3), (2, 3), (3, 5)])
def test_depths_ratio_and_kernels_are_told_and_the_function_is_the_same(ratio, kernel) -> None:
    network = small(ratio=ratio, cheap_kernel=kernel)
    made = checkpoint(as_stored(network))
    found = detect_architecture(made)
    label = "".join(("1x2x1x1", f"_s{ratio}" * (ratio != 4), f"_d{kernel}" * (kernel != 3)))
    assert found.architecture.name == f"ghost_resnet_{label}"
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(build(made, found.architecture)(x), network(x))


def test_weights_without_those_that_are_never_used_will_do() -> None:
    found = detect_architecture(checkpoint(small().state_dict()))
    assert not any("never used" in line for line in found.evidence)


@pytest.mark.parametrize(
    "name", ["ghost_resnet_50", "ghost_resnet_50_s2", "ghost_resnet_101_s2_d5"]
)
def test_names_parse_to_the_member_of_that_name(name: str) -> None:
    family, size = parse_architecture(name)
    assert size is not None
    assert family.member(size) == name


@pytest.mark.parametrize("name", ["ghost_resnet_34", "ghost_resnet_50_s1", "ghost_resnet_50_d2"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        parse_architecture(name)


def test_another_member_than_is_said_is_refused() -> None:
    with pytest.raises(CheckpointError, match="is given, at which"):
        detect_architecture(checkpoint(small(ratio=2).state_dict()), arch="ghost_resnet_50")
