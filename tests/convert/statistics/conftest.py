"""First layers that were trained on photographs prepared in some way, and the photographs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from ghostedge_runtime.images import normalize, prepare
from ghostedge_runtime.metadata import Preprocessing

Pixels = npt.NDArray[np.uint8]
SIDE = 32


@pytest.fixture(scope="session")
def stem_of() -> Callable[..., onnx.ModelProto]:
    """stem_of(weights, mean, var, batch=1) → a network of one convolution and its batch norm."""
    return _stem


@pytest.fixture(scope="session")
def pixels(pictures: Path) -> Callable[[Preprocessing], Pixels]:
    """pixels(preprocessing) → the 84 pictures as uint8 (images, 32, 32, channels)."""

    files = sorted(path for path in pictures.iterdir() if path.is_file())
    square = Preprocessing(input_size=(SIDE, SIDE))
    small = [Image.fromarray(prepare(str(path), square)) for path in files]

    def prepared(preprocessing: Preprocessing) -> Pixels:
        return np.stack([prepare(image, replace(preprocessing, crop_pct=1.0)) for image in small])

    return prepared


@pytest.fixture(scope="session")
def stem_wanting(
    pixels: Callable[[Preprocessing], Pixels],
) -> Callable[[Preprocessing], onnx.ModelProto]:
    """stem_wanting(preprocessing) → a padded convolution and a batch norm that remembers them."""

    def trained(preprocessing: Preprocessing) -> onnx.ModelProto:
        inputs = normalize(pixels(preprocessing), preprocessing).transpose(0, 3, 1, 2)
        random = np.random.default_rng(0)
        weights = random.standard_normal((16, inputs.shape[1], 3, 3)).astype(np.float32)
        weights[8:] -= weights[8:].mean((2, 3), keepdims=True)  # edges
        if inputs.shape[1] > 1:  # what is of one colour and not of the others, as trained ones tell
            weights[:8] = random.standard_normal((8, inputs.shape[1], 1, 1))
            weights[:6] -= weights[:6].mean(1, keepdims=True)
        untrained = _stem(weights, np.zeros(16), np.ones(16), len(inputs))
        session = onnxruntime.InferenceSession(_before_norm(untrained).SerializeToString())
        seen = session.run(None, {"input": inputs})[0]
        return _stem(weights, seen.mean((0, 2, 3)), seen.var((0, 2, 3)))

    return trained


def _stem(
    weights: npt.NDArray[np.float32], mean: npt.ArrayLike, var: npt.ArrayLike, batch: int = 1
) -> onnx.ModelProto:
    """A convolution of stride 2, padded, a batch norm and a Relu."""
    channels = len(weights)
    constants = {
        "weights": weights,
        "ones": np.ones(channels),
        "zeros": np.zeros(channels),
        "mean": mean,
        "var": var,
    }
    nodes = [
        helper.make_node("Conv", ["input", "weights"], ["seen"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node(
            "BatchNormalization", ["seen", "ones", "zeros", "mean", "var"], ["normed"], "stem/norm"
        ),
        helper.make_node("Relu", ["normed"], ["output"]),
    ]
    source = [batch, weights.shape[1], SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "stem",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, source)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, channels, 16, 16])],
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _before_norm(model: onnx.ModelProto) -> onnx.ModelProto:
    del model.graph.node[1:], model.graph.initializer[1:]
    model.graph.output[0].name = "seen"
    return model
