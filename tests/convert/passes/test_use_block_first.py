from __future__ import annotations

import pytest

from ghostedge_convert.passes.use_block_first import use_block_first


def modes(model):
    return [
        attribute.s.decode()
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name == "mode"
    ]


@pytest.mark.parametrize("between", ["r = Identity(c)", "r = Relu(c)"])
def test_a_convs_outputs_take_the_order_of_the_blocks(graph, apply, ops, weights, between):
    body = f'c = Conv(input, w, b) {between} out = DepthToSpace<blocksize=2, mode="CRD">(r)'
    model = graph(body, w=weights(12, 3, 1, 1), b=weights(12, seed=1))
    result, note = apply(use_block_first, model)
    assert modes(result) == (["DCR"] if "Relu" in between else ["CRD"])
    assert note.edits == ("Relu" in between)


def test_a_conv_that_is_read_elsewhere_too_is_left(graph, apply, weights):
    body = """
        c = Conv(input, w) d = DepthToSpace<blocksize=2, mode="CRD">(c)
        s = SpaceToDepth<blocksize=2>(d) out = Add(s, c)
        """
    result, note = apply(use_block_first, graph(body, w=weights(12, 3, 1, 1)))
    assert modes(result) == ["CRD"]
    assert note.edits == 0
