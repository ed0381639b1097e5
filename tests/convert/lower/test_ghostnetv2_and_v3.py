"""GhostNetV2 and V3 from module to int8 file, on pictures and a non-square input.

Their weights are random, with batch norms that fit the pictures, so that activations are as spread
as a trained network's; what int8 costs a trained one is not told by it.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from ghostedge_convert import export_onnx, lower_to_tflite, to_deploy_graph
from ghostedge_convert.architectures.ghostnetv2 import GhostNetV2
from ghostedge_convert.architectures.ghostnetv3 import GhostNetV3, fuse
from ghostedge_quantize.int8 import prepare as prepare_int8
from ghostedge_quantize.settings import Int8Settings
from ghostedge_runtime.images import list_images, normalize, prepare
from ghostedge_runtime.metadata import Preprocessing

PREPROCESSING = Preprocessing(input_size=(64, 96), interpolation="bicubic", crop_pct=1.0)
DEPLOY_OPS = Counter(
    Conv=137, Relu=42, Concat=32, Mul=21, Add=16, AveragePool=14, Sigmoid=14, Resize=14,
    GlobalAveragePool=8, Clip=7, Flatten=1, Gemm=1,
)  # fmt: skip
# The whole of int8 once; V3's deploy graph has V2's nodes.
SETTINGS = {
    "v2": Int8Settings(),
    "v3": Int8Settings(ranges="minmax", equalize=False, bias_correction="none"),
}


def batches(pictures, preprocessing, count):
    """Pictures as uint8 NHWC, and normalised as float32 NCHW."""
    pixels = np.stack([prepare(path, preprocessing) for path in list_images(pictures)[:count]])
    normalised = normalize(pixels, preprocessing).transpose(0, 3, 1, 2)
    return pixels, np.ascontiguousarray(normalised)


@pytest.fixture(scope="module")
def images(pictures):
    return batches(pictures, PREPROCESSING, 40)


@pytest.fixture(scope="module", params=["v2", "v3"])
def network(request, images):
    """A network in training form with plausible activations, and its name."""
    torch.manual_seed(0)
    made = {"v2": GhostNetV2, "v3": GhostNetV3}[request.param](width=0.5, num_classes=20, dropout=0)
    for module in made.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
            module.momentum = None
    with torch.no_grad():
        made.train()(torch.from_numpy(images[1]))
    return request.param, made.eval()


@pytest.fixture(scope="module")
def wanted(network, images):
    """The training form's logits."""
    with torch.no_grad():
        return network[1](torch.from_numpy(images[1])).numpy()


@pytest.fixture(scope="module")
def module(network, wanted):
    """The network that is deployed; ``wanted`` was asked before, fusing is in place."""
    assert wanted.shape == (40, 20)
    return fuse(network[1])


@pytest.fixture(scope="module")
def deployed(module):
    return to_deploy_graph(export_onnx(module, input_size=PREPROCESSING.input_size))


@pytest.fixture(scope="module")
def prepared(network, deployed, images):
    batches = [images[1][:16]]
    return prepare_int8(deployed.model, batches, SETTINGS[network[0]], preprocessing=PREPROCESSING)


@pytest.fixture(scope="module")
def int8(prepared):
    return prepared.qdq()


def test_no_batch_norm_branch_or_needless_node_is_left_in_the_deploy_graph(deployed):
    assert Counter(node.op_type for node in deployed.model.graph.node) == DEPLOY_OPS
    (folded,) = (note for note in deployed.applied if note.name == "fold_batch_norm")
    assert "left" not in folded.note


def test_float_logits_are_torchs(deployed, images, wanted, run, tflite_logits):
    lowered = lower_to_tflite(deployed.model)
    found = tflite_logits(lowered, "xnnpack", images[1])
    assert wanted.std() > 0.2
    largest = max(1, np.abs(wanted).max())
    assert np.abs(run(deployed.model, images[1]) - wanted).max() <= 1e-4 * largest
    assert np.abs(found - wanted).max() <= 1e-4 * largest


def test_float_logits_are_torchs_where_maps_have_no_even_halves(
    module, pictures, run, tflite_logits
):
    size = (75, 50)
    sized = Preprocessing(input_size=size, crop_pct=1.0)
    _, batch = batches(pictures, sized, 2)
    with torch.no_grad():
        expected = module(torch.from_numpy(batch)).numpy()
    model = to_deploy_graph(export_onnx(module, input_size=size)).model
    lowered = lower_to_tflite(model)
    largest = max(1, np.abs(expected).max())
    assert np.abs(run(model, batch) - expected).max() <= 1e-5 * largest
    found = tflite_logits(lowered, "xnnpack", batch)
    assert np.abs(found - expected).max() <= 1e-4 * largest


def test_equalization_leaves_the_float_function_as_it_is(prepared, images, wanted, run):
    found = run(prepared.model, images[1])
    assert np.abs(found - wanted).max() <= 1e-3 * max(1, np.abs(wanted).max())


def test_int8_is_near_the_float_network(int8, images, wanted, run):
    noise = ((run(int8, images[0]) - wanted) ** 2).mean()
    assert 10 * np.log10((wanted**2).mean() / noise) > 3


@pytest.mark.usefixtures("photos")  # the bound was measured on photographs
def test_int8_logits_in_litert_are_onnx_runtimes(int8, images, run, tflite_logits):
    lowered = lower_to_tflite(int8)
    expected = run(int8, images[0])
    found = tflite_logits(lowered, "xnnpack", images[0])
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.9
    assert np.abs(found - expected).mean() < 0.1 * expected.std()


def test_every_layer_is_int8_but_the_pools_before_the_attention(int8, ops):
    """XNNPACK averages windows in float alone, between a DEQUANTIZE and a QUANTIZE."""
    found = ops(lower_to_tflite(int8).data)
    assert (found["QUANTIZE"], found["DEQUANTIZE"]) == (1 + 14, 2 + 14)
    assert found["AVERAGE_POOL_2D"] == 14


def test_int8_is_one_piece_in_xnnpack(int8, left_outside_xnnpack):
    assert not left_outside_xnnpack(lower_to_tflite(int8).data)
