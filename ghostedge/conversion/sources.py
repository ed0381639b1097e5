"""What MODEL may be, and what loads it.

The first row that fits is taken. Files go by their content where that tells; everything that no
other row takes is read as a checkpoint, whose loader names what it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ghostedge.conversion.checkpoint import load_family_checkpoint
from ghostedge.conversion.keras import is_keras_model, load_keras
from ghostedge.conversion.network import FloatOnnxNetwork, TorchNetwork
from ghostedge.conversion.network_description import (
    NetworkDescription,
    resolved,
    size_for,
    source_of,
)
from ghostedge.conversion.option_fields import ModelKind
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.rescaling import joint_normalization, with_origin, without_normalization
from ghostedge.conversion.source import FloatSource, check_channels, overridden
from ghostedge.conversion.source_options import HUB
from ghostedge_convert import CheckpointConfig, load_checkpoint, read_onnx_metadata
from ghostedge_convert.checkpoint.config import read_config
from ghostedge_convert.sources.factory import load_from_factory
from ghostedge_convert.sources.module import LoadedModule, find_channels, try_on
from ghostedge_convert.sources.onnx import load_float_onnx
from ghostedge_convert.sources.onnx_files import is_float, open_onnx
from ghostedge_convert.sources.pt2 import load_pt2_program
from ghostedge_convert.sources.torch_files import Archive, archive_kind, load_torchscript
from ghostedge_runtime.errors import InputError

_FROM_EXAMPLE = "from the example input"
_FROM_PROGRAM = "from the program"
_FROM_GRAPH = "from the graph's input"
_INSIDE = "the metadata inside the file"


@dataclass(frozen=True)
class SourceKind:
    """A kind of MODEL.

    Attributes:
        title: What the report calls it: ``load TITLE``.
        fits: Whether MODEL is one.
        reads: Loads one.
        model_kind: What the options call it; None where that is known once it is fetched.
    """

    title: str
    fits: Callable[[ConvertOptions], bool]
    reads: Callable[[ConvertOptions], FloatSource]
    model_kind: ModelKind | None

    def load(self, options: ConvertOptions) -> FloatSource:
        """Load MODEL.

        Raises:
            InputError: It cannot be used, or a flag has no effect on what it is.
        """
        if self.model_kind is not None:
            options.check_effect(self.model_kind)
        return self.reads(options)


def source_kind(options: ConvertOptions) -> SourceKind:
    """The kind of MODEL: the first row that fits."""
    return next(kind for kind in SOURCE_KINDS if kind.fits(options))


def is_quantized_onnx(options: ConvertOptions) -> bool:
    """Whether MODEL is an ``.onnx`` that somebody quantized, which is not converted but lowered.

    Raises:
        ModelFileError: It is no valid ONNX file.
    """
    return options.source.is_onnx and not is_float(open_onnx(options.source.model))


def load_module(module: LoadedModule, options: ConvertOptions) -> FloatSource:
    """Take a module in memory.

    Raises:
        InputError: A flag contradicts it, or has no effect on it.
    """
    options.check_effect(ModelKind.MODULE)
    stated = options.source.preprocessing.stated().get("input_size")
    if stated is not None and stated != module.input_size:
        raise InputError(
            f"the example is of another size than {stated[0]}×{stated[1]}",
            where="input_size",
            remedy="leave input_size out, or pass an example of that size",
        )
    return _of_module(module, options, None, _FROM_EXAMPLE)


def _of_factory(options: ConvertOptions) -> FloatSource:
    """The network that ``--factory`` makes, with MODEL's weights or its own."""
    checkpoint = None
    if options.source.has_file:
        checkpoint = load_checkpoint(
            options.source.model,
            ema=options.source.ema,
            unsafe_pickle=options.source.unsafe_pickle,
            integers=True,
            key_prefix=options.source.key_prefix,
        )
    module = load_from_factory(str(options.source.factory), options.source.factory_args, checkpoint)
    config = None if checkpoint is None else checkpoint.config
    size = size_for(options, config)
    channels = find_channels(module.module, (options.source.batch, *size), module.title)
    return _of_module(replace(module, in_channels=channels), options, config, None)


def _of_torchscript(options: ConvertOptions) -> FloatSource:
    config = _config_beside(options.source.model)
    size = size_for(options, config)
    module = load_torchscript(options.source.model, batch=options.source.batch, input_size=size)
    return _of_module(module, options, config, None)


def _of_pt2(options: ConvertOptions) -> FloatSource:
    stated = options.source.preprocessing.stated().get("input_size")
    module = load_pt2_program(options.source.model, batch=options.source.batch, input_size=stated)
    origin = None if module.input_size in (None, stated) else _FROM_PROGRAM
    return _of_module(module, options, _config_beside(options.source.model), origin)


def _of_module(
    module: LoadedModule,
    options: ConvertOptions,
    config: CheckpointConfig | None,
    size_origin: str | None,
) -> FloatSource:
    size = module.input_size or size_for(options, config)
    example = torch.zeros(options.source.batch, module.in_channels, *size)
    try_on(module.module, example, module.title)
    network = TorchNetwork(module.module, size, module.in_channels, module.title)
    description = NetworkDescription(
        network=network,
        title=module.title,
        source=module.source,
        in_channels=module.in_channels,
        input_size=size,
        size_origin=size_origin,
        config=config,
        notes=module.notes,
    )
    return source_of(description, options)


def _of_float_onnx(options: ConvertOptions) -> FloatSource:
    """A float ONNX model; one of our own says itself what it is."""
    options.check_float_model()
    stated = options.source.preprocessing.stated().get("input_size")
    config = _config_beside(options.source.model)
    model = load_float_onnx(options.source.model, batch=options.source.batch, input_size=stated)
    inside = read_onnx_metadata(model.original, where=str(options.source.model))
    if inside is not None:
        config = CheckpointConfig(
            preprocessing=inside.preprocessing,
            labels=inside.labels,
            origin=_INSIDE,
            labels_origin=_INSIDE,
        )
    preprocessing = overridden(resolved(config, model.in_channels).preprocessing, options)
    check_channels(preprocessing, model.in_channels)
    normalization = joint_normalization(
        model, preprocessing, options, says_itself=inside is not None
    )
    if normalization is not None:
        options = without_normalization(options)
        base = config or CheckpointConfig(defaulted=("interpolation", "crop_pct"))
        config = replace(
            base,
            preprocessing=normalization.preprocessing,
            defaulted=tuple(name for name in base.defaulted if name not in ("mean", "std")),
        )
    network = FloatOnnxNetwork(model)
    description = NetworkDescription(
        network=network,
        title=model.title,
        source=model.source,
        in_channels=model.in_channels,
        input_size=model.input_size,
        size_origin=None if model.input_size == stated else _FROM_GRAPH,
        config=config,
        inside=inside,
        notes=(*model.notes, *network.notes),
        precision="float16" if model.computed_in_half else "float32",
    )
    result = source_of(description, options)
    if normalization is not None:
        result = with_origin(result, normalization.origin)
    return result if inside is None else replace(result, architecture=inside.architecture)


def _of_hub(options: ConvertOptions) -> FloatSource:
    """Fetch the weights, then take them for what they are."""
    # The one optional package: whoever converts a file of their own does not need it.
    from ghostedge_convert.sources.hub import fetch  # noqa: PLC0415 - see above

    file = fetch(str(options.source.model))
    here = replace(options, source=replace(options.source, model=file.path))
    source = source_kind(here).load(here)
    named = replace(source.file, file=file.origin)
    return replace(source, file=named, notes=(*file.notes, *source.notes))


def _config_beside(model: Path) -> CheckpointConfig | None:
    return read_config(model.parent / "config.json")


def _is(kind: Archive) -> Callable[[ConvertOptions], bool]:
    return lambda options: archive_kind(options.source.model) == kind


SOURCE_KINDS: tuple[SourceKind, ...] = (
    SourceKind(
        "from the Hub", lambda options: str(options.source.model).startswith(HUB), _of_hub, None
    ),
    SourceKind(
        "factory's network",
        lambda options: options.source.factory is not None and options.source.has_file,
        _of_factory,
        ModelKind.FACTORY_WITH_WEIGHTS,
    ),
    SourceKind(
        "factory's network",
        lambda options: options.source.factory is not None,
        _of_factory,
        ModelKind.FACTORY,
    ),
    SourceKind("Keras model", is_keras_model, load_keras, ModelKind.KERAS),
    SourceKind(
        "float ONNX", lambda options: options.source.is_onnx, _of_float_onnx, ModelKind.FLOAT_ONNX
    ),
    SourceKind("TorchScript", _is("torchscript"), _of_torchscript, ModelKind.TORCHSCRIPT),
    SourceKind("exported program", _is("pt2"), _of_pt2, ModelKind.PROGRAM),
    SourceKind("checkpoint", lambda _: True, load_family_checkpoint, ModelKind.CHECKPOINT),
)
