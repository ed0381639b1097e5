"""The order of a look inside: open, choose, run, compare, draw, and write the folder whole."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

import ghostedge
from ghostedge.console import Reporter
from ghostedge.features.choose import (
    check_same_network,
    choose_channels,
    choose_layers,
    counterparts,
)
from ghostedge.features.compare import Matched, compare
from ghostedge.features.draw import Drawing, draw_layer
from ghostedge.formats.format import NO_FLAGS, Building, Layer, LayerReader
from ghostedge.formats.reading import open_layer_reader
from ghostedge.records.features import (
    FEATURES_NAME,
    PAGE_NAME,
    FeaturesReport,
    FileFacts,
    ImageFacts,
    LayerFacts,
)
from ghostedge.records.output import check_target, staged_folder
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.images import list_images, prepare


@dataclass(frozen=True)
class FeatureOptions:
    """Arguments of ``ghostedge features``; see its ``--help`` for each."""

    model: Path
    images: tuple[Path, ...]
    output: Path
    layers: tuple[str, ...] = ()
    against: Path | None = None
    max_channels: int = 32
    building: Building = NO_FLAGS


@dataclass(frozen=True)
class _Job:
    """What every image goes through; ``pairs`` are the layers of ``other``, by MODEL's name."""

    model: LayerReader
    other: LayerReader | None
    chosen: Sequence[Layer]
    pairs: Mapping[str, Layer]
    rescaled: bool
    max_channels: int


def write_features(options: FeatureOptions, reporter: Reporter) -> FeaturesReport:
    """Draw the layers of a network, alone or beside those of its int8 form.

    Raises:
        InputError: The files, the images or the arguments cannot be used; nothing is written.
    """
    check_target(options.output, written_before)
    images = _image_files(options.images)
    job, notes = _open(options)
    with staged_folder(options.output, written_before) as folder:
        pictures, layers = [], []
        for number, image in enumerate(reporter.track(images, "look inside", len(images))):
            pictures.append(_write_image(image, job.model, folder, number))
            layers += _look(image, number, job, folder)
        report = FeaturesReport(
            producer=f"ghostedge {ghostedge.__version__}",
            model=_facts(job.model),
            against=None if job.other is None else _facts(job.other),
            rescaled=job.rescaled,
            images=tuple(pictures),
            layers=tuple(layers),
            unmatched=tuple(
                layer.name for layer in job.chosen if job.other and layer.name not in job.pairs
            ),
            notes=notes,
        )
        text = json.dumps(report.to_dict(), indent=2, sort_keys=True)
        (folder / FEATURES_NAME).write_text(text + "\n", encoding="utf-8")
        from ghostedge.features.page import page  # noqa: PLC0415  # Jinja2, which --help spares

        (folder / PAGE_NAME).write_text(page(report), encoding="utf-8")
    return report


def written_before(folder: Path) -> set[str]:
    """Names that an earlier run's ``features.json`` in ``folder`` vouches for."""
    try:
        document = json.loads((folder / FEATURES_NAME).read_text(encoding="utf-8"))
        return {str(name) for name in document["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _image_files(images: Sequence[Path]) -> list[Path]:
    """The images named, and those in the folders named."""
    return [
        file for image in images for file in (list_images(image) if image.is_dir() else [image])
    ]


def _open(options: FeatureOptions) -> tuple[_Job, tuple[str, ...]]:
    """The networks and the layers, with what had to be assumed."""
    other = None if options.against is None else open_layer_reader(options.against)
    stated = None if other is None or other.assumed else other.metadata.preprocessing
    model = open_layer_reader(options.model, options.building, preprocessing=stated)
    if other is not None and other.assumed and not model.assumed:
        other = open_layer_reader(other.path, preprocessing=model.metadata.preprocessing)
    try:
        chosen = choose_layers(model.layers, options.layers)
    except InputError as error:
        error.where = error.where or str(model.path)
        raise
    pairs: Mapping[str, Layer] = {}
    notes = model.assumed
    if other is not None:
        check_same_network(model.layers, other.layers, other.path)
        pairs = counterparts(chosen, model.layers, other.layers)
        notes = (*notes, *other.assumed, *_doubts(model, other))
    rescaled = other is not None and _may_be_rescaled(other)
    return _Job(model, other, chosen, pairs, rescaled, options.max_channels), notes


def _may_be_rescaled(other: LayerReader) -> bool:
    """Whether channels may have another scale: not in float, nor where the file denies it."""
    quantization = other.metadata.quantization
    return other.precision == "int8" and (quantization is None or quantization.equalized)


def _doubts(model: LayerReader, other: LayerReader) -> tuple[str, ...]:
    """Why a difference may not be int8's."""
    notes = []
    if model.metadata.preprocessing != other.metadata.preprocessing:
        notes.append(
            f"{model.path.name} and {other.path.name} prepare images differently, so they were "
            "not shown the same pixels"
        )
    here, there = model.metadata.source, other.metadata.source
    if here is not None and there is not None and here.sha256 != there.sha256:
        notes.append(
            f"{other.path.name} was made from other weights ({there.file}) than "
            f"{model.path.name} ({here.file})"
        )
    return tuple(notes)


def _facts(reader: LayerReader) -> FileFacts:
    return FileFacts(reader.path.name, reader.sha256, reader.format, reader.precision)


def _write_image(image: Path, model: LayerReader, folder: Path, number: int) -> ImageFacts:
    """The image as the network sees it."""
    pixels = prepare(image, replace(model.metadata.preprocessing, color_order="RGB"))
    pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    name = f"{number + 1:02d}-image.png"
    Image.fromarray(pixels).save(folder / name, format="PNG", optimize=True)
    return ImageFacts(image.name, hashlib.sha256(image.read_bytes()).hexdigest(), name)


def _look(image: Path, number: int, job: _Job, folder: Path) -> list[LayerFacts]:
    """Draw every chosen layer of one image."""
    maps = job.model.read(job.model.encode(image), job.chosen)
    others = {}
    if job.other is not None and job.pairs:
        read = job.other.read(job.other.encode(image), list(job.pairs.values()))
        others = dict(zip(job.pairs, read, strict=True))
    facts = []
    for place, (layer, layer_maps) in enumerate(zip(job.chosen, maps, strict=True)):
        matched: Matched | None = None
        if layer.name in others:
            matched = compare(layer_maps, others[layer.name], rescaled=job.rescaled)
        worst_first = None if matched is None else matched.worst_first
        channels, height, width = layer_maps.shape
        groups = choose_channels(layer, channels, job.max_channels, worst_first)
        drawing = Drawing(
            layer=layer,
            groups=groups,
            model=f"{job.model.path.name} ({job.model.precision})",
            against=f"{job.other.path.name} ({job.other.precision})" if job.other else "",
            rescaled=job.rescaled,
        )
        stem = f"{number + 1:02d}-{place + 1:03d}-{_file_words(layer.name)}"
        facts.append(
            LayerFacts(
                image=number,
                name=layer.name,
                shape=(channels, height, width),
                primary=layer.primary,
                drawn=tuple(channel for group in groups for channel in group),
                pictures=draw_layer(drawing, layer_maps, matched, folder, stem),
                difference=None if matched is None else matched.difference,
            )
        )
    return facts


def _file_words(name: str) -> str:
    """A layer's name as part of a file name that every system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:80]
