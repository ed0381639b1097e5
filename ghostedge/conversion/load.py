"""Checkpoint file → network, with everything that was inferred on the way written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ghostedge.conversion.network import Network, TorchNetwork
from ghostedge.conversion.options import ConvertOptions
from ghostedge.manifest import Inferred
from ghostedge_convert import (
    Checkpoint,
    ResolvedPreprocessing,
    build,
    detect_architecture,
    load_checkpoint,
    resolve_preprocessing,
)
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.images import LabelledImages, list_labelled
from ghostedge_runtime.metadata import ArchitectureInfo, Preprocessing, Source

_FROM_SHAPES = "from the weights' shapes"
_FROM_CONFIG = "from config.json"
_FROM_DEFAULT = "the family's ImageNet default; no config.json says otherwise"
_FROM_FOLDERS = "from the evaluation set's folder names"


@dataclass(frozen=True)
class Loaded:
    """A network ready to be exported.

    Attributes:
        network: What is converted.
        origin: What to call it beside its files, e.g. ``checkpoint``.
        architecture: None where it is no member of the family.
        preprocessing: How images become its input.
        labels: In the order of the network's outputs, None where nobody named them.
        evaluation: The labelled images of ``--eval``.
        source: The file it came from.
        inferred: What was not stated, and where it is from.
        notes: What else was found on the way.
    """

    network: Network
    origin: str
    architecture: ArchitectureInfo | None
    preprocessing: Preprocessing
    labels: tuple[str, ...] | None
    evaluation: LabelledImages | None
    source: Source
    inferred: tuple[Inferred, ...]
    notes: tuple[str, ...]


def load(options: ConvertOptions) -> Loaded:
    """Read the checkpoint, find out what it is and build it.

    The evaluation folder is listed here too, so that one that does not fit the network is refused
    before minutes of work.

    Raises:
        CheckpointError: The file cannot be used.
        InputError: A flag contradicts it.
        ImageError: ``--eval`` does not fit its classes.
    """
    checkpoint = load_checkpoint(options.model, ema=options.ema)
    detection = detect_architecture(
        checkpoint, arch=options.arch, width=options.width, num_classes=options.num_classes
    )
    architecture = detection.architecture
    resolved = resolve_preprocessing(checkpoint)
    preprocessing = overridden(resolved.preprocessing, options)
    labels, label_origin = _labels(checkpoint, options, architecture.num_classes)
    evaluation = None
    if options.eval is not None:
        evaluation = list_labelled(options.eval, labels, architecture.num_classes)
        if labels is None and len(evaluation.class_names) == architecture.num_classes:
            labels, label_origin = tuple(evaluation.class_names), _FROM_FOLDERS
    inferred = (
        *_architecture_facts(architecture, options),
        *_preprocessing_facts(preprocessing, resolved, options),
        Inferred("labels", label_words(labels), label_origin),
    )
    return Loaded(
        network=TorchNetwork(build(checkpoint, architecture), preprocessing.input_size),
        origin="checkpoint",
        architecture=architecture,
        preprocessing=preprocessing,
        labels=labels,
        evaluation=evaluation,
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
        return replace(preprocessing, **options.preprocessing.stated())
    except ValueError as error:
        raise InputError(str(error), where="preprocessing flags") from error


def _labels(
    checkpoint: Checkpoint, options: ConvertOptions, num_classes: int
) -> tuple[tuple[str, ...] | None, str]:
    """The labels and where they are from, or None and why."""
    if options.labels is not None:
        return read_labels(options.labels, num_classes), "from --labels"
    config = checkpoint.config
    if config is None or config.labels is None:
        return None, "neither --labels nor config.json names them; classes go by number"
    if len(config.labels) != num_classes:
        return None, "config.json's are of other weights; classes go by number"
    return config.labels, _FROM_CONFIG


def read_labels(path: Path, num_classes: int) -> tuple[str, ...]:
    """The labels in a text file, one a line.

    Raises:
        InputError: It cannot be read, or holds another number of them.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the labels cannot be read ({error})",
            where=path,
            remedy="pass a UTF-8 text file with one label per line",
        ) from error
    labels = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(labels) != num_classes:
        raise InputError(
            f"{len(labels)} labels for a network of {num_classes} classes",
            where=path,
            remedy="give one label per class, in the order the network was trained with",
        )
    return labels


def label_words(labels: Sequence[str] | None) -> str:
    """How many labels there are, and the first of them, for a report."""
    if labels is None:
        return "none"
    shown = ", ".join(labels[:3])
    return f"{len(labels)}: {shown}{', …' if len(labels) > 3 else ''}"


def _architecture_facts(
    architecture: ArchitectureInfo, options: ConvertOptions
) -> tuple[Inferred, ...]:
    facts = (
        ("architecture", architecture.name, options.arch, "--arch"),
        ("width", f"{architecture.width:g}", options.width, "--width"),
        ("classes", str(architecture.num_classes), options.num_classes, "--num-classes"),
    )
    return tuple(
        Inferred(name, value, _FROM_SHAPES if stated is None else f"from {flag}")
        for name, value, stated, flag in facts
    )


def _preprocessing_facts(
    preprocessing: Preprocessing, resolved: ResolvedPreprocessing, options: ConvertOptions
) -> tuple[Inferred, ...]:
    stated = options.preprocessing.stated()
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
        if resolved.origin == "family default" or field in resolved.defaulted:
            return _FROM_DEFAULT
        return _FROM_CONFIG

    return tuple(Inferred(name, value, origin(name)) for name, value in values.items())
