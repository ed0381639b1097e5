"""Whole networks in float, from a factory and from ``.onnx`` of torch's older exporter."""

from __future__ import annotations

import warnings

import torch

from ghostedge_convert import export_onnx
from ghostedge_convert.sources.factory import load_from_factory
from ghostedge_convert.sources.onnx import load_float_onnx


def test_a_factorys_network_is_the_same_function_in_both_formats(example, check_same_function):
    made = load_from_factory("networks:make", f'["{example.name}"]', None)
    check_same_function(export_onnx(made.module, input_size=example.size), example)


def test_a_file_of_torchs_older_exporter_is_the_same_function(
    example, check_same_function, tmp_path
):
    path = tmp_path / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says how old it is
        one = torch.from_numpy(example.images[:1])
        torch.onnx.export(example.module, (one,), path, dynamo=False, opset_version=17)
    loaded = load_float_onnx(path, batch=1, input_size=None)
    check_same_function(loaded.model, example)
