"""A module in memory is taken as a copy, and refused by name where it cannot be converted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from ghostedge_convert import export_onnx
from ghostedge_convert.sources.module import find_channels, load_module, state_hash
from ghostedge_runtime.errors import InputError


def test_the_copy_computes_what_the_module_does_in_evaluation_mode(
    tiny: nn.Module, images: torch.Tensor
) -> None:
    given = load_module(tiny, images[:1])
    with torch.no_grad():
        assert torch.equal(given.module(images), tiny(images))
    assert (given.in_channels, given.input_size) == (3, (32, 32))
    assert given.title == "module Tiny (given)"
    assert given.notes == ()


def test_a_module_in_training_is_left_in_training_and_converted_in_evaluation(
    tiny: nn.Module,
) -> None:
    tiny.train()
    given = load_module(tiny, (1, 3, 16, 16))
    assert tiny.training
    assert all(part.training for part in tiny.modules())
    assert not any(part.training for part in given.module.modules())
    assert "training mode" in given.notes[0]


def test_half_precision_weights_become_float32_and_the_module_keeps_its_own(
    tiny: nn.Module,
) -> None:
    given = load_module(tiny.half(), torch.zeros(1, 3, 16, 16, dtype=torch.float16))
    assert given.notes == ("converted float16 weights to float32",)
    assert {p.dtype for p in given.module.parameters()} == {torch.float32}
    assert {p.dtype for p in tiny.parameters()} == {torch.float16}


def test_the_source_is_the_hash_of_the_weights(tiny: nn.Module, make_tiny: Callable) -> None:
    given = load_module(tiny, (1, 3, 16, 16))
    assert (given.source.file, given.source.sha256) == ("Tiny", state_hash(make_tiny()))
    with torch.no_grad():
        next(tiny.parameters()).view(-1)[0] += 1e-6
    assert state_hash(tiny) != given.source.sha256


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_are_found_by_trying(make_tiny: Callable, channels: int) -> None:
    module = make_tiny(channels=channels)
    assert find_channels(module, (1, 16, 16), "it") == channels
    given = load_module(module, (2, channels, 16, 24))
    assert (given.in_channels, given.input_size) == (channels, (16, 24))


@pytest.mark.parametrize(
    ("example", "said"),
    [
        ((1, 3, 16), "is not the shape of a batch"),
        ((1, 2, 16, 16), "is not the shape of a batch"),
        ((1, 3, 0, 16), "is not the shape of a batch"),
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), "of type uint8"),
        (np.zeros((1, 3, 16, 16)), "a ndarray, no tensor and no shape"),
        ((1.0, 3, 16, 16), "a tuple, no tensor and no shape"),
    ],
)
def test_an_example_that_is_no_image_is_refused(
    tiny: nn.Module, example: object, said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        load_module(tiny, example)  # type: ignore[arg-type] # the mistake
    assert caught.value.where == "example_input"


def test_an_example_that_the_module_does_not_take_says_what_the_module_said(
    tiny: nn.Module,
) -> None:
    with pytest.raises(InputError, match=r"cannot compute a batch of 1×1×16×16 .*expected input"):
        load_module(tiny, (1, 1, 16, 16))


@pytest.mark.parametrize(
    ("returned", "said"),
    [("x", "returns str"), ([], "returns nothing"), (torch.tensor([1j]), "returns Tensor")],
)
def test_a_module_that_returns_no_tensors_of_numbers_is_refused(
    returned: object, said: str
) -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> object:
            return returned

    with pytest.raises(InputError, match=said):
        load_module(Odd(), (1, 3, 16, 16))


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(InputError, match=r"a dict, not a torch.nn.Module"):
        load_module({}, (1, 3, 16, 16))  # type: ignore[arg-type] # the mistake


def test_a_scripted_module_is_to_be_passed_as_a_file(tiny: nn.Module) -> None:
    with (
        pytest.warns(DeprecationWarning, match="script"),
        pytest.raises(InputError, match="TorchScript module"),
    ):
        load_module(torch.jit.script(tiny), (1, 3, 16, 16))


def test_weights_that_are_not_numbers_are_refused(tiny: nn.Module) -> None:
    with torch.no_grad():
        tiny.get_parameter("fc.weight")[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"fc.weight holds values that are NaN"):
        load_module(tiny, (1, 3, 16, 16))


@pytest.mark.parametrize("lazy", [True, False])
def test_weights_that_are_not_there_are_refused(lazy: bool) -> None:
    module: nn.Module = nn.LazyConv2d(4, 3) if lazy else nn.Conv2d(3, 4, 3, device="meta")
    with pytest.raises(InputError, match="weight weight has no values yet"):
        load_module(module, (1, 3, 16, 16))


def test_nodes_are_named_after_the_modules(tiny: nn.Module) -> None:
    model = export_onnx(load_module(tiny, (1, 3, 16, 16)).module, input_size=(16, 16))
    assert {"conv/Conv", "fc/Gemm"} <= {node.name for node in model.graph.node}
