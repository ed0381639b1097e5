"""What NNCF, PT2E and ONNX Runtime's quantizer write lowers, with the integers they chose."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.shape_inference import quant_pre_process

from ghostedge_convert import (
    build,
    detect_architecture,
    export_onnx,
    load_checkpoint,
    normalize_qdq,
    to_deploy_graph,
)
from ghostedge_runtime.errors import UnsupportedOpError
from ghostedge_runtime.images import list_images, normalize, prepare
from ghostedge_runtime.metadata import Preprocessing

EXACT = ["pt2e_per_channel", "pt2e_per_tensor", "nncf_mixed", "nncf_performance"]
LOSSY = ["pt2e_x86"]


@pytest.mark.parametrize("name", EXACT)
def test_their_models_lower_as_they_are(committed, assert_lowers, outside_xnnpack, name):
    source = committed(name)
    found = normalize_qdq(source)
    assert found.requantized == ()
    assert outside_xnnpack(found.model) == set()
    assert_lowers(source, found.model)


@pytest.mark.parametrize("name", EXACT)
def test_normalising_changes_no_integer(committed, run_source, samples, name):
    """Every quantized activation of the source is there afterwards, bit for bit."""
    source = committed(name)
    stored = [n.output[0] for n in source.graph.node if n.op_type == "QuantizeLinear"]
    before = run_source(source, samples[:16], stored)
    after = run_source(normalize_qdq(source).model, samples[:16], stored)
    for tensor, a, b in zip(stored, before, after, strict=True):
        assert np.array_equal(a, b), tensor


@pytest.mark.parametrize("name", LOSSY)
def test_weights_of_minus_128_are_refused_and_rounded_with_leave(committed, assert_lowers, name):
    source = committed(name)
    with pytest.raises(UnsupportedOpError, match=r"'node_conv2d'.*-128") as caught:
        normalize_qdq(source)
    assert "--requantize" in str(caught.value.remedy)
    found = normalize_qdq(source, requantize=True)
    assert {change.reason for change in found.requantized} == {
        "a weight of -128 steps; TFLite's go from -127 to 127"
    }
    assert all(0 < change.loss.max_abs < 0.01 for change in found.requantized)
    assert_lowers(source, found.model, share=0.04)


LOWERS = {
    "uint8 activations": {},
    "int8 activations": {"activation_type": QuantType.QInt8},
    "per tensor": {"activation_type": QuantType.QInt8, "per_channel": False},
    "symmetric activations": {
        "activation_type": QuantType.QInt8,
        "extra_options": {"ActivationSymmetric": True},
    },
    "float biases": {"extra_options": {"QuantizeBias": False}},
    "weights quantized in the graph": {"extra_options": {"AddQDQPairToWeight": True}},
    "a pair for each reader": {"extra_options": {"DedicatedQDQPair": True}},
    "reduced range": {"reduce_range": True},
    "int4 weights": {"weight_type": QuantType.QInt4},
    "pairs of ONNX Runtime's domain": {"extra_options": {"UseQDQContribOps": True}},
    "convolutions only": {"op_types_to_quantize": ["Conv", "Gemm"]},
}


@pytest.mark.parametrize("settings", LOWERS.values(), ids=LOWERS)
def test_onnx_runtimes_settings_lower_as_they_are(
    quantized, assert_lowers, outside_xnnpack, settings
):
    source = quantized(**settings)
    found = normalize_qdq(source)
    assert found.requantized == ()
    assert outside_xnnpack(found.model) == set()
    assert_lowers(source, found.model)


REFUSED = {
    "uint8 weights": ({"weight_type": QuantType.QUInt8, "per_channel": False}, "zero point|-128"),
    "int16 weights": ({"weight_type": QuantType.QInt16}, "weights of type int16"),
    "uint16 activations": ({"activation_type": QuantType.QUInt16}, "quantized to uint16"),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_tflite_cannot_express_is_refused_and_rounded_with_leave(
    quantized, assert_lowers, words
):
    settings, reason = REFUSED[words]
    source = quantized(**settings)
    with pytest.raises(UnsupportedOpError, match=reason) as caught:
        normalize_qdq(source)
    assert str(caught.value.where).startswith("node '")
    found = normalize_qdq(source, requantize=True)
    assert any(re.search(reason, change.reason) for change in found.requantized)
    assert_lowers(source, found.model, share=0.04)


@pytest.mark.parametrize("preparation", ["preprocessed", "deploy graph"])
def test_models_that_were_simplified_before_quantizing(
    committed, quantized, assert_lowers, tmp_path, preparation
):
    if preparation == "deploy graph":
        simplified = to_deploy_graph(committed("float")).model
    else:
        onnx.save(committed("float"), tmp_path / "float.onnx")
        quant_pre_process(tmp_path / "float.onnx", tmp_path / "simple.onnx")
        simplified = onnx.load(tmp_path / "simple.onnx")
    source = quantized(simplified)
    assert_lowers(source, normalize_qdq(source).model)


@pytest.fixture(scope="module")
def trained_graph(trained_checkpoint, trained_calib, trained_test):
    """The deploy graph of a trained network, and images for it."""
    checkpoint = load_checkpoint(trained_checkpoint)
    module = build(checkpoint, detect_architecture(checkpoint).architecture)
    model = to_deploy_graph(export_onnx(module, input_size=(64, 64), batch=1)).model
    preprocessing = Preprocessing(input_size=(64, 64), crop_pct=1.0)

    def inputs(folder, every):
        pixels = [prepare(path, preprocessing) for path in list_images(folder)[::every]]
        rows = [normalize(image, preprocessing).transpose(2, 0, 1) for image in pixels]
        return [np.ascontiguousarray(row[np.newaxis], np.float32) for row in rows]

    return model, inputs(trained_calib, 10), inputs(trained_test, 25)


REAL = {
    "uint8": {},
    "int8, symmetric, float biases": {
        "activation_type": QuantType.QInt8,
        "extra_options": {"ActivationSymmetric": True, "QuantizeBias": False},
    },
}


@pytest.mark.parametrize("settings", REAL.values(), ids=REAL)
def test_a_trained_ghostnet_on_images_of_its_classes(
    trained_graph, quantized, assert_lowers, outside_xnnpack, settings
):
    model, calibration, images = trained_graph
    source = quantized(model, calibration, **settings)
    found = normalize_qdq(source)
    assert outside_xnnpack(found.model) == set()
    assert_lowers(source, found.model, images, agreement=0.975, share=0.1)
