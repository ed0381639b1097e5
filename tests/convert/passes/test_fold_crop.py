from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.passes.fold_crop import fold_crop

CONV = "c = ConvTranspose<strides=[2,2]{attributes}>(input, w) out = Slice(c, s, e, a)"


@pytest.fixture
def cropped(graph, weights):
    """A transposed convolution of stride 2 whose height and width are cut by a Slice."""

    def make(starts, ends, attributes="", kernel=3):
        constants = {"s": np.array(starts), "e": np.array(ends), "a": np.array([2, 3])}
        body = CONV.format(attributes=attributes)
        return graph(body, w=weights(3, 4, kernel, kernel), **constants)

    return make


def pads_of(model):
    attributes = {a.name: list(a.ints) for a in model.graph.node[0].attribute}
    return attributes["pads"], attributes["output_padding"]


def test_keras_same_padding_becomes_the_convolutions_own(apply, ops, cropped):
    model = cropped([0, 0], [-1, -1])
    result, note = apply(fold_crop, model)
    assert ops(result) == ["ConvTranspose"]
    assert pads_of(result) == ([0, 0, 1, 1], [0, 0])
    assert note.edits == 1


def test_output_padding_goes_first(apply, ops, cropped):
    model = cropped([0, 1], [-2, 2**31], ", output_padding=[1,1], pads=[1,0,0,1]")
    result, _ = apply(fold_crop, model)
    assert ops(result) == ["ConvTranspose"]
    assert pads_of(result) == ([1, 1, 1, 1], [0, 1])


@pytest.mark.parametrize("kernel", [2, 3, 5])
@pytest.mark.parametrize("cut", [(0, 1, 2, 0), (3, 0, 1, 1), (4, 4, 4, 4), (1, 2, 0, 3)])
def test_a_crop_is_folded_as_far_as_the_kernel_reaches(apply, ops, cropped, cut, kernel):
    starts, ends = list(cut[:2]), [2**31 if n == 0 else -n for n in cut[2:]]
    result, _ = apply(fold_crop, cropped(starts, ends, kernel=kernel))
    assert ops(result) == (["ConvTranspose"] if max(cut) < kernel else ["ConvTranspose", "Slice"])


@pytest.mark.parametrize(
    "body",
    [
        "c = ConvTranspose(input, w) out = Slice(c, zero, two, one)",  # of channels
        "c = ConvTranspose(input, w) out = Slice(c, zero, end, axis, two)",  # every other row
        "c = ConvTranspose(input, w) r = Slice(c, zero, end, axis) out = Concat<axis=2>(r, c)",
        'c = ConvTranspose<auto_pad="SAME_UPPER">(input, w) out = Slice(c, zero, end, axis)',
        "c = Conv(input, v) out = Slice(c, zero, end, axis)",
    ],
)
def test_another_cut_is_left(graph, apply, weights, body):
    names = {"zero": 0, "one": 1, "two": 2, "axis": 2, "end": -1}
    constants = {name: np.array([value]) for name, value in names.items() if name in body}
    key, shape = ("v", (4, 3, 3, 3)) if "v)" in body else ("w", (3, 4, 3, 3))
    model = graph(body, **{key: weights(*shape)}, **constants)
    assert apply(fold_crop, model)[1].edits == 0
