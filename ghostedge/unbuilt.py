"""What is not a deployable file yet: a checkpoint inspected, a network built to be looked into.

Needs the ``convert`` extra. What `ghostedge convert` builds a network of is read by the layers of
its deploy graph, batch norms folded: the function is the original's, and the layers have the names
that they have in every file made from it. Images are held against the graph before that, whose
batch norms remember their training.
"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ghostedge.conversion.graphs import deploy_graph
from ghostedge.conversion.image_fit import fit_images
from ghostedge.conversion.images import calibration_set
from ghostedge.conversion.option_fields import ModelKind
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.source import FloatSource
from ghostedge.conversion.source_options import PreprocessingOptions
from ghostedge.conversion.sources import SourceKind, is_quantized_onnx, source_kind
from ghostedge.formats.format import Building, Inspection, LayerReader, OpCount, digest
from ghostedge.formats.onnx import ModelOrigin, inspect_onnx, layer_reader
from ghostedge.records.image_fit import NO_NORMS, ImageFit
from ghostedge_convert import build, detect_architecture, load_checkpoint, resolve_preprocessing
from ghostedge_convert.architectures.family import image_channels
from ghostedge_runtime.image_check import check_images
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
    options = _options(path, building, preprocessing)
    kind = source_kind(options)
    source = kind.load(options)
    graph = deploy_graph(source)
    return layer_reader(
        graph.model, graph.metadata, ModelOrigin(path, source.file.sha256, kind.title)
    )


def inspect_images(path: Path, building: Building, calib: Path, most: int) -> Inspection:
    """Hold images against what a network remembers of its training.

    Args:
        path: What the network is made of: anything that `ghostedge convert` takes.
        building: How.
        calib: A folder of images, at any depth.
        most: Look at no more than so many.

    Returns:
        What is in it, of a checkpoint and an ``.onnx`` all that is known without images.

    Raises:
        InputError: It cannot be used.
        ImageError: There is no such folder, no image in it, or some that cannot be used.
    """
    options = _options(path, building, None)
    images = calibration_set(calib, most)
    paths = [image for image in images.sources if isinstance(image, Path)]
    check_images(paths).refuse(calib, can_skip=False)
    if is_quantized_onnx(options):
        options.check_effect(ModelKind.QUANTIZED_ONNX)
        fit = ImageFit(len(images), images.description, not_checked=(NO_NORMS,))
        return replace(inspect_onnx(path), image_fit=fit)
    kind = source_kind(options)
    source, fit = fit_images(kind.load(options), images)
    return replace(_inspection(path, building, kind, source), image_fit=fit)


def _inspection(
    path: Path, building: Building, kind: SourceKind, source: FloatSource
) -> Inspection:
    if kind.model_kind is ModelKind.FLOAT_ONNX:
        return inspect_onnx(path)
    if kind.model_kind is ModelKind.CHECKPOINT:
        return inspect_checkpoint(
            path,
            ema=building.ema,
            unsafe_pickle=building.unsafe_pickle,
            key_prefix=building.key_prefix,
            arch=building.arch,
        )
    weights = source.exported.graph.initializer if source.exported else ()
    parameters = sum(prod(tensor.dims) for tensor in weights)
    return Inspection(
        file=str(path),
        kind=kind.title,
        bytes=path.stat().st_size if path.is_file() else 4 * parameters,
        sha256=source.file.sha256,
        parameters=parameters,
        macs=None,
        facts={fact.name: f"{fact.value} ({fact.origin})" for fact in source.inferred},
    )


def _options(path: Path, building: Building, preprocessing: Preprocessing | None) -> ConvertOptions:
    stated = {} if preprocessing is None else _stated(preprocessing)
    of_preprocessing = {field.name for field in fields(PreprocessingOptions)}
    building_options = {
        name: value
        for name, value in asdict(building).items()
        if value is not None or name not in of_preprocessing
    }
    return ConvertOptions.of(path, output=path, **(stated | building_options))


def _stated(preprocessing: Preprocessing) -> dict[str, Any]:
    """The keywords of `ghostedge.convert` that state this preprocessing."""
    return {
        field.name: getattr(preprocessing, field.name) for field in fields(PreprocessingOptions)
    }
