from __future__ import annotations

from ghostedge_convert.passes import remove_dead_nodes


def test_identities_and_what_nothing_reads_go(graph, apply, ops, weights):
    model = graph(
        "i = Identity(input) dead = Conv(i, w) deader = Relu(dead) r = Relu(i) out = Neg(r)",
        w=weights(4, 3, 3, 3),
    )
    result, note = apply(remove_dead_nodes, model)
    assert ops(result) == ["Relu", "Neg"]
    assert not result.graph.initializer
    assert note.edits == 4


def test_a_graph_of_which_everything_is_used_is_left(graph, apply):
    assert apply(remove_dead_nodes, graph("r = Relu(input) out = Neg(r)"))[1].edits == 0
