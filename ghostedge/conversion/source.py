"""What MODEL is, once it is read: its outputs, its images' way in, its classes' names.

Everything that is inferred on the way is written down with its origin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import onnx

from ghostedge.conversion.images import Batches, ImageSet
from ghostedge.conversion.labels import read_labels
from ghostedge.conversion.network import Answers, Network
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.task import Kind
from ghostedge.records.manifest import Inferred
from ghostedge.terminal import printable
from ghostedge_convert import CheckpointConfig, ResolvedPreprocessing
from ghostedge_convert.checkpoint.config import for_channels as averaged
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.images import MODES, LabelledImages, list_labelled
from ghostedge_runtime.metadata import ArchitectureInfo, Precision, Preprocessing
from ghostedge_runtime.metadata import Source as SourceFile

FROM_SHAPES = "from the weights' shapes"
"""The origin of what is inferred from a checkpoint's tensors."""
_FROM_DEFAULT = "the family's ImageNet default; no config.json says otherwise"
_FROM_FOLDERS = "from the evaluation set's folder names"
_OF_CHANNELS = ("mean", "std")
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


def assumed_fields(
    resolved: ResolvedPreprocessing, options: ConvertOptions, *, has_size: bool = False
) -> frozenset[str]:
    """Which of mean, std, colour order and input size nobody states.

    A configuration that states a mean or std states it of RGB: that is its convention.

    Args:
        resolved: What is known beside the options.
        options: What the user states.
        has_size: Whether the network itself has an input size.
    """
    stated = options.source.preprocessing.stated().keys()
    names = (*_OF_CHANNELS, "input_size")
    of_default = resolved.origin == "family default"
    assumed = {name for name in names if of_default or name in resolved.defaulted} - stated
    colors = {"color_order"} - stated if assumed.issuperset(_OF_CHANNELS) else set()
    return frozenset((assumed | colors) - ({"input_size"} if has_size else set()))


def check_channels(preprocessing: Preprocessing, channels: int) -> None:
    """Refuse a stated mean or colour order of another number of channels than the network takes.

    Raises:
        InputError: Says of how many.
    """
    if channels == 1 and preprocessing.color_order != "RGB":
        raise InputError(
            "the network takes grey images, which have no order of colours",
            where="--color-order",
            remedy="leave it out",
        )
    if len(preprocessing.mean) != channels:
        raise InputError(
            f"it has {len(preprocessing.mean)} channels, but the network takes {channels}",
            where="--mean",
            remedy=f"pass --mean and --std with {channels} values each",
        )


def is_for_colours(preprocessing: Preprocessing) -> bool:
    """Whether it has as many channels as ImageNet's statistics."""
    return len(preprocessing.mean) == len(Preprocessing().mean)


@dataclass(frozen=True)
class Source(ABC):
    """What is converted, ready for the stages that make files of it.

    Attributes:
        origin: What to call it beside its files, e.g. ``checkpoint``.
        file: The file it came from.
        kind: What its outputs are taken for.
        preprocessing: How images become its input.
        evaluation: The labelled images of ``--eval``.
        inferred: What was not stated, and where it is from.
        notes: What else there is to say of it.
        batch: The static batch of the files.
    """

    origin: str
    file: SourceFile
    kind: Kind
    preprocessing: Preprocessing
    evaluation: LabelledImages | None
    inferred: tuple[Inferred, ...]
    notes: tuple[str, ...]
    batch: int

    @property
    def classes(self) -> int | None:
        """How many classes it tells apart, None where its outputs are no class scores."""
        return self.kind.classes

    @property
    @abstractmethod
    def is_quantized(self) -> bool:
        """Whether it computes on integers already."""

    @abstractmethod
    def answers(self, images: ImageSet) -> Iterator[tuple[Any, Answers]]:
        """Its own outputs, which every comparison goes back to.

        Yields:
            Some of the images as the first file made of it takes them, and all outputs of these.
        """


@dataclass(frozen=True)
class FloatSource(Source):
    """A float network, ready to be exported.

    Attributes:
        network: What is converted.
        labels: In the order of the network's outputs, None where nobody named them.
        architecture: None where it is no member of the family.
        origin_precision: What the network itself computes in, which its files cannot be nearer to.
        exported: The network as ONNX, where finding out what it is took that.
        output_names: What its outputs are to be called; None: as the network calls them.
        assumed: Of mean, std, colour order and input size, those that nobody states.
    """

    network: Network
    labels: tuple[str, ...] | None
    architecture: ArchitectureInfo | None = None
    origin_precision: Precision = "float32"
    exported: onnx.ModelProto | None = field(default=None, repr=False)
    output_names: tuple[str, ...] | None = None
    assumed: frozenset[str] = frozenset()

    @property
    def is_quantized(self) -> bool:
        """It is not."""
        return False

    def answers(self, images: ImageSet) -> Iterator[tuple[Any, Answers]]:
        """The network's outputs, a batch of normalised images, float32 (N, C, H, W), at a time."""
        for batch in Batches(images, self.preprocessing, self.batch):
            yield batch, self.network.answers(batch)


def overridden(preprocessing: Preprocessing, options: ConvertOptions) -> Preprocessing:
    """The preprocessing with what the flags state.

    A mean and std that no flag states are those of red, green and blue: where ``--color-order BGR``
    is all that is stated, they are put in that order.

    Raises:
        InputError: The flags contradict each other.
    """
    stated = options.source.preprocessing.stated()
    if (preprocessing.color_order, stated.get("color_order")) == ("RGB", "BGR"):
        values = {name: getattr(preprocessing, name) for name in _OF_CHANNELS}
        stated = {name: (*v[2::-1], *v[3:]) for name, v in values.items()} | stated
    try:
        return replace(preprocessing, **stated)
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


def field_words(preprocessing: Preprocessing) -> dict[str, str]:
    """The fields of a preprocessing by name in words, for a report; RGB goes without saying."""
    height, width = preprocessing.input_size
    order = preprocessing.color_order
    return {
        "input_size": f"{height}×{width}",
        "interpolation": preprocessing.interpolation,
        "crop_pct": f"{preprocessing.crop_pct:g}",
        "mean": ", ".join(f"{m:g}" for m in preprocessing.mean),
        "std": ", ".join(f"{s:g}" for s in preprocessing.std),
        **({} if order == "RGB" else {"color_order": order}),
    }


def preprocessing_facts(
    preprocessing: Preprocessing,
    resolved: ResolvedPreprocessing,
    options: ConvertOptions,
    config: CheckpointConfig | None,
) -> tuple[Inferred, ...]:
    """Each field and where it is from."""
    stated = options.source.preprocessing.stated()

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

    words = field_words(preprocessing)
    return tuple(Inferred(name, value, origin(name)) for name, value in words.items())
