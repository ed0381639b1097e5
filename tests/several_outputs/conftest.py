"""Four small networks that are not classifiers, ghost modules inside, calibrated on pictures.

Between them: several outputs and one, named by a dict and not, square inputs nowhere, 1, 3 and 4
input channels, int8 that ends in a conv, a sigmoid, a resize and a norm.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by

from ghostedge_convert import (
    embed_onnx_metadata,
    export_onnx,
    lower_to_tflite,
    to_deploy_graph,
)
from ghostedge_convert.architectures.ghostnet import BottleneckSpec, GhostBottleneck
from ghostedge_quantize import Int8Settings, Prepared, integer_outputs
from ghostedge_quantize import prepare as prepare_int8
from ghostedge_runtime.images import list_images, normalize, prepare
from ghostedge_runtime.metadata import (
    InputSpec,
    ModelMetadata,
    Preprocessing,
    QuantizationInfo,
)

Floats = npt.NDArray[np.float32]
Outputs = dict[str, Floats]
Write = Callable[["Case", onnx.ModelProto], tuple[Path, Path]]

torch.set_num_threads(1)


class Backbone(nn.Module):
    """Stem and ghost bottlenecks: 16, 24 and 32 channels at strides 4, 8 and 16."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, 8, 3, 2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        )
        plain, gated = BottleneckSpec(3, 0, 0, stride=2), BottleneckSpec(5, 0, 0, stride=2, se=True)
        self.c3 = GhostBottleneck(8, 24, 16, plain)
        self.c4 = GhostBottleneck(16, 48, 24, gated)
        self.c5 = GhostBottleneck(24, 72, 32, gated)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c3 = self.c3(self.stem(x))
        c4 = self.c4(c3)
        return c3, c4, self.c5(c4)


class FeaturePyramid(nn.Module):
    """Multi-scale features, 16 channels each, p4 and p5 added into what is finer; a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone(3)
        self.lateral = nn.ModuleList(nn.Conv2d(channels, 16, 1) for channels in (16, 24, 32))
        self.smooth = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        c3, c4, c5 = self.backbone(x)
        p5 = self.lateral[2](c5)
        p4 = self.lateral[1](c4) + F.interpolate(p5, scale_factor=2.0, mode="nearest")
        p3 = self.lateral[0](c3) + F.interpolate(p4, scale_factor=2.0, mode="nearest")
        levels = zip(self.smooth, (p3, p4, p5), strict=True)
        return dict(zip(("p3", "p4", "p5"), (conv(p) for conv, p in levels), strict=True))


class Detector(nn.Module):
    """Box offsets [N, anchors, 4] and class scores [N, anchors, 3] of two levels; a tuple."""

    def __init__(self, classes: int = 3, anchors: int = 2) -> None:
        super().__init__()
        self.classes = classes
        self.backbone = Backbone(4)
        widths = (24, 32)
        self.boxes = nn.ModuleList(nn.Conv2d(w, anchors * 4, 3, padding=1) for w in widths)
        self.scores = nn.ModuleList(nn.Conv2d(w, anchors * classes, 3, padding=1) for w in widths)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        levels = self.backbone(x)[1:]
        boxes = [_rows(head(c), 4) for head, c in zip(self.boxes, levels, strict=True)]
        scores = [_rows(head(c), self.classes) for head, c in zip(self.scores, levels, strict=True)]
        return torch.cat(boxes, dim=1), torch.sigmoid(torch.cat(scores, dim=1))


def _rows(feature: Tensor, size: int) -> Tensor:
    """[N, A·size, H, W] → [N, H·W·A, size]."""
    return feature.permute(0, 2, 3, 1).reshape(len(feature), -1, size)


class Segmenter(nn.Module):
    """Logits of 5 classes for every pixel, from stride 8 by bilinear upsampling; one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone(4)
        self.fine = nn.Conv2d(16, 5, 1)
        self.coarse = nn.Conv2d(32, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        c3, _, c5 = self.backbone(x)
        coarse = F.interpolate(
            self.coarse(c5), size=c3.shape[2:], mode="bilinear", align_corners=False
        )
        logits = self.fine(c3) + coarse
        return F.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=False)


class Embedder(nn.Module):
    """A 64-dimensional unit vector of a grey image; a dict of one."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone(1)
        self.project = nn.Linear(32, 64)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        pooled = self.backbone(x)[2].mean((2, 3))
        return {"embedding": F.normalize(self.project(pooled), dim=1)}


@dataclass(frozen=True)
class Case:
    """A network and what is known of it beforehand."""

    name: str
    module: type[nn.Module]
    channels: int
    size: tuple[int, int]
    outputs: dict[str, tuple[int, ...]]
    stated: tuple[str, ...] | None = None

    @property
    def preprocessing(self) -> Preprocessing:
        mean, std = (0.5, 0.45, 0.4, 0.5), (0.25, 0.22, 0.23, 0.5)
        return Preprocessing(
            input_size=self.size,
            crop_pct=1.0,
            mean=mean[: self.channels],
            std=std[: self.channels],
        )


CASES = (
    Case(
        "pyramid",
        FeaturePyramid,
        3,
        (96, 160),
        {"p3": (1, 16, 24, 40), "p4": (1, 16, 12, 20), "p5": (1, 16, 6, 10)},
    ),
    Case(
        "detector",
        Detector,
        4,
        (64, 96),
        {"boxes": (1, 240, 4), "scores": (1, 240, 3)},
        stated=("boxes", "scores"),
    ),
    Case("segmenter", Segmenter, 4, (96, 64), {"mask": (1, 5, 96, 64)}, stated=("mask",)),
    Case("embedder", Embedder, 1, (96, 80), {"embedding": (1, 64)}),
)


@dataclass(frozen=True)
class Example:
    """A calibrated network, its deploy graph and images as it takes them."""

    case: Case
    module: nn.Module
    deploy: onnx.ModelProto
    files: tuple[Path, ...]

    @property
    def images(self) -> Floats:
        """float32 [N, C, H, W], normalised."""
        return _normalised(self.files, self.case.preprocessing)

    def answers(self, image: Floats) -> Outputs:
        """The module's own outputs for a batch of one."""
        with torch.no_grad():
            found = self.module(torch.from_numpy(image))
        if isinstance(found, Tensor):
            found = (found,)
        values = found.values() if isinstance(found, dict) else found
        return dict(zip(self.case.outputs, (v.numpy() for v in values), strict=True))


def _normalised(files: tuple[Path, ...], preprocessing: Preprocessing) -> Floats:
    pixels = np.stack([prepare(path, preprocessing) for path in files])
    return np.ascontiguousarray(normalize(pixels, preprocessing).transpose(0, 3, 1, 2))


def _calibrated(case: Case, images: Floats) -> nn.Module:
    """He-initialised weights, varied batch norms whose statistics are those of real images."""
    torch.manual_seed(1)
    network = case.module()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            module.momentum = None
    with torch.no_grad():
        network.train()(torch.from_numpy(images))
    return network.eval()


@pytest.fixture(scope="session")
def transparent(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """16 pictures, each made transparent by the brightness of the next."""
    folder = tmp_path_factory.mktemp("pictures")
    files = list_images(pictures)[:17]
    opened = [Image.open(file).convert("RGB").resize((200, 150)) for file in files]
    for index, (image, other) in enumerate(itertools.pairwise(opened)):
        image.putalpha(other.convert("L"))
        image.save(folder / f"{index:02}.png")
    return tuple(list_images(folder))


@pytest.fixture(scope="session", params=CASES, ids=lambda case: case.name)
def example(request: pytest.FixtureRequest, transparent: tuple[Path, ...]) -> Example:
    """Each of the four in turn."""
    case: Case = request.param
    module = _calibrated(case, _normalised(transparent, case.preprocessing))
    exported = export_onnx(
        module,
        input_size=case.size,
        in_channels=case.channels,
        output_names=case.stated,
    )
    return Example(case, module, to_deploy_graph(exported).model, transparent)


@pytest.fixture(scope="session")
def prepared(example: Example) -> Prepared:
    """The example, ready to be written in int8."""
    batches = [image[None] for image in example.images[::2]]
    return prepare_int8(
        example.deploy, batches, Int8Settings(), preprocessing=example.case.preprocessing
    )


@pytest.fixture(scope="session")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Write a graph with the metadata of its case as ``.onnx`` and, lowered, as ``.tflite``."""

    def files(case: Case, model: onnx.ModelProto) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp(case.name)
        metadata = _metadata(case, model)
        carrying = embed_onnx_metadata(model, metadata)
        one, other = folder / "model.onnx", folder / "model.tflite"
        one.write_bytes(carrying.SerializeToString())
        spec = replace(metadata.input, layout="NHWC")
        lowered = lower_to_tflite(carrying, metadata=replace(metadata, input=spec))
        other.write_bytes(lowered.data)
        return one, other

    return files


def _metadata(case: Case, model: onnx.ModelProto) -> ModelMetadata:
    if model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
        spec = InputSpec("NCHW", "float32", normalized=True)
        return ModelMetadata(case.preprocessing, spec)
    outputs = integer_outputs(model)
    return ModelMetadata(
        case.preprocessing,
        InputSpec("NHWC", "uint8", normalized=False),
        precision="int8",
        quantization=QuantizationInfo(
            "auto", 16, "int8" if outputs else "float32", outputs=outputs
        ),
    )


@pytest.fixture(scope="session")
def channels_first() -> Callable[[Floats], Floats]:
    """A feature map as ONNX has it, of one as TFLite has it."""
    return lambda values: values.transpose(0, 3, 1, 2) if values.ndim == 4 else values


@pytest.fixture(scope="session")
def signal_to_noise() -> Callable[[Floats, Floats], float]:
    """In dB."""

    def decibels(found: Floats, wanted: Floats) -> float:
        noise = np.square(found.astype(np.float64) - wanted).sum()
        power = np.square(wanted.astype(np.float64)).sum()
        return float(10 * np.log10(power / noise)) if noise else float("inf")

    return decibels


@pytest.fixture(scope="session")
def run_onnx() -> Callable[[onnx.ModelProto, npt.NDArray[np.generic]], Outputs]:
    """Run one batch through ONNX Runtime, its own rewriting off; outputs by name."""

    def outputs(model: onnx.ModelProto, batch: npt.NDArray[np.generic]) -> Outputs:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        names = [value.name for value in session.get_outputs()]
        found = session.run(names, {session.get_inputs()[0].name: batch})
        return dict(zip(names, found, strict=True))

    return outputs
