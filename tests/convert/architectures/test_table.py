"""Every published member: its name, its parameters and multiply-accumulates as published."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by
from torch.overrides import TorchFunctionMode

from ghostedge_convert.architectures.family import empty_network
from ghostedge_convert.architectures.table import FAMILIES, parse_architecture
from ghostedge_runtime.errors import InputError


def costs(network: nn.Module) -> tuple[int, int, int]:
    """Parameters, multiply-accumulates of convs and linear layers, and normed elements, at 224."""
    macs, normed = [], []

    def weighs(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        macs.append(output.numel() * layer.weight[0].numel())

    def norms(_: nn.Module, __: object, output: torch.Tensor) -> None:
        normed.append(output.numel())

    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(weighs)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_hook(norms)
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, 224, 224, device="meta"))
    return sum(p.numel() for p in network.parameters()), sum(macs), sum(normed)


@pytest.fixture
def published() -> Callable[[str], nn.Module]:
    """The member of a name as it was trained, without values."""

    def make(name: str) -> nn.Module:
        family, size = parse_architecture(name)
        assert size is not None
        return empty_network(family.forms[0], size, 1000)

    return make


@pytest.mark.parametrize(
    ("name", "millions", "timms_gmacs", "authors_mmacs"),
    [
        ("repghostnet_050", 2.31, 0.05, 43),
        ("repghostnet_058", 2.55, 0.07, 60),
        ("repghostnet_080", 3.28, 0.10, 96),
        ("repghostnet_100", 4.07, 0.15, 142),
        ("repghostnet_111", 4.54, 0.18, 170),
        ("repghostnet_130", 5.48, 0.25, 231),
        ("repghostnet_150", 6.58, 0.32, 301),
        ("repghostnet_200", 9.80, 0.54, 516),
    ],
)
def test_repghostnets_cost_what_timm_and_the_authors_publish(
    published, name, millions, timms_gmacs, authors_mmacs
):
    parameters, macs, normed = costs(published(name))
    assert round(parameters / 1e6, 2) == millions
    # The authors leave batch norms out; timm counts two operations an element.
    assert round(macs / 1e6) == authors_mmacs
    assert round((macs + 2 * normed) / 1e9, 2) == timms_gmacs


@pytest.mark.parametrize(
    ("name", "millions", "gmacs"),
    [
        ("g_ghost_regnetx_032", 10.5, 1.8),
        ("g_ghost_regnetx_040", 15.7, 2.2),
        ("g_ghost_regnetx_080", 24.6, 4.2),
        ("g_ghost_regnetx_160", 32.4, 9.0),
    ],
)
def test_g_ghost_regnets_cost_what_huawei_publishes(published, name, millions, gmacs):
    parameters, macs, normed = costs(published(name))
    assert round(parameters / 1e6, 1) == millions
    # 4.15 of the third round to 4.2 with its batch norms alone.
    assert round((macs + normed) / 1e9, 1) == gmacs


class Upsampled(TorchFunctionMode):
    """Counts the elements that ``interpolate`` makes."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.elements += out.numel() if func is F.interpolate else 0
        return out


def timms_count(network: nn.Module) -> tuple[float, int, float]:
    """Millions of parameters, multiply-accumulates, and operations as timm counts them, in 10⁹.

    timm's tables are of fvcore's counter: two operations for an element of a batch norm, one for
    one that is upsampled or globally pooled, besides the multiply-accumulates.
    """
    with Upsampled() as upsampled:
        parameters, macs, normed = costs(network)
    pooled = 7 * 7 * network.conv_head.in_channels
    counted = macs + 2 * normed + upsampled.elements + pooled
    return round(parameters / 1e6, 2), macs, round(counted / 1e9, 2)


@pytest.mark.parametrize(
    ("name", "millions", "gmacs"),
    [
        ("ghostnet_050", 2.59, 0.05),
        ("ghostnet_100", 5.18, 0.15),
        ("ghostnet_130", 7.36, 0.24),
        ("ghostnetv2_100", 6.16, 0.18),
        ("ghostnetv2_130", 8.96, 0.28),
        ("ghostnetv2_160", 12.39, 0.42),
    ],
)
def test_ghostnets_v1_and_v2_cost_what_timm_publishes(published, name, millions, gmacs):
    parameters, _, counted = timms_count(published(name))
    assert (parameters, counted) == (millions, gmacs)


@pytest.mark.parametrize(("width", "mmacs"), [(1.0, 167), (1.3, 269), (1.6, 399)])
def test_ghostnetv2s_convolutions_cost_what_the_authors_publish(published, width, mmacs):
    _, macs, _ = timms_count(published(f"ghostnetv2_{round(width * 100)}"))
    assert round(macs / 1e6) == mmacs


@pytest.mark.parametrize(
    ("name", "millions", "gmacs"),
    [
        ("ghostnetv3_050", 2.85, 0.05),
        ("ghostnetv3_100", 6.15, 0.17),
        ("ghostnetv3_130", 8.95, 0.28),
        ("ghostnetv3_160", 12.38, 0.41),
    ],
)
def test_deployed_ghostnetv3s_cost_what_timm_publishes(name, millions, gmacs):
    family, size = parse_architecture(name)
    assert size is not None
    parameters, _, counted = timms_count(empty_network(family.forms[2], size, 1000))
    assert (parameters, counted) == (millions, gmacs)


def test_ghostnetv3_has_as_many_parameters_in_training_as_published(published):
    assert timms_count(published("ghostnetv3_100"))[0] == 8.13


@pytest.mark.parametrize(
    ("name", "millions", "gmacs"),
    [("ghost_resnet_50", 8.13, 1.2), ("ghost_resnet_50_s2", 13.93, 2.2)],
)
def test_ghost_resnets_cost_what_the_paper_says(published, name, millions, gmacs):
    """But for its parameters, 6.5 and 13.0 million, which are not those of the authors' code."""
    parameters, macs, _ = costs(published(name))
    assert round(parameters / 1e6, 2) == millions
    assert round(macs / 1e9, 1) == gmacs


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
