"""Detection heads on a small ghost backbone, each ending as the network it is named after does.

Weights are random, batch norms calibrated on smooth random pictures, and the last convolutions
scaled so that scores span 0.01 to 0.98 beside boxes in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by

from ghostedge_convert import export_onnx, to_deploy_graph
from ghostedge_convert.architectures.ghostnet import BottleneckSpec, GhostBottleneck
from ghostedge_quantize import Int8Settings, Prepared, prepare
from ghostedge_runtime.metadata import Preprocessing

Floats = npt.NDArray[np.float32]

SIDE = 96
PREPROCESSING = Preprocessing(
    input_size=(SIDE, SIDE), crop_pct=1.0, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
)
CLASSES = 6
STRIDES = (8, 16)

torch.set_num_threads(1)


class Backbone(nn.Module):
    """Ghost bottlenecks; 24 and 32 channels at strides 8 and 16."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        )
        self.c2 = GhostBottleneck(8, 16, 16, BottleneckSpec(3, 0, 0, stride=2))
        self.c3 = GhostBottleneck(16, 32, 24, BottleneckSpec(3, 0, 0, stride=2))
        self.c4 = GhostBottleneck(24, 48, 32, BottleneckSpec(5, 0, 0, stride=2, se=True))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        c3 = self.c3(self.c2(self.stem(x)))
        return c3, self.c4(c3)


class Levels(nn.Module):
    """A convolution of so many channels on either level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(w, channels, 1) for w in (24, 32))

    def forward(self, levels: tuple[Tensor, Tensor]) -> list[Tensor]:
        return [conv(level) for conv, level in zip(self.convs, levels, strict=True)]


def centres(stride: int) -> Tensor:
    """[2, cells, cells]: x and y of every cell's centre, in cells."""
    steps = torch.arange(SIDE // stride) + 0.5
    return torch.stack(torch.meshgrid(steps, steps, indexing="xy"))


class YoloV8(nn.Module):
    """[N, 4 + classes, cells]: distances by expectation over 8 bins, decoded, beside sigmoids."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.distances, self.scores = Levels(4 * 8), Levels(CLASSES)
        self.expectation = nn.Conv2d(8, 1, 1, bias=False)
        self.expectation.weight = nn.Parameter(torch.arange(8.0).view(1, 8, 1, 1), False)
        self.register_buffer("cells", torch.cat([centres(s).flatten(1) for s in STRIDES], 1))
        sizes = [torch.full(((SIDE // s) ** 2,), float(s)) for s in STRIDES]
        self.register_buffer("strides", torch.cat(sizes))

    def forward(self, x: Tensor) -> Tensor:
        levels = self.backbone(x)
        pairs = zip(self.distances(levels), self.scores(levels), strict=True)
        rows = torch.cat([torch.cat(pair, 1).flatten(2) for pair in pairs], 2)
        bins, scores = rows.split((32, CLASSES), 1)
        bins = bins.view(len(x), 4, 8, -1).transpose(2, 1).softmax(1)
        lt, rb = self.expectation(bins).view(len(x), 4, -1).chunk(2, 1)
        low, high = self.cells - lt, self.cells + rb
        boxes = torch.cat(((low + high) / 2, high - low), 1) * self.strides
        return torch.cat((boxes, scores.sigmoid()), 1)


class YoloV5(nn.Module):
    """[N, anchors, 5 + classes]: decoded level by level, two anchors a cell."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.scores = Levels(2 * (5 + CLASSES))
        sizes = torch.tensor([[[10, 14], [23, 27]], [[60, 80], [90, 70]]])
        self.register_buffer("anchors", sizes.view(2, 1, 2, 1, 1, 2).float())
        for level, stride in enumerate(STRIDES):
            self.register_buffer(f"grid{level}", centres(stride).permute(1, 2, 0) - 1)

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for level, rows in enumerate(self.scores(self.backbone(x))):
            n, _, height, width = rows.shape
            cells = rows.view(n, 2, 5 + CLASSES, height, width).permute(0, 1, 3, 4, 2).sigmoid()
            xy, wh, conf = cells.split((2, 2, 1 + CLASSES), 4)
            xy = (xy * 2 + getattr(self, f"grid{level}")) * STRIDES[level]
            wh = (wh * 2) * (wh * 2) * self.anchors[level]
            found.append(torch.cat((xy, wh, conf), 4).view(n, -1, 5 + CLASSES))
        return torch.cat(found, 1)


class Ssd(nn.Module):
    """[N, anchors, 4 + classes]: offsets in pixels of both levels beside their softmax scores."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.offsets, self.scores = Levels(2 * 4), Levels(2 * CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        levels = self.backbone(x)
        offsets = torch.cat([self.rows(each, 4) for each in self.offsets(levels)], 1)
        scores = torch.cat([self.rows(each, CLASSES) for each in self.scores(levels)], 1)
        return torch.cat((offsets * 40, scores.softmax(2)), 2)

    def rows(self, level: Tensor, size: int) -> Tensor:
        return level.permute(0, 2, 3, 1).reshape(len(level), -1, size)


class CenterNet(nn.Module):
    """[N, classes + 4, 12, 12]: a heat map with its peaks, sizes in pixels, offsets of 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.lateral = nn.Conv2d(32, 24, 1)
        self.scores, self.sizes, self.offsets = (nn.Conv2d(24, c, 1) for c in (CLASSES, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        c3, c4 = self.backbone(x)
        features = c3 + F.interpolate(self.lateral(c4), scale_factor=2.0, mode="nearest")
        heat = self.scores(features).sigmoid()
        sizes = self.sizes(features).relu() * 30
        return torch.cat((heat, sizes, self.offsets(features).sigmoid()), 1)


@dataclass(frozen=True)
class Head:
    """A detector and where the scores stand in its one output."""

    module: type[nn.Module]
    scores: tuple[slice, ...]


every = slice(None)
HEADS = {
    "yolov8": Head(YoloV8, (every, slice(4, None))),
    "yolov5": Head(YoloV5, (every, every, slice(4, None))),
    "ssd": Head(Ssd, (every, every, slice(4, None))),
    "centernet": Head(CenterNet, (every, slice(0, CLASSES))),
}


@dataclass(frozen=True)
class Detector:
    """A calibrated head, its graph, and pictures."""

    name: str
    head: Head
    module: nn.Module
    deploy: onnx.ModelProto
    prepared: Prepared
    pixels: npt.NDArray[np.uint8]

    @property
    def wanted(self) -> Floats:
        """What the module makes of the pictures."""
        with torch.no_grad():
            return self.module(torch.from_numpy(normalised(self.pixels))).numpy()

    def scores_of(self, output: Floats) -> Floats:
        return output[self.head.scores]

    def boxes_of(self, output: Floats) -> Floats:
        """What stands beside the scores."""
        rest = output.copy()
        rest[self.head.scores] = 0
        return rest


def smooth(count: int) -> npt.NDArray[np.uint8]:
    """Smooth random pictures, uint8 [N, side, side, 3]."""
    noise = torch.rand(count, 3, 10, 10, generator=torch.Generator().manual_seed(3))
    fine = F.interpolate(noise, size=(SIDE, SIDE), mode="bicubic", align_corners=False)
    return (fine.clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def normalised(pixels: npt.NDArray[np.uint8]) -> Floats:
    """float32 [N, 3, side, side]."""
    values = (pixels.astype(np.float32) / 255 - 0.5) / 0.25
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def calibrated(module: type[nn.Module], images: Tensor) -> nn.Module:
    """He-initialised; statistics and the spread of what the last convolutions give are real."""
    torch.manual_seed(1)
    network = module()
    for each in network.modules():
        if isinstance(each, nn.Conv2d) and each.weight.requires_grad:
            nn.init.kaiming_normal_(each.weight, nonlinearity="relu")
        elif isinstance(each, nn.BatchNorm2d):
            each.momentum = None
    with torch.no_grad():
        network.train()(images)
        network.eval()
        for each in last_convolutions(network):
            spread(each, network, images)
    return network


def last_convolutions(network: nn.Module) -> list[nn.Conv2d]:
    """Those of the head."""
    heads = [child for name, child in network.named_children() if name != "backbone"]
    convs = [each for head in heads for each in head.modules() if isinstance(each, nn.Conv2d)]
    return [conv for conv in convs if conv.weight.requires_grad]


def spread(conv: nn.Conv2d, network: nn.Module, images: Tensor) -> None:
    """Rescale a convolution so that each of its channels lies about -0.5 ± 1.7: sigmoids of
    0.01 to 0.98."""
    seen = []
    hook = conv.register_forward_hook(lambda _, __, output: seen.append(output))
    network(images)
    hook.remove()
    deviation, mean = torch.std_mean(seen[0], (0, 2, 3))
    conv.weight *= (1.7 / deviation).view(-1, 1, 1, 1)
    conv.bias.copy_((conv.bias - mean) * 1.7 / deviation - 0.5)


@pytest.fixture(scope="session", params=HEADS)
def detector(request: pytest.FixtureRequest) -> Detector:
    """Each head in turn, calibrated on the first eight of twelve pictures."""
    head = HEADS[request.param]
    pixels = smooth(12)
    images = normalised(pixels)
    module = calibrated(head.module, torch.from_numpy(images[:8]))
    exported = export_onnx(module, input_size=(SIDE, SIDE))
    deploy = to_deploy_graph(exported).model
    batches = [image[None] for image in images[:8]]
    prepared = prepare(
        deploy,
        batches,
        Int8Settings(equalize=False, bias_correction="none"),
        preprocessing=PREPROCESSING,
    )
    return Detector(request.param, head, module, deploy, prepared, pixels[8:])


@pytest.fixture(scope="session")
def pictures() -> npt.NDArray[np.uint8]:
    """Twelve smooth random pictures, uint8 [12, side, side, 3]."""
    return smooth(12)


@pytest.fixture(scope="session")
def side() -> int:
    """Height and width of a picture."""
    return SIDE


@pytest.fixture(scope="session")
def yolov8(pictures: npt.NDArray[np.uint8]) -> nn.Module:
    """The head of that name, calibrated."""
    return calibrated(YoloV8, torch.from_numpy(normalised(pictures[:8])))


@pytest.fixture(scope="session")
def decibels() -> Callable[[Floats, Floats], float]:
    """Signal-to-noise ratio."""

    def ratio(found: Floats, wanted: Floats) -> float:
        noise = np.square(found.astype(np.float64) - wanted).sum()
        return float(10 * np.log10(np.square(wanted, dtype=np.float64).sum() / noise))

    return ratio
