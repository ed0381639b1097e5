# ruff: noqa: PLR0917 - fixtures beside parameters
"""Ghost modules in halves compute what they did, and joined again are the graph they were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from ghostedge_convert import export_onnx, to_deploy_graph
from ghostedge_convert.architectures.ghostnetv2 import GhostNetV2
from ghostedge_convert.passes.deploy import (
    splittable_modules,
    with_joined_modules,
    with_split_modules,
)
from ghostedge_convert.passes.split_ghost_modules import split_ghost_modules

STREAMS = "a = Conv(input, v) r = Relu(a) b = Conv<group=4, pads=[1,1,1,1]>(r, d)"


@pytest.fixture
def module(weights):
    """Weights of a ghost module with four and four channels, and of what reads it."""
    return {
        "v": weights(4, 3, 1, 1),
        "d": weights(4, 1, 3, 3, seed=1),
        "deep": weights(8, 1, 3, 3, seed=2),
        "narrow": weights(5, 8, 1, 1, seed=3),
        "wide": weights(8, 8, 1, 1, seed=4),
        "slope": weights(1, 8, 1, 1, seed=5),
        "down": weights(8, 3, 1, 1, seed=6),
        "twice": np.asarray([8, 8, 32, 32], np.int64),
        "big": weights(5, 8, 3, 3, seed=7),
    }


def _graph(graph, module, body):
    words = body.replace(",", " ").replace(")", " ").split()
    return graph(body, **{name: array for name, array in module.items() if name in words})


@pytest.mark.parametrize(
    ("behind", "ops_after"),
    [
        ("out = Conv(c, narrow)", ["Conv", "Conv", "Add"]),
        (
            "x = Conv<group=8, strides=[2,2], pads=[1,1,1,1]>(c, deep) out = Conv(x, narrow)",
            ["Conv"] * 4 + ["Add"],
        ),
        (
            "x = Mul(c, slope) y = Relu(x) out = Conv(y, narrow)",
            ["Mul"] * 2 + ["Relu"] * 2 + ["Conv"] * 2 + ["Add"],
        ),
        (
            "m = GlobalAveragePool(c) e = Conv(m, wide) g = Sigmoid(e) x = Mul(c, g) "
            "out = Conv(x, narrow)",
            ["GlobalAveragePool"] * 2
            + ["Concat", "Conv", "Sigmoid", "Slice", "Slice", "Mul", "Mul", "Conv", "Conv", "Add"],
        ),
        (
            "p = AveragePool<kernel_shape=[2,2], strides=[2,2]>(input) e = Conv(p, down) "
            'g = Sigmoid(e) f = Resize<mode="nearest">(g, , , twice) x = Mul(c, f) '
            "out = Conv(x, narrow)",
            ["AveragePool"]
            + ["Conv"] * 2
            + ["Sigmoid"] * 2
            + ["Resize"] * 2
            + ["Mul"] * 2
            + ["Conv"] * 2
            + ["Add"],
        ),
    ],
    ids=["alone", "depthwise", "scaled", "squeeze-excite", "attention"],
)
def test_a_concat_becomes_a_sum(graph, apply, ops, module, behind, ops_after):
    model = _graph(graph, module, f"{STREAMS} c = Concat<axis=1>(r, b) {behind}")
    result, note = apply(split_ghost_modules, model)
    assert ops(result) == ["Conv", "Relu", "Conv", *ops_after]
    assert note.edits == 1


@pytest.mark.parametrize(
    "behind",
    [
        "out = Conv(c, wide)",
        "out = Conv(c, big)",
        "x = Conv(c, narrow) y = GlobalAveragePool(c) z = Conv(y, narrow) w = Add(x, z) "
        "q = ReduceMax<keepdims=1>(c) out = Add(w, q)",
        "x = Softmax<axis=1>(c) out = Conv(x, narrow)",
        "out = Relu(c)",
    ],
    ids=["as wide", "of several pixels", "read by others", "channels meet", "an output"],
)
def test_a_concat_stays(graph, apply, ops, module, behind):
    model = _graph(graph, module, f"{STREAMS} c = Concat<axis=1>(r, b) {behind}")
    result, note = apply(split_ghost_modules, model)
    assert ops(result) == ops(model)
    assert (note.edits, note.note) == (0, "no concat became a sum")


def test_a_gate_of_its_own_channels_stays(graph, apply, ops, module):
    behind = (
        's = Conv<strides=[2,2]>(c, wide) f = Resize<mode="nearest">(s, , , twice) '
        "x = Mul(c, f) out = Conv(x, narrow)"
    )
    model = _graph(graph, module, f"{STREAMS} c = Concat<axis=1>(r, b) {behind}")
    result, _ = apply(split_ghost_modules, model)
    assert ops(result) == ops(model)


def test_only_the_named_concats_are_split(graph, ops, run, photos_32, module):
    body = (
        f"{STREAMS} c = Concat<axis=1>(r, b) x = Conv(c, narrow) "
        "e = Concat<axis=1>(b, r) y = Conv(e, narrow) out = Add(x, y)"
    )
    model = _graph(graph, module, body)
    assert splittable_modules(model) == ("c_node", "e_node")
    result = with_split_modules(model, only=["e_node"]).model
    assert splittable_modules(result) == ("c_node",)
    assert ops(result).count("Concat") == 1
    np.testing.assert_allclose(run(result, photos_32), run(model, photos_32), atol=1e-4)


@dataclass(frozen=True)
class Case:
    """A module and what stands behind it."""

    sizes: tuple[int, int]
    outs: int
    steps: tuple[str, ...]
    bias: bool
    image: int

    def model(self) -> onnx.ModelProto:
        """The graph in float64: 2 images of 3 channels, constants from a seed."""
        every, (first, second) = sum(self.sizes), self.sizes
        random = np.random.default_rng(self.image)
        shapes = {
            "v": (first, 3, 1, 1),
            "w": (second, 3, 3, 3),
            "deep": (every, 1, 3, 3),
            "deep_b": (every,),
            "factor": (every, 1, 1),
            "reduce": (2, every, 1, 1),
            "expand": (every, 2, 1, 1),
            "last": (self.outs, every, 1, 1),
            "last_b": (self.outs,),
            "low": (),
            "gate": (every, 3, 1, 1),
        }
        body = "a = Conv(input, v) b = Conv<pads=[1,1,1,1]>(input, w) x0 = Concat<axis=1>(a, b)"
        for i, step in enumerate(self.steps):
            body += " " + STEPS[step].format(x=f"x{i}", y=f"x{i + 1}", i=i, every=every)
        body += f" out = Conv(x{len(self.steps)}, last{', last_b' if self.bias else ''})"
        model = onnx.parser.parse_model(
            f'<ir_version: 10, opset_import: ["" : 18]>\n'
            f"g (double[2, 3, {self.image}, {self.image}] input) => (double out) {{ {body} }}"
        )
        for name, shape in shapes.items():
            array = random.normal(size=shape)
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        model.graph.output[0].type.tensor_type.ClearField("shape")
        for node in model.graph.node:
            node.name = node.output[0]  # as in a deploy graph
        used = {name for node in model.graph.node for name in node.input}
        kept = [t for t in model.graph.initializer if t.name in used]
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)


STEPS = {
    "depthwise": "{y} = Conv<group={every}, pads=[1,1,1,1]>({x}, deep, deep_b)",
    "strided": "{y} = Conv<group={every}, strides=[2,2], pads=[1,1,1,1]>({x}, deep)",
    "relu": "{y} = Relu({x})",
    "clip": "{y} = Clip({x}, low)",
    "factor": "{y} = Mul({x}, factor)",
    "term": "{y} = Add(factor, {x})",
    "squeeze": "m{i} = GlobalAveragePool({x}) s{i} = Conv(m{i}, reduce) e{i} = Conv(s{i}, expand) "
    "h{i} = Sigmoid(e{i}) {y} = Mul({x}, h{i})",
}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    sizes = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    outs = draw(st.integers(1, sum(sizes) - 1))
    steps = draw(st.lists(st.sampled_from(sorted(STEPS)), max_size=4))
    return Case(sizes, outs, tuple(steps), draw(st.booleans()), draw(st.integers(4, 7)))


@settings(deadline=None, max_examples=60)
@given(cases())
def test_the_function_is_kept_and_joining_undoes_it(case):
    model = case.model()
    result = with_split_modules(model)
    assert result.applied[0].edits == 1
    image = np.random.default_rng(1).normal(size=(2, 3, case.image, case.image))
    wanted, got = (
        ReferenceEvaluator(m).run(None, {"input": image})[0] for m in (model, result.model)
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())
    assert _content(with_joined_modules(result.model)) == _content(
        ir.to_proto(ir.from_proto(model))
    )


def test_a_whole_network_is_split_and_joined_to_the_byte():
    module = GhostNetV2(width=0.5, num_classes=3).eval()
    deploy = to_deploy_graph(export_onnx(module, input_size=(64, 64))).model
    split = with_split_modules(deploy)
    assert split.applied[0].note == "16 of 32 concats became sums"
    read = onnx.ModelProto.FromString(split.model.SerializeToString())
    joined = with_joined_modules(read)
    assert joined.SerializeToString(deterministic=True) == deploy.SerializeToString(
        deterministic=True
    )
    assert to_deploy_graph(read).applied[1].edits == 16


def _content(model):
    """A graph's nodes with the constants that they read, whatever these are called."""
    constants = {t.name: onnx.numpy_helper.to_array(t).tobytes() for t in model.graph.initializer}
    return [
        (
            node.op_type,
            node.name,
            [constants.get(name, name) for name in node.input],
            list(node.output),
            sorted(map(str, node.attribute)),
        )
        for node in model.graph.node
    ]
