from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from ghostedge_convert.passes.drop_noop_slice import drop_noop_slice
from ghostedge_convert.passes.remove_dead_nodes import remove_dead_nodes


@pytest.fixture
def run_pass_on_outputs():
    """Run a pass over a graph of several outputs, all of the input's shape; checked by onnx."""

    def run(body, outputs, step=remove_dead_nodes, **integers):
        ends = ", ".join(f"float[1,3,8,8] {name}" for name in outputs)
        model = parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 18]>'
            f" toy (float[1,3,8,8] input) => ({ends}) {{ {body} }}"
        )
        for name, values in integers.items():
            stored = numpy_helper.from_array(np.array(values, np.int64), name)
            model.graph.initializer.append(stored)
        graph = ir.from_proto(model)
        step(graph)
        result = ir.to_proto(graph)
        onnx.checker.check_model(result, full_check=True)
        return result

    return run


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


def test_outputs_that_are_one_tensor_keep_their_names(run_pass_on_outputs):
    result = run_pass_on_outputs("r = Relu(input) a = Identity(r) b = Identity(r)", ["a", "b"])
    assert [value.name for value in result.graph.output] == ["a", "b"]


def test_an_output_that_is_the_input_stays_one(run_pass_on_outputs):
    result = run_pass_on_outputs("a = Identity(input) b = Relu(input)", ["a", "b"])
    assert [value.name for value in result.graph.output] == ["a", "b"]
    assert [node.op_type for node in result.graph.node] == ["Identity", "Relu"]


def test_a_noop_slice_between_two_outputs_leaves_both_names(run_pass_on_outputs):
    body = "a = Relu(input) b = Slice(a, zero, nine, one)"
    result = run_pass_on_outputs(body, ["a", "b"], drop_noop_slice, zero=[0], nine=[9], one=[1])
    assert [value.name for value in result.graph.output] == ["a", "b"]
    assert [node.op_type for node in result.graph.node] == ["Relu", "Identity"]
    assert not result.graph.initializer
