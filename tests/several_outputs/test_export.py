"""Outputs keep the names that the network or the caller gave them, through export and passes."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from ghostedge_convert import export_onnx
from ghostedge_convert.names import names_of
from ghostedge_runtime.errors import InputError

Heads = namedtuple("Heads", ["boxes", "scores"])


class Returns(nn.Module):
    """A network that returns whatever a function makes of its one feature map."""

    def __init__(self, end) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.end = end

    def forward(self, x):
        return self.end(x, self.conv(x))


def exported(end, **options) -> onnx.ModelProto:
    return export_onnx(Returns(end).eval(), input_size=(3, 5), in_channels=1, **options)


def outputs_of(model: onnx.ModelProto) -> list[str]:
    return [value.name for value in model.graph.output]


def test_the_deploy_graph_computes_every_output_under_its_name(example, run_onnx):
    image = example.images[3:4]
    found, expected = run_onnx(example.deploy, image), example.answers(image)
    assert list(found) == list(example.case.outputs)
    for name, shape in example.case.outputs.items():
        assert found[name].shape == shape
        assert np.abs(found[name] - expected[name]).max() <= 1e-4 * np.abs(expected[name]).max()


def test_the_input_is_as_wide_high_and_deep_as_asked(example):
    (source,) = example.deploy.graph.input
    shape = [size.dim_value for size in source.type.tensor_type.shape.dim]
    assert shape == [1, example.case.channels, *example.case.size]


@pytest.mark.parametrize(
    ("end", "names"),
    [
        (lambda x, y: y, ["logits"]),
        (lambda x, y: (y, y + 1), ["output_0", "output_1"]),
        (lambda x, y: [y], ["output_0"]),
        (lambda x, y: {"z": y, "a": y + 1}, ["z", "a"]),
        (lambda x, y: {"levels": [y, y + 1], "all": y * 2}, ["levels_0", "levels_1", "all"]),
        (lambda x, y: (y, {"mask": y + 1}), ["output_0", "output_1_mask"]),
        (lambda x, y: Heads(y, y + 1), ["boxes", "scores"]),
    ],
)
def test_names_are_the_keys_of_what_the_network_returns(end, names):
    assert outputs_of(exported(end)) == names


def test_halves_of_a_split_and_its_sizes_have_names_of_their_own(run_onnx):
    def swapped(x, y):
        first, second = y.split((1, 1), 1)
        return torch.cat((second, first), 1)

    image = np.random.default_rng(0).normal(size=(1, 1, 3, 5)).astype(np.float32)
    found = run_onnx(exported(lambda x, y: (y, swapped(x, y))), image)
    assert np.array_equal(found["output_1"], found["output_0"][:, ::-1])


def test_stated_names_replace_the_networks_own():
    model = exported(lambda x, y: {"a": y, "b": y + 1}, output_names=["first", "second"])
    assert outputs_of(model) == ["first", "second"]


def test_one_tensor_at_two_places_and_the_input_itself_are_outputs_of_their_own(run_onnx):
    model = exported(lambda x, y: {"a": y, "b": y, "same": x})
    image = np.random.default_rng(0).normal(size=(1, 1, 3, 5)).astype(np.float32)
    found = run_onnx(model, image)
    assert list(found) == ["a", "b", "same"]
    assert np.array_equal(found["a"], found["b"])
    assert np.array_equal(found["same"], image)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["one"], "1 names for 2 outputs"),
        (["a", "a"], "cannot be called 'a'"),
        (["a", " "], "cannot be called ' '"),
        (["a", "input"], "cannot be called 'input'"),
        (["a", "image"], "cannot be called 'image'"),
    ],
)
def test_names_that_do_not_fit_are_refused(names, message):
    with pytest.raises(InputError, match=message):
        exported(lambda x, y: (y, y + 1), output_names=names)


def test_a_name_that_a_weight_has_too_is_the_outputs(run_onnx):
    model = exported(lambda x, y: (y, y + 1), output_names=["conv.bias", "conv.weight"])
    found = run_onnx(model, np.ones((1, 1, 3, 5), np.float32))
    assert np.allclose(found["conv.weight"], found["conv.bias"] + 1)


def test_an_output_that_is_no_tensor_is_refused_by_its_name():
    with pytest.raises(InputError, match="'loss' is None, no tensor"):
        exported(lambda x, y: {"mask": y, "loss": None})


def test_names_of_what_holds_no_container_is_the_classifiers():
    assert names_of(torch.zeros(1)) == ("logits",)
