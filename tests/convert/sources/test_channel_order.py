"""An exchange of a network's input channels is found at its start and put into its weights."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from ghostedge_convert.sources.channel_order import put_in_order, take_out_order

WEIGHTS = np.random.default_rng(0).normal(size=(2, 3, 1, 1)).astype(np.float32)
BGR = {
    "gather": ("b = Gather<axis=1>(x, picks)", {"picks": np.int64([2, 1, 0])}),
    "slice": (
        "b = Slice(x, start, end, axis, step)",
        {
            "start": np.int64([-1]),
            "end": np.int64([-4]),
            "axis": np.int64([1]),
            "step": np.int64([-1]),
        },
    ),
    "split": ("r, g, c = Split<axis=1, num_outputs=3>(x) b = Concat<axis=1>(c, g, r)", {}),
}


def model(body: str, **constants: np.ndarray) -> onnx.ModelProto:
    made = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> '
        f"g (float[1, 3, 4, 4] x) => (float[1, 2, 4, 4] y) {{ {body} }}"
    )
    made.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in constants.items()
    )
    return onnx.shape_inference.infer_shapes(made)


@pytest.mark.parametrize(("start", "constants"), BGR.values(), ids=BGR)
def test_an_exchange_goes_into_the_first_convolutions_weights(run, start, constants):
    original = model(f"{start} y = Conv(b, w)", w=WEIGHTS, **constants)
    graph = ir.from_proto(original)
    (source,) = graph.graph.inputs
    order = take_out_order(graph, source, 3)
    assert order is not None
    assert order.tolist() == [2, 1, 0]
    put_in_order(graph, source, order)
    assert [node.op_type for node in graph.graph] == ["Conv"]
    images = np.random.default_rng(1).normal(size=(1, 3, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(run(ir.to_proto(graph), images), run(original, images), rtol=1e-5)


def test_before_anything_but_a_convolution_a_gather_exchanges_them(run):
    original = model("b = Gather<axis=1>(x, p) r = Relu(b) y = Conv(r, w)", w=WEIGHTS,
                     p=np.int64([1, 2, 0]))  # fmt: skip
    graph = ir.from_proto(original)
    (source,) = graph.graph.inputs
    order = take_out_order(graph, source, 3)
    assert order is not None
    put_in_order(graph, source, order)
    assert [node.op_type for node in graph.graph] == ["Gather", "Relu", "Conv"]
    images = np.random.default_rng(1).normal(size=(1, 3, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(run(ir.to_proto(graph), images), run(original, images), rtol=1e-5)


def test_a_network_that_also_reads_the_input_itself_is_left():
    body = "b = Gather<axis=1>(x, p) s = Add(b, x) y = Conv(s, w)"
    graph = ir.from_proto(model(body, w=WEIGHTS, p=np.int64([2, 1, 0])))
    (source,) = graph.graph.inputs
    assert take_out_order(graph, source, 3) is None
    assert [node.op_type for node in graph.graph] == ["Gather", "Add", "Conv"]
