"""What is not a deployable file yet: a checkpoint inspected, a network built to be looked into.

Needs the ``convert`` extra. What `ghostedge convert` builds a network of is read by the layers of
its deploy graph, batch norms folded: the function is the original's, and the layers have the names
that they have in every file made from it.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ghostedge.conversion.graphs import deploy_graph
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.source_options import PreprocessingOptions
from ghostedge.conversion.sources import source_kind
from ghostedge.formats.format import Building, Inspection, LayerReader, OpCount, digest
from ghostedge.formats.onnx import ModelOrigin, layer_reader
from ghostedge_convert import build, detect_architecture, load_checkpoint, resolve_preprocessing
from ghostedge_convert.architectures.family import image_channels
from ghostedge_runtime.metadata import Preprocessing


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
    detected = detect_architecture(checkpoint, arch=arch)
    architecture, evidence = detected.architecture, detected.evidence
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
    return tuple(OpCount(name, len(counts), 0, sum(counts)) for name, counts in macs.items())


def open_unbuilt(
    path: Path, building: Building, preprocessing: Preprocessing | None
) -> LayerReader:
    """Build a network.

    Args:
        path: What it is made of.
        building: How.
        preprocessing: Comes before what stands beside the file.

    Raises:
        InputError: It cannot be used.
    """
    stated = {} if preprocessing is None else _stated(preprocessing)
    building_options = asdict(building)
    if building.input_size is None:
        del building_options["input_size"]
    options = ConvertOptions.of(path, output=path, **(stated | building_options))
    kind = source_kind(options)
    source = kind.load(options)
    graph = deploy_graph(source)
    return layer_reader(
        graph.model, graph.metadata, ModelOrigin(path, source.file.sha256, kind.title)
    )


def _stated(preprocessing: Preprocessing) -> dict[str, Any]:
    """The keywords of `ghostedge.convert` that state this preprocessing."""
    return {
        field.name: getattr(preprocessing, field.name) for field in fields(PreprocessingOptions)
    }
