"""A transposed convolution is a layer like any other: its output channels are axis 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ghostedge_quantize.equalization.channels import FIXED, ChannelClasses
from ghostedge_quantize.equalization.equalize import equalize
from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.int8 import prepare, quantize
from ghostedge_quantize.ranges.calibrate import calibrate
from ghostedge_quantize.settings import Int8Settings
from ghostedge_quantize.weights_only import float16_weights, int8_weights

Batches = Callable[..., list[np.ndarray]]
Run = Callable[..., np.ndarray]
Toy = Callable[..., onnx.ModelProto]


@pytest.fixture(scope="module")
def decoder(toy: Toy) -> onnx.ModelProto:
    """A convolution, a transposed one of stride 2 with ReLU, and a convolution; uneven channels."""
    random = np.random.default_rng(5)
    up = random.normal(0, 0.2, (16, 6, 4, 4)) * np.geomspace(0.05, 4, 6).reshape(1, 6, 1, 1)
    return toy(
        """
        s = Conv<pads=[1,1,1,1], strides=[2,2]>(input, stem_w, stem_b)
        stem = Relu(s)
        u = ConvTranspose<pads=[1,1,1,1], strides=[2,2]>(stem, up_w, up_b)
        up = Relu(u)
        logits = Conv(up, last_w, last_b)
        """,
        {
            "stem_w": random.normal(0, 0.3, (16, 3, 3, 3)),
            "stem_b": random.normal(0, 0.1, 16),
            "up_w": up,
            "up_b": random.normal(0, 0.1, 6),
            "last_w": random.normal(0, 0.5, (2, 6, 1, 1))
            / np.geomspace(0.05, 4, 6).reshape(6, 1, 1),
            "last_b": np.zeros(2),
        },
        output=(1, 2, 8, 8),
    )


def noise_db(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(10 * np.log10(np.square(expected).mean() / np.square(actual - expected).mean()))


def test_its_weights_have_a_scale_for_each_output_channel(
    decoder: onnx.ModelProto, batches: Batches, run: Run
) -> None:
    arrays = batches(8)
    int8 = quantize(decoder, calibrate(decoder, arrays), preprocessing=None)
    held = {t.name: numpy_helper.to_array(t) for t in int8.graph.initializer}
    layer = next(n for n in int8.graph.node if n.op_type == "ConvTranspose")
    decoders = {n.output[0]: n for n in int8.graph.node if n.op_type == "DequantizeLinear"}
    weight, bias = decoders[layer.input[1]], decoders[layer.input[2]]
    assert [a.i for a in weight.attribute if a.name == "axis"] == [1]
    assert held[weight.input[0]].shape == (16, 6, 4, 4)
    assert held[weight.input[0]].dtype == np.int8
    assert held[weight.input[1]].shape == held[bias.input[1]].shape == (6,)
    assert held[bias.input[0]].dtype == np.int32
    reals = held[weight.input[0]] * held[weight.input[1]].reshape(1, 6, 1, 1)
    original = {t.name: numpy_helper.to_array(t) for t in decoder.graph.initializer}["up_w"]
    off = np.abs(reals - original) / held[weight.input[1]].reshape(1, 6, 1, 1)
    assert off[np.abs(held[weight.input[0]]) < 127].max() <= 0.5 + 1e-3
    assert noise_db(run(int8, arrays), run(decoder, arrays)) > 20


def test_equalization_rescales_it_on_both_sides(
    decoder: onnx.ModelProto, batches: Batches, run: Run
) -> None:
    graph = canonical_ir(decoder).graph
    classes = ChannelClasses(graph)
    layer = next(node for node in graph if node.op_type == "ConvTranspose")
    read, written = classes.of(layer.inputs[0]), classes.of(layer.outputs[0])
    assert FIXED not in read
    assert FIXED not in written
    arrays = batches(16)
    equalized = equalize(decoder, arrays)
    assert equalized.noise_db < -1
    assert noise_db(run(equalized.model, arrays), run(decoder, arrays)) > 100


@pytest.mark.parametrize("correction", ["fast", "full"])
def test_bias_correction_lowers_its_mean_error(
    correction: Any, decoder: onnx.ModelProto, batches: Batches, run: Run
) -> None:
    arrays = [np.abs(array) for array in batches(12)]

    def error(how: Any) -> float:
        settings = Int8Settings(ranges="minmax", equalize=False, bias_correction=how)
        int8 = prepare(decoder, arrays, settings, preprocessing=None).qdq()
        return float(np.abs((run(int8, arrays) - run(decoder, arrays)).mean(axis=(0, 2, 3))).max())

    assert error(correction) < error("none")


@pytest.mark.parametrize(("store", "least"), [(float16_weights, 60), (int8_weights, 30)])
def test_its_weights_can_be_stored_small(
    store: Callable[[onnx.ModelProto], onnx.ModelProto],
    least: float,
    decoder: onnx.ModelProto,
    batches: Batches,
    run: Run,
) -> None:
    small = store(decoder)
    stored = [t for t in small.graph.initializer if list(t.dims) == [16, 6, 4, 4]]
    assert [t.data_type for t in stored] != [onnx.TensorProto.FLOAT]
    arrays = batches(4)
    assert noise_db(run(small, arrays), run(decoder, arrays)) > least
