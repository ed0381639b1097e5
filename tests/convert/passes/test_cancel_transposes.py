from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghostedge_convert.passes.cancel_transposes import cancel_transposes

LAST = "Transpose <perm=[0, 2, 3, 1]>"
FIRST = "Transpose <perm=[0, 3, 1, 2]>"


def test_a_transpose_and_its_inverse_go(graph, apply, ops):
    model = graph(f"a = {LAST}(input) b = {FIRST}(a) out = Relu(b)")
    result, note = apply(cancel_transposes, model)
    assert ops(result) == ["Relu"]
    assert note.edits == 2


def test_two_transposes_become_their_composition(graph, apply):
    model = graph(f"a = {LAST}(input) out = {LAST}(a)")
    (node,) = apply(cancel_transposes, model)[0].graph.node
    assert list(node.attribute[0].ints) == [0, 3, 1, 2]


@pytest.mark.parametrize(
    "body",
    [
        "y = Relu(x)",
        "y = HardSigmoid <alpha=0.1666667, beta=0.5> (x)",
        "y = Clip(x, low, high)",
        "y = Mul(x, channels)",
        "y = Sub(scalar, x)",
        "y = Add(x, whole)",
        "r = Relu(x) y = Add(x, r)",
        "r = Relu(x) y = Concat <axis=-1> (x, r)",
        "y = Softmax <axis=-1> (x)",
        "m = ReduceMean(x, spatial) y = Mul(x, m)",
        "y = Pad(x, pads)",
        "y = Slice(x, starts, ends, spatial)",
        "a, b = Split <axis=1, num_outputs=2> (x) y = Sub(a, b)",
        'y = Resize <mode="nearest", coordinate_transformation_mode="asymmetric"> (x, , scales)',
    ],
)
def test_ops_between_a_pair_are_computed_channels_first(graph, apply, ops, weights, body):
    model = graph(
        f"x = {LAST}(input) {body} out = {FIRST}(y)",
        low=np.float32(-0.5),
        high=np.float32(0.5),
        channels=weights(3),
        scalar=np.float32(2),
        whole=weights(1, 32, 1, 3),
        spatial=np.array([1, 2]),
        pads=np.array([0, 1, 2, 0, 0, 3, 4, 0]),
        starts=np.array([1, 2]),
        ends=np.array([30, 9]),
        scales=np.array([1, 2, 3, 1], np.float32),
    )
    result, _ = apply(cancel_transposes, model)
    assert "Transpose" not in ops(result)
    assert [op for op in ops(result) if op != "Reshape"] == ops(model)[1:-1]


def test_a_mean_that_drops_height_and_width_needs_no_transpose(graph, apply, ops):
    model = graph(
        f"x = {LAST}(input) out = ReduceMean <keepdims=0> (x, axes)", axes=np.array([1, 2])
    )
    assert ops(apply(cancel_transposes, model)[0]) == ["ReduceMean"]


def test_a_mean_that_leaves_axes_turned_keeps_a_transpose_of_those(graph, apply, ops):
    model = graph(f"x = {LAST}(input) out = ReduceMean <keepdims=0> (x, axes)", axes=np.array([1]))
    result, _ = apply(cancel_transposes, model)
    assert ops(result) == ["ReduceMean", "Transpose"]
    assert list(result.graph.node[1].attribute[0].ints) == [0, 2, 1]


def test_a_gate_that_was_reshaped_to_one_pixel_meets_the_image(graph, apply, ops, weights):
    model = graph(
        f"""x = {LAST}(input) m = ReduceMean <keepdims=0> (x, spatial) d = MatMul(m, w)
            s = Sigmoid(d) g = Reshape(s, shape) y = Mul(x, g) out = {FIRST}(y)""",
        spatial=np.array([1, 2]),
        w=weights(3, 3),
        shape=np.array([8, 1, 1, 3]),
    )
    assert "Transpose" not in ops(apply(cancel_transposes, model)[0])


def test_a_transpose_that_moves_no_element_is_a_reshape(graph, apply, ops):
    model = graph(
        f"m = GlobalMaxPool(input) r = {LAST}(m) out = Exp(r)",
    )
    assert ops(apply(cancel_transposes, model)[0]) == ["GlobalMaxPool", "Exp", "Reshape"]


def test_one_of_a_whole_image_before_a_reshape_stays_and_is_named(graph, apply, ops):
    model = graph(f"x = {LAST}(input) out = Flatten(x)")
    result, note = apply(cancel_transposes, model)
    assert ops(result) == ["Transpose", "Flatten"]
    assert "1 transposes, 1 left" in note.note


def test_an_addition_of_images_in_different_orders_is_left(graph, apply, ops, weights):
    model = graph(
        f"c = Conv(input, w) x = {LAST}(c) out = Add(x, c)",
        w=weights(32, 3, 1, 1),
    )
    assert ops(apply(cancel_transposes, model)[0]) == ["Conv", "Transpose", "Add"]


def test_a_value_that_is_a_graph_output_keeps_its_order(graph, apply, ops):
    model = graph(f"x = {LAST}(input) r = Relu(x) out = Neg(r)")
    second = model.graph.output.add()
    second.CopyFrom(next(v for v in model.graph.value_info if v.name == "r"))
    result, _ = apply(cancel_transposes, model)
    shapes = [[d.dim_value for d in o.type.tensor_type.shape.dim] for o in result.graph.output]
    assert shapes == [[8, 32, 32, 3]] * 2
    onnx.checker.check_model(result, full_check=True)


STEPS = {
    "relu": "Relu({x})",
    "scale": "Mul({x}, factor)",
    "shift": "Sub(scalar, {x})",
    "last": LAST + "({x})",
    "first": FIRST + "({x})",
    "swap": "Transpose <perm=[0, 1, 3, 2]>({x})",
    "join": "Concat <axis=3> ({x}, {x})",
    "mean": "ReduceMean <keepdims=1> ({x}, spatial)",
    "softmax": "Softmax <axis=1> ({x})",
}


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=7))
def test_any_row_of_ops_and_transposes_computes_the_same(graph, run, photos_32, steps):
    names = [f"v{i}" for i in range(len(steps))] + ["out"]
    body = " ".join(
        f"{after} = {STEPS[step].format(x=before)}"
        for step, before, after in zip(steps, ["input", *names], names[:-1], strict=False)
    )
    body += f" out = Add({names[len(steps) - 1]}, {names[len(steps) - 1]})"
    model = graph(body, factor=np.float32(1.5), scalar=np.float32(0.5), spatial=np.array([1, 2]))
    edited = ir.from_proto(model)
    cancel_transposes(edited)
    result = ir.to_proto(edited)
    onnx.checker.check_model(result, full_check=True)
    np.testing.assert_allclose(run(result, photos_32), run(model, photos_32), atol=1e-5)
