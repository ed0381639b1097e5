"""Whole networks that people build of ghost modules, small, for tests and ``whole_networks.py``.

``ghostedge convert --factory networks:make --factory-args '["cbam"]'``, called in ``benchmarks/``,
converts one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from networks import attention, dense, detectors, heads
from networks.blocks import Attention, images, with_sound_weights

__all__ = ["NETWORKS", "Network", "images", "make"]


@dataclass(frozen=True)
class Network:
    """A network to be made.

    Attributes:
        build: Makes it, of the input's height and width.
        size: Height and width in pixels.
        title: What it is.
    """

    build: Callable[[tuple[int, int]], nn.Module]
    size: tuple[int, int]
    title: str


def _classifier(make_attention: Attention, title: str) -> Network:
    return Network(lambda _: attention.Classifier(make_attention), (64, 64), f"GhostNet + {title}")


NETWORKS: dict[str, Network] = {
    "cbam": _classifier(attention.CBAM, "CBAM"),
    "eca": _classifier(attention.ECA, "ECA"),
    "coordinate_attention": _classifier(attention.CoordinateAttention, "coordinate attention"),
    "simam": _classifier(attention.SimAM, "SimAM"),
    "yolov5": Network(detectors.YOLOv5, (64, 96), "YOLOv5 of GhostConv and C3Ghost"),
    "yolov8": Network(detectors.YOLOv8, (64, 96), "YOLOv8 of GhostConv and C3Ghost"),
    "lraspp": Network(lambda _: dense.LRASPP(), (64, 96), "LRASPP on a GhostNet"),
    "unet_transposed": Network(
        lambda _: dense.UNet(transposed=True), (64, 96), "U-Net, transposed convolution"
    ),
    "unet_bilinear": Network(lambda _: dense.UNet(transposed=False), (64, 96), "U-Net, bilinear"),
    "ghostfacenet": Network(heads.GhostFaceNet, (64, 64), "GhostFaceNet: PReLU, L2 norm"),
    "super_resolution": Network(
        lambda _: dense.SuperResolution(), (32, 48), "super-resolution by pixel shuffle"
    ),
    "multi_task": Network(lambda _: heads.MultiTask(), (64, 64), "classes, a number and a mask"),
}


def make(name: str) -> nn.Module:
    """The network of a row of ``NETWORKS``, its weights set, in evaluation mode."""
    network = NETWORKS[name]
    torch.manual_seed(1)
    module = with_sound_weights(network.build(network.size), network.size)
    if isinstance(module, (detectors.YOLOv5, detectors.YOLOv8)):
        detectors.spread_scores(module)
    return module
