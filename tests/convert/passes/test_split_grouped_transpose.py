# ruff: noqa: PLR0917 - fixtures beside parameters
from __future__ import annotations

import pytest

from ghostedge_convert.passes import split_grouped_transpose


@pytest.mark.parametrize("group", [2, 6])
@pytest.mark.parametrize(
    ("kernel", "attributes"),
    [
        (2, 'strides=[2,2], auto_pad="NOTSET"'),
        (4, "strides=[2,2], pads=[1,1,1,1]"),
        (3, "strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]"),
        (3, "strides=[2,2], pads=[2,1,0,2]"),
        (1, "strides=[2,2], output_padding=[1,0]"),
        (5, "strides=[2,2], pads=[4,3,4,4]"),
        (2, "strides=[2,2], dilations=[2,3], pads=[1,0,1,0]"),
        (3, "strides=[1,1], pads=[1,1,1,1]"),
    ],
)
def test_groups_become_a_conv_for_each_phase(graph, apply, ops, weights, group, kernel, attributes):
    model = graph(
        f"c = Conv<strides=[4,4]>(input, first) "
        f"out = ConvTranspose<group={group}, {attributes}>(c, w, b)",
        first=weights(6, 3, 4, 4, seed=8),
        w=weights(6, 2, kernel, kernel),
        b=weights(2 * group, seed=9),
    )
    result, note = apply(split_grouped_transpose, model)
    assert note.edits == 1
    assert "ConvTranspose" not in ops(result)
    assert ops(result).count("Conv") == (2 if "strides=[1,1]" in attributes else 5)


@pytest.mark.parametrize("attributes", ["group=1, strides=[2,2]", "group=2, strides=[3,3]"])
def test_others_are_left(graph, apply, ops, weights, attributes):
    model = graph(
        f"c = Conv<strides=[4,4]>(input, first) out = ConvTranspose<{attributes}>(c, w)",
        first=weights(6, 3, 4, 4, seed=8),
        w=weights(6, 2, 3, 3),
    )
    result, note = apply(split_grouped_transpose, model)
    assert ops(result) == ["Conv", "ConvTranspose"]
    assert note.edits == 0
