"""Inspect a checkpoint: what is it, how large, what does it cost? Needs the ``convert`` extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ghostedge.formats.format import Inspection, OpCount, digest
from ghostedge_convert import (
    build,
    detect_architecture,
    load_checkpoint,
    resolve_preprocessing,
)
from ghostedge_convert.stem import image_channels


def inspect_checkpoint(
    path: Path,
    *,
    ema: bool = False,
    unsafe_pickle: bool = False,
    key_prefix: str | None = None,
    arch: str | None = None,
) -> Inspection:
    """Identify the network in a weights file and count its cost at its input size.

    Raises:
        CheckpointError: The file cannot be used.
        InputError: ``arch`` is no architecture's name.
    """
    checkpoint = load_checkpoint(path, ema=ema, unsafe_pickle=unsafe_pickle, key_prefix=key_prefix)
    found = detect_architecture(checkpoint, arch=arch)
    architecture, evidence = found.architecture, found.evidence
    module = build(checkpoint, architecture)
    resolved = resolve_preprocessing(checkpoint, architecture)
    input_size = resolved.preprocessing.input_size
    ops = count_macs(module, input_size)
    return Inspection(
        file=str(path),
        kind="checkpoint",
        bytes=path.stat().st_size,
        sha256=digest(path.read_bytes()),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        macs=sum(op.macs for op in ops),
        facts={
            "architecture": architecture.name,
            "width": f"{architecture.width:g}",
            "classes": str(architecture.num_classes),
            "input": "×".join(str(side) for side in input_size),
            "preprocessing": str(resolved),
            **{f"note {i}": note for i, note in enumerate((*checkpoint.notes, *evidence), 1)},
        },
        ops=ops,
    )


def count_macs(module: nn.Module, input_size: tuple[int, int]) -> tuple[OpCount, ...]:
    """Multiply-accumulates of the convolutions and linear layers for one image, by layer type."""
    macs: dict[str, list[int]] = {}

    def count(layer: nn.Module, _: Any, output: torch.Tensor) -> None:
        weight = layer.weight
        if isinstance(weight, torch.Tensor):
            macs.setdefault(type(layer).__name__, []).append(output.numel() * weight[0].numel())

    layers = [m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.inference_mode():
        module(torch.zeros(1, image_channels(module), *input_size))
    for hook in hooks:
        hook.remove()
    return tuple(OpCount(name, len(each), 0, sum(each)) for name, each in macs.items())
