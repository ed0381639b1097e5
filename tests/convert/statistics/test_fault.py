"""The network that weights fit is named where they do not fit their own, and for no odd images.

Shown on the trained network: the faults are edits, what is named is the way back.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper

from ghostedge_convert.export import export_onnx
from ghostedge_convert.statistics import fault
from ghostedge_convert.statistics.edits import without_identity_shortcuts
from ghostedge_convert.statistics.fault import name_fault
from ghostedge_convert.statistics.measure import NormStatistics, measure_norms
from ghostedge_convert.statistics.network import judge_network


@pytest.fixture(scope="module")
def model(trained_module) -> onnx.ModelProto:
    return export_onnx(trained_module, input_size=(64, 64))


@pytest.fixture(scope="module")
def images(trained_pixels) -> np.ndarray:
    return trained_pixels[::6][:64]


def _measured(model: onnx.ModelProto, images: np.ndarray) -> NormStatistics:
    statistics = measure_norms(model, [images])
    assert statistics is not None
    return statistics


def _changed(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    return copy


def _stride(node: onnx.NodeProto, stride: int) -> None:
    others = [attribute for attribute in node.attribute if attribute.name != "strides"]
    del node.attribute[:]
    node.attribute.extend([*others, helper.make_attribute("strides", [stride, stride])])


def test_what_fits_is_not_looked_into(model, images):
    statistics = _measured(model, images)
    verdict = name_fault(model, images, statistics)
    assert verdict == judge_network(statistics)
    assert (verdict.verdict, verdict.fits_with) == ("fits", None)


def test_missing_shortcuts_are_named(model, images):
    other = _changed(model)
    assert without_identity_shortcuts(other)
    verdict = name_fault(other, images, _measured(other, images))
    assert verdict.verdict == "wrong"
    assert verdict.fits_with == "identity shortcuts"
    assert "it fits with identity shortcuts: half of these batch norms are then within 0.0" in (
        verdict.evidence
    )


def test_a_stride_moved_in_one_block_is_found_and_named(model, images):
    other = _changed(model)
    nodes = {node.name: node for node in other.graph.node}
    _stride(nodes["blocks.1.0.conv_dw/Conv"], 1)
    _stride(nodes["blocks.1.0.ghost1.primary_conv.0/Conv"], 2)
    statistics = _measured(other, images)
    before = judge_network(statistics)
    assert before.verdict == "unclear"
    verdict = name_fault(other, images, statistics)
    assert verdict.verdict == "wrong"
    assert verdict.begins == before.begins
    assert verdict.fits_with == (
        "the stride of blocks.1.0 on conv_dw in place of ghost1.primary_conv.0"
    )


def test_a_fault_that_is_no_known_edit_is_left_unnamed(model, images):
    other = _changed(model)
    gates = {node.output[0] for node in other.graph.node if node.op_type == "HardSigmoid"}
    for node in other.graph.node:
        if node.op_type == "Mul" and gates & set(node.input):
            node.op_type = "Identity"
            node.input[:] = [name for name in node.input if name not in gates]
    statistics = _measured(other, images)
    assert name_fault(other, images, statistics) == judge_network(statistics)


def test_an_edit_that_cannot_run_is_passed_over(model, images, monkeypatch):
    other = _changed(model)
    assert without_identity_shortcuts(other)
    broken = _changed(other)
    nodes = {node.name: node for node in broken.graph.node}
    _stride(nodes["blocks.0.0.ghost1.primary_conv.0/Conv"], 2)  # its sibling keeps the size
    _stride(nodes["blocks.0.0.ghost1.cheap_operation.0/Conv"], 2)
    monkeypatch.setattr(fault, "edited", lambda _: iter([("a stride elsewhere", broken)]))
    statistics = _measured(other, images[:32])
    assert name_fault(other, images[:32], statistics) == judge_network(statistics)


def test_images_unlike_training_are_not_taken_for_a_network(model, images):
    """Half of each image is blank: the first layer's norm is set to it, those behind are not."""
    blank = images.copy()
    blank[:, :, ::2] = 0
    statistics = _measured(model, blank)
    first = statistics.layers[0]
    center = first.mean.mean(0)
    fitted = replace(first, running_mean=center, running_var=first.square.mean(0) - center**2)
    verdict = name_fault(model, blank, NormStatistics((fitted, *statistics.layers[1:]), 64))
    assert verdict.verdict in ("wrong", "unclear")
    assert verdict.fits_with is None
