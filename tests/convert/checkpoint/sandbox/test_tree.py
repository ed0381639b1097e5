"""What the confined process hands back, packed and unpacked."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch
from torch import nn

from ghostedge_convert.checkpoint.sandbox.tree import packed, unpacked


def test_what_is_handed_back_is_what_was_sent():
    content = {"a": [1, 2.5, None, True, "x"], 3: torch.arange(4.0), "m": nn.Linear(1, 1),
               "o": object(), "q": torch.ones(2).to_sparse()}  # fmt: skip
    data = packed(content, {})
    said = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    found, modules = unpacked(safetensors.torch.load(data), said["tree"])
    assert isinstance(found, dict)
    assert found["a"] == content["a"]
    assert torch.equal(found[3], content[3])
    assert list(found["m"]) == ["weight", "bias"]
    assert modules == ("torch.nn.modules.linear.Linear",)
    assert type(found["o"]).__name__ == "object"
    assert "sparse" in type(found["q"]).__name__


@pytest.mark.parametrize(
    "tree",
    ["", "{}", "[]", '["tensor"]', '["tensor", "7"]', '["dict", [[1]]]', '["dict", 3]',
     '["run", "x"]', "[" * 90_000,
     '["list", [' * 40 + "1" + "]]" * 40],
)  # fmt: skip
def test_a_tree_that_was_tampered_with_is_a_value_error(tree):
    with pytest.raises(ValueError, match=r"."):
        unpacked({"0": torch.ones(1)}, tree)
