"""Layers left float: what lies between them stays float too, and pixels reach them unrounded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from ghostedge_quantize import Int8Settings, Prepared, prepare
from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_runtime.metadata import Preprocessing

PREPROCESSING = Preprocessing(input_size=(8, 8))
Run = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def prepared(ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]]) -> Prepared:
    return prepare(ghost, batches(4), Int8Settings(), preprocessing=None)


@pytest.fixture(scope="module")
def from_pixels(ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]]) -> Prepared:
    return prepare(ghost, batches(4), Int8Settings(), preprocessing=PREPROCESSING)


def quantized_tensors(model: onnx.ModelProto) -> set[str]:
    return {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}


def layers_of(prepared: Prepared, *tensors: str) -> list[str]:
    graph = canonical_ir(prepared.model).graph
    return [str(node.name) for node in graph if node.outputs[0].name in tensors]


def test_with_every_layer_float_no_pair_is_left_and_the_function_is_the_float_one(
    prepared: Prepared, ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]], run: Run
) -> None:
    model = prepared.qdq(prepared.layers)
    assert quantized_tensors(model) == set()
    images = batches(5, seed=1)
    np.testing.assert_allclose(run(model, images), run(ghost, images), atol=1e-6)


def test_with_every_layer_float_raw_pixels_are_not_rounded_either(
    from_pixels: Prepared, ghost: onnx.ModelProto, run: Run
) -> None:
    pixels = [np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8) for _ in range(5)]
    mean = np.asarray(PREPROCESSING.mean, np.float32)
    std = np.asarray(PREPROCESSING.std, np.float32)
    images = [((image / np.float32(255) - mean) / std).transpose(0, 3, 1, 2) for image in pixels]
    model = from_pixels.qdq(from_pixels.layers)
    assert quantized_tensors(model) == set()
    np.testing.assert_allclose(run(model, pixels), run(ghost, images), atol=1e-5)


def test_a_concat_between_float_layers_stays_float(prepared: Prepared) -> None:
    keep = layers_of(prepared, "p", "c")
    assert "both" in quantized_tensors(prepared.qdq(layers_of(prepared, "p")))
    everything = quantized_tensors(prepared.qdq())
    assert {"primary", "cheap", "both"} <= everything
    # Once, for the gate's int8 multiplication and the pooling; not before the concat.
    assert not {"primary", "cheap"} & quantized_tensors(prepared.qdq(keep))


def test_an_addition_of_two_float_layers_stays_float(prepared: Prepared) -> None:
    one = prepared.qdq(layers_of(prepared, "linear"))
    assert "linear" in quantized_tensors(one)
    both = prepared.qdq(layers_of(prepared, "linear", "s"))
    assert "linear" not in quantized_tensors(both)
    assert "stem" in quantized_tensors(both)  # still for the int8 primary convolution


def test_pixels_stay_int8_for_an_int8_stem(from_pixels: Prepared) -> None:
    others = [name for name in from_pixels.layers if name not in layers_of(from_pixels, "s")]
    assert "image_shifted" in quantized_tensors(from_pixels.qdq(others))
