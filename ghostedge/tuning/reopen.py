"""A conversion taken up again from its output folder, so that its graph can be written otherwise.

Nothing is kept for it: the float graph is the folder's own ONNX file, and quantizing it again on
the images that the manifest names gives the same numbers. That they are the same is not taken on
trust: the int8 ONNX file written again has to have the digest that the manifest states.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from ghostedge.console import Reporter
from ghostedge.conversion.graphs import Graph, prepared_graph, quantized_graph
from ghostedge.conversion.images import Batches, ImageSet, usable_images
from ghostedge.conversion.option_groups import CheckOptions, Int8Options
from ghostedge.conversion.run import ONNX
from ghostedge.formats.table import TARGETS, resolve
from ghostedge.records.manifest import MANIFEST_NAME, Artefact, Manifest, is_manifest, manifest_of
from ghostedge_convert import with_joined_modules, with_split_modules
from ghostedge_quantize import Prepared
from ghostedge_runtime import host_facts
from ghostedge_runtime.decode import read_json
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.formats.loading import whole_digest
from ghostedge_runtime.metadata import ModelMetadata

FORMATS = ("tflite", "onnx")
"""The formats that are tuned: those whose int8 files compute on the scales of the QDQ graph."""
_CONVERT = "convert again with --int8 --calib FOLDER, and tune that"


@dataclass(frozen=True)
class Conversion:
    """A conversion that can be written with other layers left float.

    Attributes:
        manifest: What it left.
        original: The float graph.
        prepared: Everything measured that an int8 graph needs.
        calibration: The images of that.
    """

    manifest: Manifest
    original: Graph
    prepared: Prepared
    calibration: ImageSet

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that can be left float, in graph order."""
        return self.prepared.layers

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.manifest.folder

    @property
    def formats(self) -> tuple[str, ...]:
        """Those of `FORMATS` that it has in float32 and in int8."""
        return tuple(name for name in FORMATS if len(_pair(self.manifest, name)) == 2)

    def pair(self, format_: str) -> tuple[Artefact, Artefact]:
        """The float32 and the int8 file of a format, as the conversion wrote them."""
        pair = _pair(self.manifest, format_)
        return pair["float32"], pair["int8"]

    def graph(self, keep_float: tuple[str, ...]) -> Graph:
        """The int8 graph but for layers that stay float."""
        return quantized_graph(self.original, self.prepared, self.calibration, keep_float)

    def write(
        self, format_: str, keep_float: tuple[str, ...], path: Path, *, split: bool = True
    ) -> None:
        """Write a file whose layers ``keep_float`` are float and the others int8.

        Where all or none are, it is the conversion's own file of float32 or int8.

        Args:
            format_: Of the file.
            keep_float: Names of layers.
            path: Where to write.
            split: Compute ghost modules whose layers are float in halves, as the float file does.
        """
        own, quantized = self.pair(format_)
        if set(keep_float) == set(self.layers):
            path.write_bytes((self.folder / own.file).read_bytes())
        elif keep_float == self.default_float:
            path.write_bytes((self.folder / quantized.file).read_bytes())
        else:
            graph = self.graph(keep_float)
            model = with_split_modules(graph.model).model if split else graph.model
            resolve(TARGETS[format_].writes)(model, graph.metadata, path)

    @property
    def default_float(self) -> tuple[str, ...]:
        """The layers that ``--max-drop`` or ``--min-agreement`` left float in the int8 files."""
        guard = self.manifest.guard
        chosen = guard.float_layers if guard else ()
        return tuple(layer for layer in self.layers if layer in chosen)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a conversion's output folder.

    Raises:
        InputError: The folder has none, it holds no float32 and int8 ONNX file, or one of its
            files is gone or changed.
    """
    path = folder / MANIFEST_NAME
    document = read_json(path, "name the folder that `ghostedge convert … -o FOLDER` wrote")
    if not is_manifest(document):
        raise InputError("it is no manifest of a conversion", where=path, remedy=_CONVERT)
    manifest = manifest_of(document, path)
    pair = _pair(manifest, ONNX.format.name)
    if len(pair) < 2:
        missing = "int8" if "float32" in pair else "float32"
        raise InputError(
            f"the conversion has no {missing} ONNX file, so there is nothing to choose between",
            where=folder,
            remedy=_CONVERT,
        )
    for artefact in manifest.artefacts:
        _check_file(folder / artefact.file, artefact)
    return manifest


def float_graph(manifest: Manifest) -> Graph:
    """The float graph of a conversion as it is quantized, from its ONNX file."""
    own = _pair(manifest, ONNX.format.name)["float32"]
    metadata = ModelMetadata.from_json(json.dumps(manifest.metadata), where=str(manifest.folder))
    return Graph(with_joined_modules(onnx.load(manifest.folder / own.file)), metadata, ())


def reopen(manifest: Manifest, calib: Path | None, reporter: Reporter) -> Conversion:
    """Quantize a conversion's float graph again, on the same images.

    Args:
        manifest: Of `read_manifest`.
        calib: Where the calibration images are now; None: where they were.
        reporter: Told of the progress.

    Raises:
        InputError: The images are not there, or quantizing again gives other numbers.
    """
    own = _pair(manifest, ONNX.format.name)["float32"]
    original = float_graph(manifest)
    images = _calibration(manifest, calib, reporter)
    batches = Batches(images, original.metadata.preprocessing, int(manifest.arguments["batch"]))
    reporter.note(f"quantize {own.file} again on {images.description}")
    options = _options(Int8Options, manifest.arguments)
    prepared = prepared_graph(original, batches, options, reporter)
    conversion = Conversion(manifest, original, prepared, images)
    _check_same(conversion)
    return conversion


def _calibration(manifest: Manifest, calib: Path | None, reporter: Reporter) -> ImageSet:
    folder = calib or Path(str(manifest.arguments["calib"]))
    if not folder.is_dir():
        raise InputError(
            "the images that int8 was calibrated on are not there",
            where=folder,
            remedy="say with --calib FOLDER where they are now",
        )
    options = replace(
        _options(CheckOptions, {"calib_images": manifest.arguments["calib_images"]}),
        calib=folder,
        skip_bad_images=bool(manifest.arguments["skip_bad_images"]),
    )
    images = usable_images(options, reporter, decode_all=False).calibration
    if images is None:
        raise ValueError("a folder of calibration images gave none")
    return images


def _options(kind: type[Any], arguments: Mapping[str, Any]) -> Any:
    """A group of options as the manifest's arguments have them; the others by default."""
    names = {field.name for field in fields(kind)} & arguments.keys()
    return kind(**{name: arguments[name] for name in names})


def _check_same(conversion: Conversion) -> None:
    """Hold the int8 file written again against the one in the folder.

    Raises:
        InputError: They differ; the message says what may be why.
    """
    graph, manifest = conversion.graph(conversion.default_float), conversion.manifest
    data = graph.model.SerializeToString(deterministic=True)
    stored = _pair(manifest, ONNX.format.name)["int8"]
    if hashlib.sha256(data).hexdigest() == stored.sha256:
        return
    packages = ("numpy", "onnx", "onnxruntime", "Pillow", "ghostedge")
    changes = [
        f"{name} was {then}, is {now}"
        for name in packages
        if (then := manifest.versions.get(name)) and then != (now := version(name))
    ]
    cpu, cpu_now = manifest.run.machine.cpu, host_facts().cpu
    if cpu != cpu_now:
        changes.append(f"it was converted on {cpu}, this is {cpu_now}")
    why = "; ".join(changes) or "made of other images, or by another build of GhostEdge"
    raise InputError(
        f"quantizing again gives another file than {stored.file} ({why})",
        where=manifest.folder,
        remedy="name the same images with --calib, or convert again here",
    )


def _pair(manifest: Manifest, format_: str) -> dict[str, Artefact]:
    """The float32 and int8 files of a format, by precision, where there are such."""
    return {
        artefact.precision: artefact
        for artefact in manifest.artefacts
        if artefact.format == format_ and artefact.precision in ("float32", "int8")
    }


def _check_file(path: Path, artefact: Artefact) -> None:
    try:
        digest, _ = whole_digest(path.read_bytes(), path)
    except OSError as error:
        raise InputError(
            f"the manifest names it, and it cannot be read ({error.strerror})",
            where=path,
            remedy=_CONVERT,
        ) from error
    if digest != artefact.sha256:
        raise InputError("it is not the file that the manifest names", where=path, remedy=_CONVERT)
