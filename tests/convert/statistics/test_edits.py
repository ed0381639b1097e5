"""Edits of a graph into another network of the same weights, held against torch's own modules."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from ghostedge_convert.export import export_onnx
from ghostedge_convert.statistics.edits import EDITS, edited

SIDE = 16


class Gate(nn.Module):
    """A squeeze-and-excitation."""

    def __init__(self, channels: int, gate: nn.Module) -> None:
        super().__init__()
        self.squeeze, self.gate = nn.Conv2d(channels, channels, 1), gate

    def forward(self, x):
        return x * self.gate(self.squeeze(x.mean((2, 3), keepdim=True)))


class Block(nn.Module):
    """Two convolutions, one with a stride, and an identity shortcut where there is none."""

    def __init__(self, strides: tuple[int, int], act: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(8, 8, 1, strides[0], bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.act = act
        self.conv2 = nn.Conv2d(8, 8, 3, strides[1], 1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.se = Gate(8, gate)
        self.shortcut = strides == (1, 1)

    def forward(self, x):
        y = self.se(self.bn2(self.conv2(self.act(self.bn1(self.conv1(x))))))
        return x + y if self.shortcut else y


def network(
    act: type[nn.Module] = nn.ReLU,
    gate: type[nn.Module] = nn.Hardsigmoid,
    strides: tuple[int, int] = (1, 2),
    shortcuts: bool = True,
) -> nn.Module:
    """Four blocks, the first and the third with a stride; the same weights in every variant."""
    torch.manual_seed(0)
    shapes = [strides, (1, 1), strides, (1, 1)]
    net = nn.Module()
    net.stem = nn.Conv2d(3, 8, 3, padding=1)
    net.blocks = nn.Sequential(*(Block(shape, act(), gate()) for shape in shapes))
    for block in net.blocks:
        nn.init.uniform_(block.bn1.weight, 4, 8)  # so that some are beyond 6
        block.shortcut = block.shortcut and shortcuts
    net.forward = lambda x: net.blocks(net.stem(x)).mean((2, 3))
    return net.eval()


@cache
def exported(**variant: object) -> onnx.ModelProto:
    return export_onnx(network(**variant), input_size=(SIDE, SIDE))


def answers(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    images = np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    return session.run(None, {session.get_inputs()[0].name: images})[0]


@pytest.mark.parametrize(
    ("words", "before", "after"),
    [
        ("ReLU6 in place of ReLU", {}, {"act": nn.ReLU6}),
        ("ReLU in place of ReLU6", {"act": nn.ReLU6}, {}),
        ("Sigmoid in place of HardSigmoid", {}, {"gate": nn.Sigmoid}),
        ("HardSigmoid in place of Sigmoid", {"gate": nn.Sigmoid}, {}),
        ("no identity shortcuts", {}, {"shortcuts": False}),
        ("identity shortcuts", {"shortcuts": False}, {}),
        ("the stride of 2 blocks on conv2 in place of conv1", {"strides": (2, 1)}, {}),
        ("the stride of 2 blocks on conv1 in place of conv2", {}, {"strides": (2, 1)}),
    ],
)
def test_an_edit_computes_what_the_other_network_does(words, before, after):
    model, other = exported(**before), answers(exported(**after))
    unedited = model.SerializeToString()
    edits = dict(edited(model))
    assert np.abs(answers(model) - other).max() > 1e-3
    np.testing.assert_allclose(answers(edits[words]), other, rtol=1e-4, atol=1e-5)
    assert model.SerializeToString() == unedited


def test_an_epsilon_is_set_in_every_batch_norm():
    edits = dict(edited(exported()))
    norms = [n for n in edits["an epsilon of 1e-3"].graph.node if n.op_type == "BatchNormalization"]
    assert len(norms) == 8
    epsilons = [a.f for norm in norms for a in norm.attribute if a.name == "epsilon"]
    assert epsilons == pytest.approx([1e-3] * 8)
    assert "an epsilon of 1e-5" not in edits  # which they have


def test_a_network_without_any_of_these_has_no_edits():
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = export_onnx(plain.eval(), input_size=(SIDE, SIDE))
    assert [*edited(model)] == []
    for edit in EDITS.values():
        assert not edit(model)
