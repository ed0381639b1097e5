# ruff: noqa: PLR0917 - fixtures beside parameters
from __future__ import annotations

import pytest

from ghostedge_convert.passes.split_transposed_conv import split_transposed_conv


@pytest.mark.parametrize("group", [1, 2, 6])
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
def test_it_becomes_a_conv_for_each_phase(graph, apply, ops, weights, group, kernel, attributes):
    model = graph(
        f"c = Conv<strides=[4,4]>(input, first) "
        f"out = ConvTranspose<group={group}, {attributes}>(c, w, b)",
        first=weights(6, 3, 4, 4, seed=8),
        w=weights(6, 2, kernel, kernel),
        b=weights(2 * group, seed=9),
    )
    result, note = apply(split_transposed_conv, model)
    left = group == 1 and "strides=[1,1]" in attributes
    assert note.edits == (not left)
    assert ("ConvTranspose" in ops(result)) == left
    if not left:
        pointwise = group == 1 and (kernel == 1 or (kernel == 2 and "pads" not in attributes))
        single = "strides=[1,1]" in attributes or pointwise
        assert ops(result).count("Conv") == (2 if single else 5)


@pytest.mark.parametrize("attributes", ["group=1, strides=[3,3]", "group=2, strides=[2,1]"])
def test_others_are_left(graph, apply, ops, weights, attributes):
    model = graph(
        f"c = Conv<strides=[4,4]>(input, first) out = ConvTranspose<{attributes}>(c, w)",
        first=weights(6, 3, 4, 4, seed=8),
        w=weights(6, 2, 3, 3),
    )
    result, note = apply(split_transposed_conv, model)
    assert ops(result) == ["Conv", "ConvTranspose"]
    assert note.edits == 0
