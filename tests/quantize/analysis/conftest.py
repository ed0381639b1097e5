"""The ghost module quantized, and images to measure it on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from ghostedge_quantize import calibrate, quantize, unsigned_activations


@pytest.fixture(scope="module")
def named(ghost: onnx.ModelProto) -> onnx.ModelProto:
    """The ghost module with its nodes named after what they make, as exporters name them."""
    model = onnx.ModelProto.FromString(ghost.SerializeToString())
    for node in model.graph.node:
        node.name = node.output[0]
    return model


@pytest.fixture(scope="module")
def feed(batches: Callable[..., list[np.ndarray]]) -> list[np.ndarray]:
    return [batch[0] for batch in batches(24, seed=5)]


@pytest.fixture(scope="module")
def ghost_int8(named: onnx.ModelProto, batches: Callable[..., list[np.ndarray]]) -> onnx.ModelProto:
    ranges = calibrate(named, batches(24, seed=5), method="minmax")
    return unsigned_activations(quantize(named, ranges, preprocessing=None))
