"""A Keras model as MODEL: ``.keras``, ``.h5`` or a SavedModel's folder.

Keras models take pixels in whatever range their own first layers expect. A rescaling at their start
becomes part of the preprocessing; where there is none, nothing in the file says, and the report
says that. A config.json beside the model goes before what is assumed, flags before both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ghostedge.conversion.network import Answers
from ghostedge.conversion.network_description import NetworkDescription, source_of
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.rescaling import takes_bytes, without_normalization
from ghostedge.conversion.source import FloatSource
from ghostedge_convert import CheckpointConfig, gives_probabilities
from ghostedge_convert.checkpoint.config import read_config
from ghostedge_convert.sources.keras.files import Kind, is_keras, kind_of, sha256_of
from ghostedge_convert.sources.keras.process import RemoteKeras
from ghostedge_convert.sources.rescaling import InputRescaling, without_rescaling
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import Preprocessing, Source

_FROM_MODEL = "from the model's input"
_FROM_CONFIG = "from config.json"
_KERAS_RESIZES = "Keras's own loaders resize bilinearly to the whole input size"
_ASSUMED = "pixels / 255, assumed: nothing in the model says which range it takes"


@dataclass(frozen=True)
class KerasNetwork:
    """A Keras model in a process of its own.

    Attributes:
        remote: The model.
        rescaling: What its graph does to the input first, and the graph without it.
        input_size: Height and width in pixels.
        batch: Of the graph.
    """

    remote: RemoteKeras
    rescaling: InputRescaling
    input_size: tuple[int, int]
    batch: int

    def to_onnx(self, *, batch: int) -> onnx.ModelProto:
        """The graph without the first rescaling; exported again for another batch."""
        if batch == self.batch:
            return self.rescaling.model
        return without_rescaling(self.remote.export(input_size=self.input_size, batch=batch)).model

    def answers(self, images: npt.NDArray[np.float32]) -> Answers:
        """Keras's outputs for the images before its own rescaling."""
        return self.remote.answers(self.rescaling.undone(images))


def is_keras_model(options: ConvertOptions) -> bool:
    """Whether MODEL is one."""
    return options.source.factory is None and is_keras(options.source.model)


def load_keras(options: ConvertOptions) -> FloatSource:
    """Load a Keras model in a process of its own.

    Raises:
        MissingDependencyError: Keras, or TensorFlow for a SavedModel, is not installed.
        CheckpointError: The file cannot be used.
        UnsupportedOpError: A TensorFlow op of a SavedModel has no ONNX form.
        InputError: A flag contradicts the model, or it takes no images.
        ImageError: ``--eval`` does not fit its classes.
    """
    if (
        options.source.custom_objects is not None
        and kind_of(options.source.model) is Kind.SAVED_MODEL
    ):
        raise InputError(
            "a SavedModel holds its classes' code as a graph, so this has no effect on it",
            where="--custom-objects",
            remedy="leave it out",
        )
    remote = RemoteKeras(options.source.model, custom_objects=options.source.custom_objects)
    size = _size(remote, options)
    rescaling = without_rescaling(remote.export(input_size=size, batch=options.source.batch))
    beside = read_config(options.source.model.parent / "config.json")
    written = _written(beside)
    normalization = _normalization(rescaling, written, options)
    config = CheckpointConfig(
        preprocessing=Preprocessing(
            input_size=size,
            interpolation=written.get("interpolation", "bilinear"),
            crop_pct=written.get("crop_pct", 1.0),
            mean=normalization.mean,
            std=normalization.std,
        ),
        labels=None if beside is None else beside.labels,
        origin="the Keras model",
        defaulted=("mean", "std") if normalization.origin == _ASSUMED else (),
    )
    description = NetworkDescription(
        network=KerasNetwork(remote, rescaling, size, options.source.batch),
        title=f"Keras model ({kind_of(options.source.model).value})",
        source=Source(options.source.model.name, sha256_of(options.source.model)),
        in_channels=remote.facts.in_channels,
        input_size=size,
        size_origin=_FROM_MODEL if remote.facts.input_size == size else None,
        config=config,
        notes=(*remote.facts.notes, *normalization.notes, *_softmax_note(rescaling.model)),
    )
    source = source_of(description, without_normalization(options))
    return _with_origins(source, normalization, written, options)


def _written(config: CheckpointConfig | None) -> dict[str, Any]:
    """The preprocessing's fields that the ``config.json`` beside the model gives itself."""
    if config is None or config.preprocessing is None:
        return {}
    fields = ("interpolation", "crop_pct", "mean", "std")
    stated = [name for name in fields if name not in config.defaulted]
    return {name: getattr(config.preprocessing, name) for name in stated}


def _size(remote: RemoteKeras, options: ConvertOptions) -> tuple[int, int]:
    own, stated = remote.facts.input_size, options.source.preprocessing.stated().get("input_size")
    if own is None and stated is None:
        raise InputError(
            "its image size is open, and TFLite's is not",
            where=options.source.model,
            remedy="say which with --input-size",
        )
    if own is not None and stated is not None and tuple(stated) != own:
        raise InputError(
            f"the model takes {own[0]}×{own[1]} images, not {stated[0]}×{stated[1]}",
            where="--input-size",
            remedy="leave it out",
        )
    height, width = own or stated or (0, 0)
    return height, width


@dataclass(frozen=True)
class _Normalization:
    mean: tuple[float, ...]
    std: tuple[float, ...]
    origin: str
    notes: tuple[str, ...] = ()


def _normalization(
    rescaling: InputRescaling, written: Mapping[str, Any], options: ConvertOptions
) -> _Normalization:
    """How pixels become the network's input, the model's own rescaling included.

    Args:
        rescaling: The graph and its rescaling.
        written: What a config.json says. It is not asked where the model rescales pixels itself,
            which it may be describing.
        options: With the flags.

    Raises:
        InputError: A flag has another number of channels.
    """
    channels = len(rescaling.factor)
    flagged = options.source.preprocessing.stated()
    stated = flagged if rescaling.present else {**written, **flagged}
    takes_pixels = rescaling.present and takes_bytes(rescaling)
    mean = tuple(stated.get("mean", (0.0,) * channels))
    std = tuple(stated.get("std", ((1 / 255) if takes_pixels else 1.0,) * channels))
    for field, values in (("mean", mean), ("std", std)):
        if len(values) != channels or min(std) <= 0:
            raise InputError(
                f"got {', '.join(f'{v:g}' for v in values)}; the network takes {channels} channels",
                where=f"--{field}" if field in flagged else f"{field} in config.json",
                remedy="pass a value for each, those of --std positive",
            )
    joined = rescaling.normalization(mean, std)
    flags = [f"--{name}" for name in ("mean", "std") if name in flagged]
    if not rescaling.present:
        if flags or {"mean", "std"} & written.keys():
            flags = flags or ["config.json"]
            return _Normalization(*joined, origin=f"from {' and '.join(flags)}")
        note = "if it was trained on other pixels than 0 to 1, say so with --mean and --std"
        return _Normalization(*joined, origin=_ASSUMED, notes=(f"{_ASSUMED}; {note}",))
    takes = "what --mean and --std make" if flags else f"0 to {255 if takes_pixels else 1}"
    origin = f"from the model's own first layers, which take {takes}"
    return _Normalization(
        *joined, origin, ("its rescaling of the input was moved into the preprocessing",)
    )


def _softmax_note(model: onnx.ModelProto) -> tuple[str, ...]:
    """Whether the model ends in probabilities."""
    if gives_probabilities(model):
        return ("it ends in a softmax or sigmoid, which stays: its output is probabilities",)
    return ()


def _with_origins(
    source: FloatSource,
    normalization: _Normalization,
    written: Mapping[str, Any],
    options: ConvertOptions,
) -> FloatSource:
    """Say where each part of the preprocessing is from."""
    stated = options.source.preprocessing.stated()
    origins = {"mean": normalization.origin, "std": normalization.origin}
    for name in ("interpolation", "crop_pct"):
        if name not in stated:
            origins[name] = _FROM_CONFIG if name in written else _KERAS_RESIZES
    facts = tuple(
        replace(fact, origin=origins.get(fact.name, fact.origin)) for fact in source.inferred
    )
    return replace(source, inferred=facts)
