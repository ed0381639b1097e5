"""Modules, graphs and real pixels that the conversion tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from ghostedge_convert import build, identify, load_checkpoint
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_runtime.images import list_images, normalize, prepare
from ghostedge_runtime.metadata import Preprocessing

QUANTIZED = Path(__file__).parent / "qdq_in" / "data"

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
def trained_pixels(trained_test: Path) -> Pixels:
    """The first test images of each class in turn, as many of each, about 400, at 64×64."""
    folders = sorted(trained_test.iterdir())
    each = 400 // len(folders)
    files = [path for folder in folders for path in list_images(folder)[:each]]
    return nchw(files, Preprocessing(input_size=(64, 64), crop_pct=1.0))


@pytest.fixture(scope="session")
def trained_module(trained_checkpoint: Path) -> torch.nn.Module:
    """A GhostNet V1 with its trained weights."""
    checkpoint = load_checkpoint(trained_checkpoint)
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


@pytest.fixture(scope="session")
def committed() -> Callable[[str], onnx.ModelProto]:
    """A model that NNCF or PT2E quantized, or ``float``, which they did it from, by its name."""
    return lambda name: onnx.load(QUANTIZED / f"{name}.onnx")


class Samples(CalibrationDataReader):
    """Calibration inputs for ONNX Runtime's quantizer."""

    def __init__(self, name: str, samples: Sequence[np.ndarray]) -> None:
        self._feeds = iter([{name: sample} for sample in samples])

    def get_next(self):
        return next(self._feeds, None)


@pytest.fixture(scope="session")
def quantized(tmp_path_factory) -> Callable[..., onnx.ModelProto]:
    """A float model (by default the tiny one) through ONNX Runtime's quantizer."""

    def make(
        source: onnx.ModelProto | None = None,
        calibration: Sequence[np.ndarray] | None = None,
        **settings,
    ) -> onnx.ModelProto:
        folder = tmp_path_factory.mktemp("ort")
        if calibration is None:
            rng = np.random.default_rng(0)
            calibration = [rng.standard_normal((1, 3, 32, 32)).astype("f") for _ in range(16)]
        source = source or onnx.load(QUANTIZED / "float.onnx")
        onnx.save(source, folder / "float.onnx")
        chosen = {
            "quant_format": QuantFormat.QDQ,
            "activation_type": QuantType.QUInt8,
            "weight_type": QuantType.QInt8,
            "per_channel": True,
            **settings,
        }
        quantize_static(
            folder / "float.onnx",
            folder / "int8.onnx",
            Samples(source.graph.input[0].name, calibration),
            **chosen,
        )
        return onnx.load(folder / "int8.onnx")

    return make


def run_source(
    model: onnx.ModelProto, inputs: Sequence[np.ndarray], outputs: Sequence[str] | None = None
) -> list[np.ndarray]:
    """Outputs over all inputs, as the model is written: no optimisation of ONNX Runtime's."""
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    if outputs is not None:
        del tapped.graph.output[:]
        tapped.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(tapped.SerializeToString(), options)
    feed = session.get_inputs()[0].name
    rows = [session.run(outputs, {feed: x}) for x in inputs]
    return [np.concatenate(each) for each in zip(*rows, strict=True)]


@pytest.fixture(scope="session", name="run_source")
def _run_source() -> Callable[..., list[np.ndarray]]:
    return run_source
