"""A torch module of the user's, ready to be exported.

The result is a copy in evaluation mode, float32, on the CPU: the caller's module is never touched.
It is run on one batch of images, to see that it computes; what it computes is not checked. The
other sources build on the same checks.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import Source

CHANNELS = (3, 1, 4)
"""How many an image may have, the likeliest first."""

_WHOLE = (torch.int32, torch.int64, torch.bool)
_REMEDY = "pass a float tensor of shape (N, C, H, W), or that shape: (1, 3, 224, 224)"


@dataclass(frozen=True)
class LoadedModule:
    """A module and what is known of it.

    Attributes:
        module: In evaluation mode; maps one float32 (N, C, H, W) batch to its outputs.
        title: What it is, for a report: ``module Net (given)``.
        source: The file it came from, or the module's own name; its SHA-256.
        in_channels: C.
        input_size: Height and width that it was made for; None where any will do.
        notes: What was changed on the way, a line each.
    """

    module: torch.nn.Module
    title: str
    source: Source
    in_channels: int = 3
    input_size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()


def inference_copy(module: torch.nn.Module, where: str) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """A copy in evaluation mode, float32 and on the CPU, and what that changed.

    Raises:
        InputError: The module cannot be copied, or its weights are not there or not finite.
    """
    notes = []
    if module.training:
        notes.append("the module was in training mode; it is converted in evaluation mode")
    kinds = {str(t.dtype).removeprefix("torch.") for t in _floats(module.state_dict())}
    if kinds - {"float32"}:
        notes.append(f"converted {', '.join(sorted(kinds - {'float32'}))} weights to float32")
    refuse_unusable(module.state_dict(), where)
    try:
        mine = copy.deepcopy(module).to(device="cpu", dtype=torch.float32).eval()
    except Exception as error:  # a module's own __deepcopy__ or hooks may raise whatever they do
        raise InputError(
            f"the module cannot be copied to the CPU as float32 ({in_a_line(error)})",
            where=where,
            remedy="pass a plain torch.nn.Module that copy.deepcopy takes, before any quantization",
        ) from error
    return mine.requires_grad_(False), tuple(notes)


def refuse_unusable(weights: Mapping[str, Any], where: str) -> None:
    """Refuse weights that no network computes with.

    Raises:
        InputError: A weight was never initialised, is on the meta device, or is not finite.
    """
    for key, value in weights.items():
        if not isinstance(value, torch.Tensor):
            continue
        lazy = torch.nn.parameter.is_lazy(value)
        if lazy or value.is_meta:
            raise InputError(
                f"its weight {key} has no values yet",
                where=where,
                remedy="load the weights, and run lazy layers once, before the conversion",
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(
                f"its weight {key} holds values that are NaN or infinite",
                where=where,
                remedy="training has diverged or the file is damaged: take earlier weights",
            )


def _floats(weights: Mapping[str, Any]) -> Iterator[torch.Tensor]:
    return (v for v in weights.values() if isinstance(v, torch.Tensor) and v.is_floating_point())


def state_hash(module: torch.nn.Module) -> str:
    """SHA-256 of the state_dict: every key, type, shape and value, in order."""
    digest = hashlib.sha256()
    for key, value in module.state_dict().items():
        if isinstance(value, torch.Tensor):
            data = value.detach().cpu().contiguous()
            digest.update(f"{key} {data.dtype} {tuple(data.shape)}\n".encode())
            digest.update(data.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def try_on(module: torch.nn.Module, example: torch.Tensor, where: str) -> None:
    """Run the module once.

    Raises:
        InputError: It does not take the example, or returns something else than tensors.
    """
    shape = "×".join(map(str, example.shape))
    try:
        with torch.no_grad():
            returned = module(example)
    except Exception as error:  # code of the user's, which raises whatever it does
        raise InputError(
            f"it cannot compute a batch of {shape} ({in_a_line(error)})",
            where=where,
            remedy="give the size that it was made for; it is called with one float32 tensor, "
            "N×C×H×W",
        ) from error
    others = [type(leaf).__name__ for leaf in _leaves(returned) if not _is_output(leaf)]
    if others or not list(_leaves(returned)):
        raise InputError(
            f"it returns {others[0] if others else 'nothing'}, where tensors of numbers are wanted",
            where=where,
            remedy="return a tensor, or a dict, tuple or list of tensors, in evaluation mode",
        )


def find_channels(module: torch.nn.Module, shape: tuple[int, int, int], where: str) -> int:
    """How many channels a module takes, by trying.

    Args:
        module: The module.
        shape: Batch, height and width.
        where: What to call it.

    Raises:
        InputError: It takes none of ``CHANNELS`` at this size; gives the reason for the first.
    """
    batch, height, width = shape
    for channels in CHANNELS:
        with contextlib.suppress(Exception), torch.no_grad():  # what fails is not its number
            module(torch.zeros(batch, channels, height, width))
            return channels
    try_on(module, torch.zeros(batch, CHANNELS[0], height, width), where)
    return CHANNELS[0]


def _leaves(returned: Any) -> Iterator[Any]:
    if isinstance(returned, Mapping):
        returned = tuple(returned.values())
    if not isinstance(returned, (tuple, list)):
        yield returned
        return
    for item in returned:
        yield from _leaves(item)


def _is_output(leaf: object) -> bool:
    """Whether it is numbers, or labels, indices or a mask."""
    return isinstance(leaf, torch.Tensor) and (leaf.is_floating_point() or leaf.dtype in _WHOLE)


def in_a_line(error: BaseException) -> str:
    """An exception as the last line of its traceback would have it, of a long one the start."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]}…"


def load_module(
    module: torch.nn.Module, example_input: torch.Tensor | Sequence[int]
) -> LoadedModule:
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
    return LoadedModule(
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
