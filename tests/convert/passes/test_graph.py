"""The edits that passes share keep names, other readers and the graph's outputs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from ghostedge_convert.passes.graph import (
    add_constant,
    bypass,
    constant,
    ints_attr,
    nodes_of,
    per_channel,
    set_constant,
    write_reshape,
)


@pytest.fixture
def shared(graph) -> ir.Model:
    """Two sums that read one constant."""
    model = graph("a = Add(input, term) out = Add(a, term)", term=np.float32([1.0]))
    return ir.from_proto(model)


def test_a_new_constant_of_one_node_leaves_the_other_readers_the_old_one(shared):
    first, second = nodes_of(shared, "Add")
    set_constant(shared, first, 1, np.float32([2.0]))
    assert constant(first.inputs[1]).tolist() == [2.0]
    assert constant(second.inputs[1]).tolist() == [1.0]
    assert first.inputs[1].name == "a_node:1"


def test_the_only_reader_of_a_constant_keeps_its_name(graph):
    model = ir.from_proto(graph("out = Add(input, term)", term=np.float32([1.0])))
    (node,) = nodes_of(model, "Add")
    set_constant(model, node, 1, np.float32([2.0]))
    assert node.inputs[1].name == "term"


def test_a_taken_name_gets_a_number(shared):
    assert add_constant(shared, "term", np.float32([3.0])).name == "term_2"


def test_a_bypassed_node_gives_the_graphs_output_its_name(graph):
    model = ir.from_proto(graph("a = Relu(input) out = Identity(a)"))
    (node,) = nodes_of(model, "Identity")
    bypass(model, node, node.inputs[0])
    assert [n.op_type for n in model.graph] == ["Relu"]
    assert model.graph.outputs[0].name == "out"


def test_a_bypassed_node_between_an_input_and_an_output_becomes_an_identity(graph):
    model = ir.from_proto(graph("out = Relu(input)"))
    (node,) = nodes_of(model, "Relu")
    bypass(model, node, node.inputs[0])
    assert [n.op_type for n in model.graph] == ["Identity"]


def test_a_reshape_in_a_nodes_place_is_named_after_it(graph):
    model = ir.from_proto(graph("a = Relu(input) out = Flatten(a)"))
    (node,) = nodes_of(model, "Flatten")
    node.name = "head/Flatten"
    write_reshape(model, node, node.inputs[0], (8, 3 * 32 * 32))
    (reshape,) = nodes_of(model, "Reshape")
    assert reshape.name == "head/Reshape"
    assert constant(reshape.inputs[1]).tolist() == [8, 3 * 32 * 32]
    assert model.graph.outputs[0].name == "out"


@pytest.mark.parametrize(
    ("shape", "values"),
    [((1, 3, 1, 1), [0, 1, 2]), ((3, 1, 1), [0, 1, 2]), ((1,), [0, 0, 0]), ((3,), None)],
)
def test_a_constant_is_per_channel_where_it_varies_along_the_second_axis_alone(shape, values):
    array = np.arange(np.prod(shape)).reshape(shape)
    channels = per_channel(array, 3, 4)
    assert (None if channels is None else channels.tolist()) == values


def test_integers_of_an_attribute_have_a_default(graph):
    model = ir.from_proto(
        graph("out = Conv<pads=[1,1,1,1]>(input, w)", w=np.ones((2, 3, 3, 3), "f"))
    )
    (conv,) = nodes_of(model, "Conv")
    assert ints_attr(conv, "pads", [0] * 4) == [1, 1, 1, 1]
    assert ints_attr(conv, "strides", [1, 1]) == [1, 1]
