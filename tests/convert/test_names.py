"""Nodes and tensors are named after the module tree, outputs after what the network returns."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest

from ghostedge_convert import rename_outputs
from ghostedge_convert.names import check_names, names_of
from ghostedge_runtime.errors import InputError


@pytest.mark.parametrize(
    ("returned", "names"),
    [
        (0, ("logits",)),
        ({"boxes": 0, "scores": 0}, ("boxes", "scores")),
        ((0, 0), ("output_0", "output_1")),
        ([0, (0, 0)], ("output_0", "output_1_0", "output_1_1")),
        ({"features": [0, 0]}, ("features_0", "features_1")),
    ],
)
def test_outputs_are_named_by_keys_else_by_places(returned, names):
    assert names_of(returned) == names


@pytest.mark.parametrize("names", [("a",), ("a", "a"), ("a", " "), ("a", "x"), ("a", "image")])
def test_names_that_do_not_fit_the_outputs_are_refused(names):
    with pytest.raises(InputError) as raised:
        check_names(names, 2, "x")
    assert raised.value.where == "--output-names"


def test_a_tensor_at_two_places_gets_an_output_for_each(run):
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> '
        "g (float[1, 2] x) => (float[1, 2] y, float[1, 2] z) { y = Relu(x) z = Neg(y) }"
    )
    model.graph.output[1].name = "y"
    renamed = rename_outputs(model, ["first", "second"])
    assert [output.name for output in renamed.graph.output] == ["first", "second"]
    assert run(renamed, np.float32([[1, -1]])).tolist() == [[1, 0]]
    assert [output.name for output in model.graph.output] == ["y", "y"]
