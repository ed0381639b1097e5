"""A trained GhostNet, float and int8, on images of its classes."""

from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert import export_onnx, lower_to_tflite, to_deploy_graph
from ghostedge_quantize import calibrate, quantize
from ghostedge_runtime.images import list_images, normalize, prepare
from ghostedge_runtime.metadata import Preprocessing

SIZE = 64
PREPROCESSING = Preprocessing(input_size=(SIZE, SIZE), crop_pct=1.0)
FLOAT_OPS = {
    "CONV_2D": 54,
    "DEPTHWISE_CONV_2D": 41,
    "CONCATENATION": 32,
    "ADD": 16,
    "PAD": 9,
    "MEAN": 8,
    "MUL": 7,
    "RESHAPE": 1,
    "FULLY_CONNECTED": 1,
}
INT8_OPS = {**FLOAT_OPS, "ADD": 17, "QUANTIZE": 1, "DEQUANTIZE": 2}
"""The mean shift is one more ADD; DEQUANTIZE and QUANTIZE turn the caller's uint8 into int8, a
DEQUANTIZE gives the logits."""
RESHAPES = {1.0: 6, 0.5: 10}
"""By width, in int8: the stem and the convolutions of at most 8 outputs are folded."""


@pytest.fixture(scope="module")
def deploy(trained_module):
    return to_deploy_graph(export_onnx(trained_module, input_size=(SIZE, SIZE))).model


@pytest.fixture(scope="module")
def pixels(trained_test):
    """1,000 images, the classes balanced, uint8 NHWC."""
    folders = sorted(trained_test.iterdir())
    share = -(-1000 // len(folders))
    files = [path for folder in folders for path in list_images(folder)[:share]][:1000]
    return np.stack([prepare(path, PREPROCESSING) for path in files])


@pytest.fixture(scope="module")
def images(pixels):
    """The same images normalised, float32 NCHW."""
    return normalize(pixels, PREPROCESSING).transpose(0, 3, 1, 2)


@pytest.fixture(scope="module")
def ranges(deploy, trained_calib):
    """Ranges of 100 training images."""
    files = list_images(trained_calib)[::5]
    batch = normalize(np.stack([prepare(p, PREPROCESSING) for p in files]), PREPROCESSING)
    return calibrate(deploy, list(batch.transpose(0, 3, 1, 2)[:, None]), method="minmax")


@pytest.fixture(scope="module")
def int8(deploy, ranges):
    return quantize(deploy, ranges, preprocessing=PREPROCESSING)


@pytest.fixture(scope="module")
def int8_logits(int8, pixels, run):
    """What ONNX Runtime says about the first 300 images."""
    return run(int8, pixels[::3])


@pytest.fixture(scope="module")
def wanted(deploy, images, run):
    """What ONNX Runtime says about all 1,000 images."""
    return run(deploy, images)


@pytest.mark.parametrize("kernels", ["xnnpack", "reference"])
def test_float_logits_match_onnx_runtime_on_1000_images(
    deploy, images, wanted, tflite_logits, kernels
):
    lowered = lower_to_tflite(deploy)
    got = tflite_logits(lowered, kernels, images)
    assert len(wanted) == 1000
    np.testing.assert_array_equal(got.argmax(1), wanted.argmax(1))
    assert np.abs(got - wanted).max() < 1e-3


def test_the_float_graph_holds_what_the_network_needs_and_no_transpose(deploy, ops):
    lowered = lower_to_tflite(deploy)
    assert ops(lowered.data) == FLOAT_OPS
    assert lowered.input_layouts == {"input": (0, 2, 3, 1)}


def test_all_of_the_float_graph_runs_in_xnnpack(deploy, left_outside_xnnpack):
    assert not left_outside_xnnpack(lower_to_tflite(deploy).data)


def test_int8_top_1_matches_onnx_runtime_in_xnnpack(int8, pixels, int8_logits, tflite_logits):
    lowered = lower_to_tflite(int8)
    got = tflite_logits(lowered, "xnnpack", pixels[::3])
    assert (got.argmax(1) == int8_logits.argmax(1)).mean() >= 0.99


@pytest.mark.parametrize("kernels", ["optimised", "reference"])
def test_int8_top_1_in_other_kernels_differs_by_rounding_only(
    int8, pixels, int8_logits, tflite_logits, kernels
):
    """They round every layer elsewhere, which flips undecided images: hence the lower bound."""
    lowered = lower_to_tflite(int8)
    got = tflite_logits(lowered, kernels, pixels[::3])
    assert (got.argmax(1) == int8_logits.argmax(1)).mean() >= 0.95
    assert np.abs(got - int8_logits).mean() < 0.1


def test_the_int8_graph_quantizes_at_its_ends_only(int8, trained, ops):
    lowered = lower_to_tflite(int8)
    assert ops(lowered.data) == {**INT8_OPS, "RESHAPE": RESHAPES[trained.width]}
    assert lowered.input_layouts == {"image": (0, 1, 2, 3)}


def test_all_of_the_int8_graph_runs_in_xnnpack(int8, left_outside_xnnpack):
    assert not left_outside_xnnpack(lower_to_tflite(int8).data)


def test_int8_output_is_one_dequantize_less(deploy, ranges, ops):
    model = quantize(deploy, ranges, preprocessing=PREPROCESSING, output_type="int8")
    assert ops(lower_to_tflite(model).data)["DEQUANTIZE"] == 1
