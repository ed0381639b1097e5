"""Modules, graphs and real pixels that the conversion tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch

from ghostedge_convert import build, identify, load_checkpoint
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_runtime.images import list_images, normalize, prepare
from ghostedge_runtime.metadata import Preprocessing

Pixels = npt.NDArray[np.float32]
Run = Callable[[onnx.ModelProto, Pixels], Pixels]

torch.set_num_threads(1)


def nchw(images: list[Path], preprocessing: Preprocessing) -> Pixels:
    """Files as a normalised float32 [N, 3, H, W] batch."""
    pixels = np.stack([prepare(path, preprocessing) for path in images])
    return np.ascontiguousarray(normalize(pixels, preprocessing).transpose(0, 3, 1, 2))


@pytest.fixture(scope="session")
def photos_224(pictures: Path) -> Pixels:
    """The 84 pictures as the network sees them at 224."""
    return nchw(list_images(pictures), Preprocessing())


@pytest.fixture(scope="session")
def photos_32(pictures: Path) -> Pixels:
    """Eight pictures at 32×32, for graphs of a few nodes."""
    return nchw(list_images(pictures)[:8], Preprocessing(input_size=(32, 32), crop_pct=1.0))


@pytest.fixture(scope="session")
def cifar_pixels(cifar_test: Path) -> Pixels:
    """The first 40 test images of each CIFAR class in turn, at 64×64."""
    files = [path for folder in sorted(cifar_test.iterdir()) for path in list_images(folder)[:40]]
    return nchw(files, Preprocessing(input_size=(64, 64), crop_pct=1.0))


@pytest.fixture(scope="session")
def cifar_module(cifar_checkpoint: Path) -> torch.nn.Module:
    """GhostNet 1.0x with its trained weights."""
    checkpoint = load_checkpoint(cifar_checkpoint)
    return build(checkpoint, identify(checkpoint))


@pytest.fixture(scope="session")
def plausible(photos_224: Pixels) -> Callable[[float], GhostNet]:
    """GhostNets of any width whose activations are as spread as a trained network's.

    He-initialised weights, varied batch norm parameters, statistics measured on eight photos.
    """

    def make(width: float) -> GhostNet:
        torch.manual_seed(0)
        network = GhostNet(width=width, dropout=0.0)
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, 0, 0.3)
                module.momentum = None
        torch.nn.init.normal_(network.classifier.weight, 0, 0.1)
        with torch.no_grad():
            network.train()(torch.from_numpy(photos_224[:8]))
        return network.eval()

    return make


@pytest.fixture(scope="session")
def run() -> Run:
    """Run a model of batch 1 or N over a batch through ONNX Runtime, its own rewriting off."""

    def outputs(model: onnx.ModelProto, batch: Pixels) -> Pixels:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        (source,) = session.get_inputs()
        size = source.shape[0]
        parts = [
            session.run(None, {source.name: batch[i : i + size]})[0]
            for i in range(0, len(batch), size)
        ]
        return np.concatenate(parts)

    return outputs
