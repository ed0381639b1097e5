"""Checkpoint file → network, with everything that was inferred on the way written down.

What every way in ends at: a float network, exported to ONNX and asked for its own answers.

A checkpoint's module, a module somebody built, an ONNX file, a Keras model: the main job needs no
more of any than the two methods of ``Network``.

How many channels a network's input has, and what that means for its images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch

from ghostedge.conversion.labels import read_labels
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.task import Evidence, Kind, kind_of
from ghostedge.records.manifest import Inferred
from ghostedge.terminal import printable
from ghostedge_convert import (
    CheckpointConfig,
    Detection,
    ResolvedPreprocessing,
    build,
    detect_architecture,
    export_onnx,
    load_checkpoint,
    resolve_preprocessing,
)
from ghostedge_convert.architectures.family import image_channels
from ghostedge_convert.checkpoint.config import for_channels as averaged
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.images import MODES, LabelledImages, list_labelled
from ghostedge_runtime.metadata import ArchitectureInfo, Precision, Preprocessing, Source

Answers = tuple[npt.NDArray[np.float32], ...]


class Network(Protocol):
    """A float network of one image input."""

    def to_onnx(self, *, batch: int) -> onnx.ModelProto:
        """The network as ONNX: input ``input``, float32 NCHW, every size static."""

    def answers(self, images: npt.NDArray[np.float32]) -> Answers:
        """The origin's own outputs, in order.

        Args:
            images: One normalised batch, float32 (N, C, H, W).
        """


@dataclass(frozen=True)
class TorchNetwork:
    """A torch module in eval mode.

    Attributes:
        module: Maps float32 (N, C, H, W) to a tensor.
        input_size: Height and width in pixels.
        in_channels: C.
    """

    module: torch.nn.Module
    input_size: tuple[int, int]
    in_channels: int = 3

    def to_onnx(self, *, batch: int) -> onnx.ModelProto:
        """See ``Network``.

        Raises:
            InputError: As ``export_onnx``.
        """
        return export_onnx(
            self.module, input_size=self.input_size, batch=batch, in_channels=self.in_channels
        )

    def answers(self, images: npt.NDArray[np.float32]) -> Answers:
        """See ``Network``."""
        with torch.inference_mode():
            found = self.module(torch.from_numpy(images))
        tensors = (found,) if isinstance(found, torch.Tensor) else tuple(found)
        return tuple(tensor.numpy() for tensor in tensors)


@dataclass(frozen=True)
class OnnxNetwork:
    """A float ONNX model, its sizes fixed, its input float32 NCHW."""

    model: onnx.ModelProto = field(repr=False)

    def to_onnx(self, *, batch: int) -> onnx.ModelProto:
        """See ``Network``; the batch is the model's own."""
        del batch
        return self.model

    def answers(self, images: npt.NDArray[np.float32]) -> Answers:
        """See ``Network``."""
        session = self._session
        return tuple(session.run(None, {session.get_inputs()[0].name: images}))

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return onnxruntime.InferenceSession(
            self.model.SerializeToString(), providers=["CPUExecutionProvider"]
        )


NOTHING_SAYS = "pixels / 255: nothing says otherwise"
"""Where the mean and std of a network are from that is not for colour images."""


def channel_fact(channels: int, origin: str) -> Inferred:
    """The number, and what images become for it, for a report."""
    words = f"{channels}: {MODES[channels]}" if channels in MODES else str(channels)
    return Inferred("input channels", words, origin)


def for_channels(resolved: ResolvedPreprocessing, channels: int) -> ResolvedPreprocessing:
    """A mean and std as a network of so many channels can use them.

    ImageNet's statistics are those of colours: for other channels the default is pixels / 255.
    What a configuration states for another number of channels is averaged, as timm does.
    """
    preprocessing = resolved.preprocessing
    if len(preprocessing.mean) == channels:
        return resolved
    if resolved.origin == "family default" or {"mean", "std"} <= set(resolved.defaulted):
        mean, std = (0.0,) * channels, (1.0,) * channels
    else:
        mean, std = (
            averaged(values, channels) for values in (preprocessing.mean, preprocessing.std)
        )
    return replace(resolved, preprocessing=replace(preprocessing, mean=mean, std=std))


def check_channels(preprocessing: Preprocessing, channels: int) -> None:
    """Refuse a stated mean of another number of channels than the network takes.

    Raises:
        InputError: Says of how many.
    """
    if len(preprocessing.mean) != channels:
        raise InputError(
            f"it has {len(preprocessing.mean)} channels, but the network takes {channels}",
            where="--mean",
            remedy=f"pass --mean and --std with {channels} values each",
        )


def is_for_colours(preprocessing: Preprocessing) -> bool:
    """Whether it has as many channels as ImageNet's statistics."""
    return len(preprocessing.mean) == len(Preprocessing().mean)


_FROM_SHAPES = "from the weights' shapes"
_FROM_DEFAULT = "the family's ImageNet default; no config.json says otherwise"
_FROM_FOLDERS = "from the evaluation set's folder names"
_OF_CHANNELS = ("mean", "std")


@dataclass(frozen=True)
class Loaded:
    """A network ready to be exported.

    Attributes:
        network: What is converted.
        origin: What to call it beside its files, e.g. ``checkpoint``.
        architecture: None where it is no member of the family.
        kind: What its outputs are taken for.
        preprocessing: How images become its input.
        labels: In the order of the network's outputs, None where nobody named them.
        evaluation: The labelled images of ``--eval``.
        source: The file it came from.
        inferred: What was not stated, and where it is from.
        notes: What else was found on the way.
        origin_precision: What the network itself computes in, which its files cannot be nearer to.
        exported: The network as ONNX, where finding out what it is took that.
    """

    network: Network
    origin: str
    architecture: ArchitectureInfo | None
    kind: Kind
    preprocessing: Preprocessing
    labels: tuple[str, ...] | None
    evaluation: LabelledImages | None
    source: Source
    inferred: tuple[Inferred, ...]
    notes: tuple[str, ...]
    origin_precision: Precision = "float32"
    exported: onnx.ModelProto | None = field(default=None, repr=False)

    @property
    def classes(self) -> int | None:
        """How many classes it tells apart, None where its outputs are no class scores."""
        return self.kind.classes


def load(options: ConvertOptions) -> Loaded:
    """Read the checkpoint, find out what it is and build it.

    The evaluation folder is listed here too, so that one that does not fit the network is refused
    before minutes of work.

    Raises:
        CheckpointError: The file cannot be used.
        InputError: A flag contradicts it.
        ImageError: ``--eval`` does not fit its classes.
    """
    checkpoint = load_checkpoint(
        options.source.model,
        ema=options.source.ema,
        unsafe_pickle=options.source.unsafe_pickle,
        key_prefix=options.source.key_prefix,
    )
    detection = detect_architecture(
        checkpoint,
        arch=options.source.arch,
        width=options.source.width,
        num_classes=options.source.num_classes,
    )
    architecture = detection.architecture
    network = build(checkpoint, architecture)
    channels = image_channels(network)
    resolved = for_channels(resolve_preprocessing(checkpoint, architecture), channels)
    preprocessing = overridden(resolved.preprocessing, options)
    check_channels(preprocessing, channels)
    kind = kind_of(
        Evidence(
            options,
            shapes=((options.source.batch, architecture.num_classes),),
            config=checkpoint.config,
            member=True,
        )
    )
    named = class_names(checkpoint.config, options, kind)
    inferred = (
        *_architecture_facts(detection, options),
        kind.fact,
        *(() if is_for_colours(preprocessing) else (channel_fact(channels, _FROM_SHAPES),)),
        *preprocessing_facts(preprocessing, resolved, options, checkpoint.config),
        named.fact,
    )
    return Loaded(
        network=TorchNetwork(network, preprocessing.input_size, channels),
        origin="checkpoint",
        architecture=architecture,
        kind=kind,
        preprocessing=preprocessing,
        labels=named.labels,
        evaluation=named.evaluation,
        source=checkpoint.source,
        inferred=inferred,
        notes=(*checkpoint.notes, *detection.evidence),
    )


def overridden(preprocessing: Preprocessing, options: ConvertOptions) -> Preprocessing:
    """The preprocessing with what the flags state.

    Raises:
        InputError: The flags contradict each other.
    """
    try:
        return replace(preprocessing, **options.source.preprocessing.stated())
    except ValueError as error:
        raise InputError(str(error), where="preprocessing flags") from error


@dataclass(frozen=True)
class ClassNames:
    """What the classes are called, where that is from, and the images that show them."""

    labels: tuple[str, ...] | None
    origin: str
    evaluation: LabelledImages | None

    @property
    def fact(self) -> Inferred:
        """For the report."""
        return Inferred("labels", label_words(self.labels), self.origin)


def class_names(config: CheckpointConfig | None, options: ConvertOptions, kind: Kind) -> ClassNames:
    """Name the classes of a network and list the evaluation images.

    Raises:
        InputError: The labels' file does not fit, or there are no classes to name or to score.
        ImageError: ``--eval`` does not fit the classes.
    """
    if kind.classes is None:
        _refuse_class_flags(options, kind)
        return ClassNames(None, "the network's output is no row of class scores", None)
    labels, origin = _labels(config, options, kind.classes)
    evaluation = None
    if options.checks.eval is not None:
        evaluation = list_labelled(options.checks.eval, labels, kind.classes)
        if labels is None and len(evaluation.class_names) == kind.classes:
            labels, origin = tuple(evaluation.class_names), _FROM_FOLDERS
    return ClassNames(labels, origin, evaluation)


def _refuse_class_flags(options: ConvertOptions, kind: Kind) -> None:
    for flag, stated in (("--labels", options.source.labels), ("--eval", options.checks.eval)):
        if stated is not None:
            raise InputError(
                "the network's output is not taken for class scores, so none can be named or "
                f"scored ({kind.reason})",
                where=flag,
                remedy="leave it out; --calib serves int8 and the comparison of the files",
            )


def _labels(
    config: CheckpointConfig | None, options: ConvertOptions, num_classes: int
) -> tuple[tuple[str, ...] | None, str]:
    """The labels and where they are from, or None and why."""
    if options.source.labels is not None:
        labels = read_labels(options.source.labels, num_classes)
        return labels.names, f"from --labels{labels.how}"
    if config is None or config.labels is None:
        return None, "neither --labels nor config.json names them; classes go by number"
    if len(config.labels) != num_classes:
        return None, f"those of {config.labels_origin} are of other weights; classes go by number"
    return config.labels, f"from {config.labels_origin}"


def label_words(labels: Sequence[str] | None) -> str:
    """How many labels there are, and the first of them, for a report."""
    if labels is None:
        return "none"
    shown = ", ".join(map(printable, labels[:3]))
    return f"{len(labels)}: {shown}{', …' if len(labels) > 3 else ''}"


def _architecture_facts(detection: Detection, options: ConvertOptions) -> tuple[Inferred, ...]:
    architecture, unsure = detection.architecture, ""
    if detection.twins:
        means = " and the means its batch norms kept" if detection.measured else ""
        unsure = (
            f"{means}; its keys are those of {', '.join(detection.twins)} too: --arch says which"
        )
    facts = (
        ("architecture", architecture.name, options.source.arch, "--arch", unsure),
        ("width", f"{architecture.width:g}", options.source.width, "--width", ""),
        ("classes", str(architecture.num_classes), options.source.num_classes, "--num-classes", ""),
    )
    return tuple(
        Inferred(name, value, f"{_FROM_SHAPES}{doubt}" if stated is None else f"from {flag}")
        for name, value, stated, flag, doubt in facts
    )


def preprocessing_facts(
    preprocessing: Preprocessing,
    resolved: ResolvedPreprocessing,
    options: ConvertOptions,
    config: CheckpointConfig | None,
) -> tuple[Inferred, ...]:
    """Each field and where it is from."""
    stated = options.source.preprocessing.stated()
    height, width = preprocessing.input_size
    values = {
        "input_size": f"{height}×{width}",
        "interpolation": preprocessing.interpolation,
        "crop_pct": f"{preprocessing.crop_pct:g}",
        "mean": ", ".join(f"{m:g}" for m in preprocessing.mean),
        "std": ", ".join(f"{s:g}" for s in preprocessing.std),
    }

    def origin(field: str) -> str:
        if field in stated:
            return f"from --{field.replace('_', '-')}"
        if config is None or resolved.origin == "family default" or field in resolved.defaulted:
            if field not in _OF_CHANNELS or is_for_colours(preprocessing):
                return _FROM_DEFAULT
            neither = resolved.origin == "family default" or {*_OF_CHANNELS} <= {
                *resolved.defaulted
            }
            return NOTHING_SAYS if neither else f"{_FROM_DEFAULT}; averaged for other channels"
        count = len(getattr(config.preprocessing, field)) if field in _OF_CHANNELS else 0
        if count in (0, len(preprocessing.mean)):
            return f"from {config.origin}"
        how = "its one value for each channel" if count == 1 else f"the average of its {count}"
        return f"from {config.origin}: {how}, as timm takes it"

    return tuple(Inferred(name, value, origin(name)) for name, value in values.items())
