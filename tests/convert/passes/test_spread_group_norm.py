# ruff: noqa: PLR0917 - fixtures arrive by name
from __future__ import annotations

import itertools

import numpy as np
import pytest

from ghostedge_convert import lower_to_tflite, to_deploy_graph
from ghostedge_convert.passes.spread_group_norm import spread_group_norm

PARTS = ["Reshape", "InstanceNormalization", "Reshape", "Mul", "Add"]


def group_norms(graph, weights, opset, count):
    """Group norms of 3 groups, one behind the other, their parameters by group or by channel."""
    sizes = 3 if opset == 18 else 6
    names = ["a", *(f"n{number}" for number in range(count - 1)), "out"]
    body = "a = Conv(input, w) " + " ".join(
        f"{after} = GroupNormalization<num_groups=3, epsilon=0.001>({before}, s, b)"
        for before, after in itertools.pairwise(names)
    )
    parameters = {"w": weights(6, 3, 1, 1), "s": weights(sizes), "b": weights(sizes, seed=1)}
    return shaped(graph(body, opset=opset, **parameters), 6)


def shaped(model, channels):
    """The model with its output's shape, which onnx does not infer."""
    shape = model.graph.output[0].type.tensor_type.shape
    for size in (8, channels, 32, 32):
        shape.dim.add().dim_value = size
    return model


@pytest.mark.parametrize("opset", [18, 21])
@pytest.mark.parametrize("count", [1, 3])
def test_group_norms_are_written_as_instance_norms(graph, weights, apply, ops, opset, count):
    result, note = apply(spread_group_norm, group_norms(graph, weights, opset, count))
    assert ops(result) == ["Conv", *PARTS * count]
    assert note.edits == count


def test_they_are_one_node_again_in_tflite(graph, weights):
    model = to_deploy_graph(group_norms(graph, weights, 21, 2)).model
    assert lower_to_tflite(model).data.count(b"rsqrt") >= 2


def test_computed_parameters_are_left(graph, weights, apply, ops):
    body = """s = ReduceMean<keepdims=0>(input, axes)
    out = GroupNormalization<num_groups=3>(input, s, s)"""
    model = shaped(graph(body, opset=21, axes=np.array([0, 2, 3])), 3)
    result, note = apply(spread_group_norm, model)
    assert ops(result) == ["ReduceMean", "GroupNormalization"]
    assert note.edits == 0
