from __future__ import annotations

import json
import subprocess
import sys

import pytest

import ghostedge_convert


def test_importing_the_package_imports_neither_torch_nor_onnx():
    code = "import sys, json, ghostedge_convert; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    roots = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not roots & {"torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "numpy"}
    assert "ghostedge_convert" in roots


@pytest.mark.parametrize("name", ghostedge_convert.__all__)
def test_every_exported_name_exists_and_is_no_module(name):
    value = getattr(ghostedge_convert, name)
    assert callable(value)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ghostedge_convert.nothing
