"""Whole networks in float, from TorchScript, ``.pt2`` and ``.onnx`` of torch's present exporter."""

from __future__ import annotations

import pytest
import torch

from ghostedge_convert import export_onnx
from ghostedge_convert.sources.onnx import load_float_onnx
from ghostedge_convert.sources.pt2 import load_pt2_program
from ghostedge_convert.sources.torch_files import load_torchscript


@pytest.fixture(scope="module")
def program(example):
    """The network as a torch.export program, from which both other files are written."""
    return torch.export.export(example.module, (torch.from_numpy(example.images[:1]),))


def test_a_torchscript_file_is_the_same_function(example, check_same_function, tmp_path):
    path = tmp_path / "network.pt"
    one = torch.from_numpy(example.images[:1])
    torch.jit.trace(example.module, one, strict=False).save(path)
    loaded = load_torchscript(path, batch=1, input_size=example.size)
    check_same_function(export_onnx(loaded.module, input_size=example.size), example)


def test_a_pt2_file_is_the_same_function(example, program, check_same_function, tmp_path):
    path = tmp_path / "network.pt2"
    torch.export.save(program, path)
    loaded = load_pt2_program(path, batch=1, input_size=None)
    check_same_function(export_onnx(loaded.module, input_size=example.size), example)


def test_a_file_of_torchs_present_exporter_is_the_same_function(
    example, program, check_same_function, tmp_path
):
    path = tmp_path / "network.onnx"
    torch.onnx.export(program, f=path, dynamo=True, verbose=False)
    loaded = load_float_onnx(path, batch=1, input_size=None)
    check_same_function(loaded.model, example)
