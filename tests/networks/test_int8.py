"""Whole networks in int8: every output, and every part of one, keeps its signal."""

from __future__ import annotations

import networks
import pytest
from networks import measure

from ghostedge_convert import export_onnx, to_deploy_graph

# Of random weights; what the benchmark measures of eight images is in docs/outputs.md.
LEAST_DB = {
    "cbam": 16,
    "eca": 20,
    "coordinate_attention": 10,
    "simam": 11,
    "yolov5": 10,
    "yolov8": 9,
    "lraspp": 25,
    "unet_transposed": 24,
    "unet_bilinear": 19,
    "ghostfacenet": 19,
    "super_resolution": 29,
    "multi_task": 12,
}


@pytest.fixture(scope="module")
def lowered(example):
    """The deploy graph and the int8 file's answers."""
    deploy = to_deploy_graph(export_onnx(example.module, input_size=example.size)).model
    calibration = networks.images(16, example.size, seed=6).numpy()
    return deploy, measure.by_tflite(measure.int8(deploy, calibration), example.images)


def test_the_worst_part_keeps_its_signal(example, lowered):
    deploy, integer = lowered
    ratio, part = measure.worst_part(deploy, integer.outputs, example.outputs)
    assert ratio >= LEAST_DB[example.name], part


def test_all_of_it_runs_in_xnnpack(lowered):
    delegation = lowered[1].delegation
    assert delegation.ops_total == delegation.ops, delegation.left
