"""Members of the family for grey images, and for images with a fourth channel."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ghostedge_convert import Checkpoint, build, detect_architecture
from ghostedge_convert.architectures.family import empty_network, image_channels, set_channels
from ghostedge_convert.architectures.table import FAMILIES
from ghostedge_runtime.metadata import Source


def forms() -> list:
    return [
        pytest.param(
            family, form, family.sizes.published[0], id=f"{family.name} {form.title}".strip()
        )
        for family in FAMILIES.values()
        for form in family.forms
    ]


def saved(family, form, label: str, channels: int) -> Checkpoint:
    """Weights as a network of so many channels has them after training."""
    size = family.sizes.named(label)
    network = empty_network(form, size, 3, channels).to_empty(device="cpu")
    torch.manual_seed(0)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            fill = 1.0 if name.endswith(("running_var", "weight")) and value.ndim == 1 else None
            value.fill_(fill) if fill else nn.init.normal_(value, 0, 0.02)
        else:
            value.zero_()
    return Checkpoint(
        weights=network.state_dict(), config=None, source=Source("w.pt", ""), notes=()
    )


@pytest.mark.parametrize(("family", "form", "label"), forms())
def test_the_first_convolution_says_how_many_channels_the_image_has(family, form, label):
    channels = 4 if family.name == "ghostnetv2" else 1
    checkpoint = saved(family, form, label, channels)
    found = detect_architecture(checkpoint, arch=family.name)
    assert found.architecture.name == f"{family.name}_{label}"
    assert found.architecture.num_classes == 3
    assert f"{channels} input channels: the first conv's weights" in found.evidence
    network = build(checkpoint, found.architecture)
    assert image_channels(network) == channels
    with torch.no_grad():
        scores = network(torch.randn(2, channels, 64, 96))
    assert scores.shape == (2, 3)
    assert torch.isfinite(scores).all()


def test_three_channels_are_not_spoken_of():
    (family, form, label), *_ = (param.values for param in forms())
    found = detect_architecture(saved(family, form, label, 3))
    assert not [line for line in found.evidence if "input channels" in line]


def test_only_convolutions_that_read_the_image_change():
    with torch.device("meta"):
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.Conv2d(8, 3, 1), nn.Conv2d(3, 3, 3, groups=3)
        )
    set_channels(network, 4)
    assert [tuple(conv.weight.shape[:2]) for conv in network] == [(8, 4), (3, 8), (3, 1)]
