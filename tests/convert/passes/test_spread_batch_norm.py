"""A batch norm that no convolution took up is a factor and a term."""

from __future__ import annotations

import numpy as np

from ghostedge_convert.passes.deploy import to_deploy_graph
from ghostedge_convert.passes.spread_batch_norm import spread_batch_norm

STREAMS = "a = Conv<pads=[1,1,1,1]>(input, v) b = Conv(input, w) c = Concat<axis=1>(a, b)"


NORM = "BatchNormalization(c, gamma, beta, mean, var)"


def test_a_batch_norm_is_a_factor_and_a_term(graph, apply, ops, norm, streams):
    model = graph(f"{STREAMS} out = {NORM}", **streams, **norm)
    result, note = apply(spread_batch_norm, model)
    assert ops(result) == ["Conv", "Conv", "Concat", "Mul", "Add"]
    assert note.edits == 1


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
