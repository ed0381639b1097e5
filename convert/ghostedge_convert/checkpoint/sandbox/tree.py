"""What a confined process hands back: tensors in safetensors, all else as JSON in its header.

The sender walks whatever the pickle made and keeps mappings, lists, numbers, texts and tensors; of
anything else the name of its class. The receiver trusts nothing of it: it parses, and never
unpickles.

A node is a plain JSON value, or a list of a tag and what belongs to it::

    ["tensor", "12"]                     its name in the safetensors file
    ["dict", [[key, node], …]]
    ["list", [node, …]]
    ["module", "package.Class", node]    node: its state_dict
    ["object", "package.Class"]
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from ghostedge_convert.checkpoint.stand_ins import StandIn

# safetensors' own names are decimal counters; these bound what a hostile sender can cost.
_DEEPEST = 12
_MOST_NODES = 300_000
_LONGEST = 4_096
_DTYPES = frozenset(
    {torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
     torch.int16, torch.int8, torch.uint8, torch.bool}
)  # fmt: skip


def packed(content: object, texts: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file that holds the content, with texts in its header."""
    packer = _Packer()
    tree = packer.node(content, 0)
    return safetensors.torch.save(packer.tensors, {"tree": json.dumps(tree), **texts})


def unpacked(tensors: Mapping[str, torch.Tensor], tree: str) -> tuple[object, tuple[str, ...]]:
    """The content again, plain, and the classes of the modules whose ``state_dict`` was taken.

    Raises:
        ValueError: The tree is none that ``packed`` writes.
    """
    modules: list[str] = []
    try:
        return _content(json.loads(tree), tensors, modules, 0), tuple(modules)
    except (KeyError, TypeError, IndexError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


class _Packer:
    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self._nodes = 0

    def node(self, value: object, depth: int) -> object:
        self._nodes += 1
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            value = torch.from_numpy(np.ascontiguousarray(value))
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, str):
            return str(value[:_LONGEST])
        return self._container(value, depth)

    def _container(self, value: object, depth: int) -> object:
        if depth < _DEEPEST and self._nodes < _MOST_NODES:
            if isinstance(value, nn.Module):
                return ["module", _class(value), self.node(value.state_dict(), depth + 1)]
            if isinstance(value, Mapping):
                return ["dict", [[_key(k), self.node(v, depth + 1)] for k, v in value.items()]]
            if isinstance(value, (list, tuple)):
                return ["list", [self.node(item, depth + 1) for item in value]]
        return ["object", _class(value)]

    def _tensor(self, value: torch.Tensor) -> object:
        if value.layout is not torch.strided or value.is_meta or value.dtype not in _DTYPES:
            return ["object", f"torch.Tensor of {value.dtype}, {value.layout}"]
        name = str(len(self.tensors))
        self.tensors[name] = value.detach().cpu().contiguous().clone()
        return ["tensor", name]


def _key(key: object) -> object:
    return key if isinstance(key, (str, int)) else str(type(key).__name__)


def _class(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _content(
    node: Any, tensors: Mapping[str, torch.Tensor], modules: list[str], depth: int
) -> object:
    if depth > 2 * _DEEPEST:
        raise ValueError("it is nested too deeply")
    if not isinstance(node, list):
        if isinstance(node, dict):
            raise ValueError("an object without a tag")
        return node
    tag, *rest = node
    if tag == "tensor":
        return tensors[rest[0]]
    if tag == "dict":
        return {
            (key if isinstance(key, int) else str(key)): _content(item, tensors, modules, depth + 1)
            for key, item in rest[0]
        }
    if tag == "list":
        return [_content(item, tensors, modules, depth + 1) for item in rest[0]]
    if tag == "module":
        modules.append(str(rest[0]))
        return _content(rest[1], tensors, modules, depth + 1)
    if tag == "object":
        return type(str(rest[0]).rpartition(".")[2], (StandIn,), {})()
    raise ValueError(f"an unknown tag {str(tag)[:20]!r}")
