from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.passes.fold_pad import fold_pad

AFTER = np.array([0, 0, 0, 0, 0, 0, 1, 1])


def pads(model):
    return [list(a.ints) for n in model.graph.node for a in n.attribute if a.name == "pads"]


def test_zeros_after_become_the_convs_own_padding(graph, apply, ops, weights):
    model = graph(
        "p = Pad(input, pads) out = Conv <strides=[2, 2]> (p, w)", pads=AFTER, w=weights(4, 3, 3, 3)
    )
    result, note = apply(fold_pad, model)
    assert ops(result) == ["Conv"]
    assert pads(result) == [[0, 0, 1, 1]]
    assert note.edits == 1


def test_it_is_added_to_the_padding_that_is_there(graph, apply, ops, weights):
    model = graph(
        "p = Pad(input, pads, zero, axes) out = Conv <pads=[1, 1, 0, 2]> (p, w)",
        pads=np.array([3, 4]),
        zero=np.float32(0),
        axes=np.array([-1]),
        w=weights(4, 3, 3, 3),
    )
    result, _ = apply(fold_pad, model)
    assert pads(result) == [[1, 4, 0, 6]]


def test_a_pad_that_others_read_stays_for_them(graph, apply, ops, weights):
    model = graph(
        "p = Pad(input, pads) c = Conv(p, w) g = GlobalAveragePool(p) out = Add(c, g)",
        pads=AFTER,
        w=weights(3, 3, 3, 3),
    )
    assert ops(apply(fold_pad, model)[0]).count("Pad") == 1


def test_what_nothing_is_below_becomes_the_max_pools_own(graph, apply, ops):
    model = graph(
        "p = Pad(input, pads, low) out = MaxPool <kernel_shape=[3, 3], strides=[2, 2]> (p)",
        pads=AFTER,
        low=np.float32(-np.inf),
    )
    assert ops(apply(fold_pad, model)[0]) == ["MaxPool"]


def test_a_border_repeated_is_in_every_window_anyway(graph, apply, ops):
    model = graph(
        """r = Neg(input) p = Pad <mode="edge"> (r, pads)
           out = MaxPool <kernel_shape=[3, 3], strides=[2, 2], dilations=[1, 1]> (p)""",
        pads=AFTER,
    )
    assert ops(apply(fold_pad, model)[0]) == ["Neg", "MaxPool"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Pad(input, pads, one)", "Conv(p, w)"),
        ('Pad <mode="reflect"> (input, pads)', "Conv(p, w)"),
        ("Pad(input, channels)", "Conv(p, v)"),
        ('Pad <mode="edge"> (input, pads)', "Conv(p, w)"),
        (
            'Pad <mode="edge"> (input, pads)',
            "MaxPool <kernel_shape=[3, 3], dilations=[2, 2]> (p)",
        ),
        ("Pad(input, pads)", "MaxPool <kernel_shape=[3, 3]> (p)"),
        ("Pad(input, pads, low)", "MaxPool <kernel_shape=[1, 1]> (p)"),
        ("Pad(input, pads)", 'Conv <auto_pad="SAME_UPPER"> (p, w)'),
        ("Pad(input, crop)", "Conv(p, w)"),
    ],
)
def test_another_padding_is_left(graph, apply, ops, weights, *, before, after):
    model = graph(
        f"p = {before} q = {after} m = GlobalMaxPool(q) out = Relu(m)",
        pads=AFTER,
        channels=np.array([0, 0, 0, 0, 0, 1, 0, 0]),
        crop=-AFTER,
        one=np.float32(1),
        low=np.float32(-np.inf),
        w=weights(4, 3, 3, 3),
        v=weights(4, 4, 3, 3),
    )
    result, note = apply(fold_pad, model)
    assert note.edits == 0
    assert ops(result)[0] == "Pad"
