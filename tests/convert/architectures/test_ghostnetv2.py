from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by

from ghostedge_convert.architectures.ghostnet import GhostModule, GhostNet
from ghostedge_convert.architectures.ghostnetv2 import AttentiveGhostModule, GhostNetV2
from ghostedge_runtime.errors import InputError


def test_keys_are_v1s_and_an_attention_in_the_third_and_later_blocks():
    keys = list(GhostNetV2().state_dict())
    assert len(keys) == 764
    added = [key for key in keys if key not in GhostNet().state_dict()]
    assert len(keys) - len(added) == 512
    assert {key.split(".short_conv.")[0] for key in added} == {
        f"blocks.{stage}.{block}.ghost1"
        for stage, blocks in {2: 1, 3: 1, 4: 1, 5: 1, 6: 5, 7: 1, 8: 4}.items()
        for block in range(blocks)
    }
    one = [k.partition("3.0.ghost1.short_conv.")[2] for k in added if "3.0.ghost1.short" in k]
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert one == [
        key for i in (0, 2, 4) for key in (f"{i}.weight", *(f"{i + 1}.{name}" for name in norm))
    ]


def test_the_attention_looks_along_rows_and_then_columns():
    branch = AttentiveGhostModule(4, 8).short_conv
    shapes = [tuple(p.shape) for name, p in branch.named_parameters() if p.ndim == 4]
    assert shapes == [(8, 4, 1, 1), (8, 1, 1, 5), (8, 1, 5, 1)]


@settings(max_examples=12, deadline=None)
@given(height=st.integers(2, 9), width=st.integers(2, 9))
def test_each_gate_multiplies_the_positions_it_stands_for(height, width):
    torch.manual_seed(height * 10 + width)
    module = AttentiveGhostModule(3, 4).eval()
    x = torch.randn(1, 3, height, width)
    with torch.no_grad():
        gates = torch.sigmoid(module.short_conv(F.avg_pool2d(x, 2, 2)))
        plain = GhostModule.forward(module, x)
        rows = [row * gates.shape[2] // height for row in range(height)]
        columns = [column * gates.shape[3] // width for column in range(width)]
        torch.testing.assert_close(module(x), plain * gates[:, :, rows][..., columns])


@settings(max_examples=4, deadline=None)
@given(
    width=st.floats(0.1, 1.6),
    height=st.integers(33, 80),
    breadth=st.integers(33, 80),
    batch=st.integers(1, 2),
)
def test_any_width_size_and_batch_gives_logits(width, height, breadth, batch):
    network = GhostNetV2(width=width, num_classes=3).eval()
    with torch.no_grad():
        assert network(torch.zeros(batch, 3, height, breadth)).shape == (batch, 3)


def test_an_image_whose_smallest_map_has_no_half_is_refused():
    network = GhostNetV2(width=0.5, num_classes=3).eval()
    with torch.no_grad(), pytest.raises(InputError) as raised:
        network(torch.zeros(1, 3, 32, 64))
    assert "halves a map of 1 × 2, which is too small" in raised.value.what
    assert "at least 33 × 33" in str(raised.value.remedy)
