"""A module in memory, with an example of what it takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ghostedge_convert.sources.module import (
    CHANNELS,
    GivenModule,
    inference_copy,
    state_hash,
    try_on,
)
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import Source

_REMEDY = "pass a float tensor of shape (N, C, H, W), or that shape: (1, 3, 224, 224)"


def given_module(
    module: torch.nn.Module, example_input: torch.Tensor | Sequence[int]
) -> GivenModule:
    """Take a module as it is.

    Args:
        module: Maps one float32 (N, C, H, W) tensor to a tensor, or to several; untouched.
        example_input: Such a tensor, or its shape. Its height and width are those of the files.

    Raises:
        InputError: One is not what it should be, or the module does not take the example.
    """
    kind = type(module).__name__
    if not isinstance(module, torch.nn.Module):
        raise InputError(
            f"it is a {kind}, not a torch.nn.Module",
            where="model",
            remedy="pass a module, or the path of a file",
        )
    if isinstance(module, torch.jit.ScriptModule):
        raise InputError(
            "it is a TorchScript module",
            where="model",
            remedy="torch.jit.save it and pass the file, or pass the module it was made from",
        )
    channels, height, width = _image_shape(example_input)
    mine, notes = inference_copy(module, kind)
    example = _example(example_input)
    try_on(mine, example, kind)
    return GivenModule(
        module=mine,
        title=f"module {kind} (given)",
        source=Source(kind, state_hash(module)),
        in_channels=channels,
        input_size=(height, width),
        notes=notes,
    )


def _image_shape(example: torch.Tensor | Sequence[int]) -> tuple[int, int, int]:
    """Channels, height and width of the example.

    Raises:
        InputError: It is no float tensor, or not of the shape of a batch of images.
    """
    if isinstance(example, torch.Tensor):
        shape = tuple(example.shape)
        if not example.is_floating_point():
            kind = str(example.dtype).removeprefix("torch.")
            raise InputError(f"it is of type {kind}", where="example_input", remedy=_REMEDY)
    elif isinstance(example, Sequence) and all(isinstance(side, int) for side in example):
        shape = tuple(example)
    else:
        raise InputError(
            f"it is a {type(example).__name__}, no tensor and no shape",
            where="example_input",
            remedy=_REMEDY,
        )
    if len(shape) != 4 or min(shape) < 1 or shape[1] not in CHANNELS:
        raise InputError(
            f"{shape} is not the shape of a batch of images of 1, 3 or 4 channels",
            where="example_input",
            remedy=_REMEDY,
        )
    return shape[1], shape[2], shape[3]


def _example(example: torch.Tensor | Sequence[int]) -> torch.Tensor:
    if isinstance(example, torch.Tensor):
        return example.detach().to(device="cpu", dtype=torch.float32)
    return torch.zeros(tuple(example))
