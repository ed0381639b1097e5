# ruff: noqa: PLR0917 - fixtures arrive by name
"""A factor or term behind a concat of channels moves to the parts that can take it."""

from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.passes.deploy import to_deploy_graph
from ghostedge_convert.passes.split_scale_at_concat import split_scale_at_concat

STREAMS = "a = Conv<pads=[1,1,1,1]>(input, v) b = Conv(input, w) c = Concat<axis=1>(a, b)"
NORM = "BatchNormalization(c, gamma, beta, mean, var)"


@pytest.mark.parametrize("column", [True, False])
def test_a_factor_and_a_term_behind_a_concat_move_to_its_parts(
    graph, apply, ops, weights, streams, column
):
    size = (7, 1, 1) if column else (1, 1, 1)
    body = f"{STREAMS} m = Mul(c, factor) out = Add(term, m)"
    model = graph(body, factor=weights(*size), term=weights(*size, seed=1), **streams)
    result, note = apply(split_scale_at_concat, model)
    assert ops(result) == ["Conv", "Conv", "Mul", "Mul", "Add", "Add", "Concat"]
    assert note.edits == 2


@pytest.mark.parametrize(
    "body",
    [
        "a = MaxPool<kernel_shape=[1,1]>(input) c = Concat<axis=1>(a, a) out = Mul(c, six)",
        f"{STREAMS} m = Mul(c, seven) r = Relu(c) out = Add(m, r)",
        "a = Conv(input, w) b = Conv(input, w) c = Concat<axis=2>(a, b) out = Mul(c, three)",
        "a = Conv(input, w) r = Relu(a) c = Concat<axis=1>(r, a) out = Mul(c, six)",
        "a = Conv(input, w) r = Conv(input, w) c = Concat<axis=1>(r, a) out = Mul(c, image)",
    ],
    ids=["no convolution", "read elsewhere too", "along rows", "parts read elsewhere", "an image"],
)
def test_a_factor_that_no_part_could_take_up_stays(graph, apply, ops, weights, streams, body):
    constants = {"three": 3, "six": 6, "seven": 7}
    factors = {name: weights(size, 1, 1) for name, size in constants.items()}
    known = {**factors, **streams, "image": weights(6, 32, 32)}
    model = graph(body, **{name: array for name, array in known.items() if name in body})
    result, note = apply(split_scale_at_concat, model)
    assert ops(result) == ops(model)
    assert note.edits == 0


def test_a_batch_norm_behind_a_concat_ends_in_the_streams_convolutions(
    graph, ops, run, photos_32, norm, streams
):
    model = graph(f"{STREAMS} d = {NORM} out = Relu(d)", **streams, **norm)
    result = to_deploy_graph(model).model
    assert ops(result) == ["Conv", "Conv", "Concat", "Relu"]
    np.testing.assert_allclose(run(result, photos_32), run(model, photos_32), atol=1e-4, rtol=1e-4)


def test_a_pooled_stream_keeps_its_own_part_of_the_batch_norm(
    graph, ops, run, photos_32, norm, streams
):
    body = f"""
        a = Conv<pads=[1,1,1,1]>(input, v)
        b = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(input)
        c = Concat<axis=1>(a, b) d = {NORM} out = Relu(d)
    """
    model = graph(body, v=streams["v"], **norm)
    result = to_deploy_graph(model).model
    assert sorted(ops(result)) == ["Concat", "Conv", "Conv", "MaxPool", "Relu"]
    groups = [a.i for n in result.graph.node for a in n.attribute if a.name == "group"]
    assert groups == [3]
    np.testing.assert_allclose(run(result, photos_32), run(model, photos_32), atol=1e-4, rtol=1e-4)
