# ruff: noqa: PLR0917 - fixtures arrive by name
"""What batch norms become that no convolution stands right before."""

from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.passes.deploy import to_deploy_graph
from ghostedge_convert.passes.fold_gemm_scale import fold_gemm_scale
from ghostedge_convert.passes.split_scale_at_concat import split_scale_at_concat
from ghostedge_convert.passes.spread_batch_norm import spread_batch_norm
from ghostedge_convert.passes.use_channelwise_conv import use_channelwise_conv

STREAMS = "a = Conv<pads=[1,1,1,1]>(input, v) b = Conv(input, w) c = Concat<axis=1>(a, b)"
NORM = "BatchNormalization(c, gamma, beta, mean, var)"


@pytest.fixture
def norm(weights):
    return {
        "gamma": weights(7, seed=1),
        "beta": weights(7, seed=2),
        "mean": weights(7, seed=3),
        "var": np.abs(weights(7, seed=4)) + 0.1,
    }


@pytest.fixture
def streams(weights):
    return {"v": weights(4, 3, 3, 3), "w": weights(3, 3, 1, 1)}


def test_a_batch_norm_is_a_factor_and_a_term(graph, apply, ops, norm, streams):
    model = graph(f"{STREAMS} out = {NORM}", **streams, **norm)
    result, note = apply(spread_batch_norm, model)
    assert ops(result) == ["Conv", "Conv", "Concat", "Mul", "Add"]
    assert note.edits == 1


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


def test_a_batch_norm_of_a_sum_is_one_depthwise_convolution(graph, ops, run, photos_32, weights):
    body = """
        a = Conv(input, w) b = Relu(input) c = Add(a, b)
        d = BatchNormalization(c, gamma, beta, beta, var) out = Relu(d)
    """
    var = np.abs(weights(3, seed=2)) + 0.1
    model = graph(body, w=weights(3, 3, 1, 1), gamma=weights(3), beta=weights(3, seed=1), var=var)
    result = to_deploy_graph(model).model
    assert ops(result) == ["Conv", "Relu", "Add", "Conv", "Relu"]
    np.testing.assert_allclose(run(result, photos_32), run(model, photos_32), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        ("m = Mul(input, factor) out = Add(m, term)", ["Conv"]),
        ("m = Mul(factor, input) out = Add(term, m)", ["Conv"]),
        ("out = Mul(input, factor)", ["Conv"]),
        ("m = Mul(input, factor) r = Relu(m) out = Add(r, m)", ["Conv", "Relu", "Add"]),
        ("m = Mul(input, half) out = Add(m, term)", ["Conv"]),
        ("out = Mul(input, half)", ["Mul"]),
        ("out = Mul(input, wide)", ["Mul"]),
        ("p = GlobalAveragePool(input) out = Mul(p, wide)", ["GlobalAveragePool", "Mul"]),
    ],
)
def test_a_factor_per_channel_is_a_depthwise_convolution(graph, apply, ops, weights, body, kinds):
    known = {
        "factor": weights(3, 1, 1),
        "term": weights(1, 3, 1, 1, seed=1),
        "half": np.float32(0.5),
        "wide": weights(1, 1, 32, 32),
    }
    model = graph(body, **{name: array for name, array in known.items() if name in body})
    assert ops(apply(use_channelwise_conv, model)[0]) == kinds


@pytest.mark.parametrize(
    ("total", "left"),
    [
        ("s = Mul(input, input) v = GlobalAveragePool(s)", True),
        ("s = Pow(input, two) v = GlobalAveragePool(s)", True),
        ("v = ReduceSum(input, space)", True),
        ("v = GlobalAveragePool(input)", False),
        ("s = Mul(input, two) v = GlobalAveragePool(s)", False),
    ],
)
def test_a_variance_times_a_factor_is_no_convolution(graph, apply, ops, total, left):
    known = {"two": np.float32(2), "space": np.array([2, 3])}
    model = graph(
        f"{total} m = Mul(v, half) out = Add(m, half)",
        half=np.float32(0.5),
        **{name: array for name, array in known.items() if name in total},
    )
    assert ("Conv" in ops(apply(use_channelwise_conv, model)[0])) is not left


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", ["", ", b"])
def test_a_batch_norm_of_features_ends_in_the_dense_layer(
    graph, apply, ops, weights, transposed, bias
):
    body = f"""
        p = GlobalAveragePool(input) f = Flatten(p) g = Gemm<transB={transposed}>(f, w{bias})
        m = Mul(g, factor) a = Add(term, m) out = Relu(a)
    """
    known = {
        "w": weights(5, 3) if transposed else weights(3, 5),
        "factor": weights(5),
        "term": weights(1, 5, seed=1),
        **({"b": weights(5, seed=2)} if bias else {}),
    }
    result, note = apply(fold_gemm_scale, graph(body, **known))
    assert ops(result) == ["GlobalAveragePool", "Flatten", "Gemm", "Relu"]
    assert note.edits == 2


def test_a_dense_layer_with_factors_of_its_own_is_left(graph, apply, ops, weights):
    body = """
        p = GlobalAveragePool(input) f = Flatten(p) g = Gemm<alpha=0.5>(f, w) out = Mul(g, factor)
    """
    model = graph(body, w=weights(3, 5), factor=weights(5))
    assert ops(apply(fold_gemm_scale, model)[0]) == ops(model)
