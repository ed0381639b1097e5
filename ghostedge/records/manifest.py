"""What a conversion leaves beside its artefacts: ``manifest.json``.

The schema is described in ``docs/manifest.md``; a change that an old reader would misread raises
``MANIFEST_VERSION``. The command line's tables are drawn from these objects, never from anything
else, so what is printed is what is on disk. First how the guard's search went, then what is known
of each file, then the document and how it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ghostedge.records.image_fit import ImageFit
from ghostedge.records.manifest_v1 import upgraded
from ghostedge.records.tuning import TuningReport
from ghostedge_runtime.decode import decode
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.formats.backend import TensorInfo
from ghostedge_runtime.formats.table import FORMATS
from ghostedge_runtime.metadata import Precision
from ghostedge_runtime.record import BenchRun, Case, CorruptionScores, Result, Score

MANIFEST_NAME = "manifest.json"
MANIFEST_VERSION = 2


@dataclass(frozen=True)
class GuardedLayer:
    """What a layer does in int8, and what it costs to leave it float.

    Attributes:
        layer: Name of the node.
        noise_db: Power of the error of the logits with this layer alone in int8, relative to the
            logits', in dB; None where time ran out before it was measured.
        price_pct: Its share of the estimated cost of leaving every layer float.
        left_float: Whether it was.
    """

    layer: str
    noise_db: float | None
    price_pct: float
    left_float: bool


@dataclass(frozen=True)
class GuardCheck:
    """One choice of layers held against the budget.

    Attributes:
        step: The part of the search that asked: ``int8``, ``ranking``, ``bisection``, ``dropping``.
        layers_float: How many layers it leaves float.
        loss_points: What it loses; of accuracy or of agreement, as the budget.
        images: How many it was scored on; not all where the outcome was clear before.
        holds: Whether the budget does.
    """

    step: str
    layers_float: int
    loss_points: float
    images: int
    holds: bool


@dataclass(frozen=True)
class GuardReport:
    """The guard's search.

    Attributes:
        kind: ``max_drop`` (points of top-1 accuracy) or ``min_agreement`` (percent).
        limit: The budget.
        budget: It in words.
        image_source: The images it was checked on.
        float_top1_pct: Accuracy of the float network on them; None without labels.
        met: Whether the budget holds, in ONNX Runtime and in TFLite.
        stopped: Why the search ended: ``int8 holds``, ``search done``, ``time is up``,
            ``no choice holds``.
        loss_points: What the chosen layers lose, in the format that loses more.
        layers: Every layer that can be left float, most worth it first; empty where full int8
            holds.
        layer_count: How many there are.
        checks: Every choice that was looked at, in order.
        resumed: Measurements taken over from a run that was interrupted.
        seconds: What the search took.
    """

    kind: Literal["max_drop", "min_agreement"]
    limit: float
    budget: str
    image_source: str
    float_top1_pct: float | None
    met: bool
    stopped: str
    loss_points: float
    layers: tuple[GuardedLayer, ...]
    layer_count: int
    checks: tuple[GuardCheck, ...]
    resumed: int
    seconds: float

    @property
    def float_layers(self) -> tuple[str, ...]:
        """Names of the layers left float, most worth it first."""
        return tuple(layer.layer for layer in self.layers if layer.left_float)

    def missed(self) -> tuple[str, ...]:
        """What is to be said where the budget was missed: a sentence, or none."""
        if self.met:
            return ()
        why = {
            "time is up": "time ran out; the same command goes on from here, "
            "--guard-minutes gives it longer",
            "no choice holds": "no choice of layers holds it, short of all of them",
        }
        return (
            f"int8: {loss_words(self.kind, self.loss_points)} with {len(self.float_layers)} of "
            f"{self.layer_count} layers float, the best found; the budget is {self.budget} "
            f"({why[self.stopped]})",
        )


def loss_words(kind: str, loss: float) -> str:
    """Points lost in the words of the budget's kind."""
    return f"drop {loss:.2f} points" if kind == "max_drop" else f"agreement {100 - loss:.2f} %"


@dataclass(frozen=True)
class Inferred:
    """A fact nobody stated on the command line, and where it was taken from."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True)
class PartParity:
    """A part of an output: the one whose numbers are farthest from the reference's.

    Attributes:
        kind: ``part`` of those that a concat joined, or ``channel`` of an output that none did.
        name: Where it lies, and the tensor that was joined: ``channels 4 to 83: Sigmoid``.
        sqnr_db: As of `OutputParity`, of it alone.
    """

    kind: Literal["part", "channel"]
    name: str
    sqnr_db: float


@dataclass(frozen=True)
class OutputParity:
    """One output of a network that is no classifier, held against its reference.

    Attributes:
        name: The output's.
        max_abs_diff: Largest absolute difference of any number.
        sqnr_db: Power of the reference over that of the difference, in dB; None for no difference.
        worst_part: The part with the smallest ratio; None where none differs.
        between_images_db: Of a single number, the ratio about the mean over the images; None for
            other outputs, fewer than eight images, and no difference.
        within_budget: Whether the output and every part of it keep the budget.
    """

    name: str
    max_abs_diff: float
    sqnr_db: float | None
    worst_part: PartParity | None = None
    between_images_db: float | None = None
    within_budget: bool = True

    @property
    def counted_db(self) -> float | None:
        """The ratio that the budget is about: of the worst part where a concat joined several."""
        joined = self.worst_part is not None and self.worst_part.kind == "part"
        return self.worst_part.sqnr_db if self.worst_part and joined else self.sqnr_db

    def __str__(self) -> str:
        part, between = self.worst_part, self.between_images_db
        words = self.name
        if part is not None:
            words += f", {part.name}" + ("" if part.kind == "part" else f": {part.sqnr_db:.1f} dB")
        return words if between is None else f"{words}; between images {between:.1f} dB"


@dataclass(frozen=True)
class Parity:
    """One artefact held against the one before it, on the same images.

    Attributes:
        reference: What it was compared with, ``"checkpoint"`` or an artefact's file name.
        images: How many images, and in words which.
        max_abs_diff: Largest absolute difference of any number of any output.
        max_relative_diff: Largest difference as a share of the largest magnitude that its output
            has in the reference; None where that is zero.
        agreement_pct: Share of images with the same top-1, 0 to 100; None for a network that
            scores no classes.
        sqnr_db: Power of the reference over that of the difference, in dB: of a classifier's
            scores about each image's mean, of other networks' output with the smallest, and of its
            worst part where a concat joined several; None for no difference.
        budget: The bound that was asked for, in words.
        within_budget: Whether it was kept.
        outputs: Of a network that scores no classes, each output.
    """

    reference: str
    images: int
    image_source: str
    max_abs_diff: float
    max_relative_diff: float | None
    agreement_pct: float | None
    sqnr_db: float | None
    budget: str
    within_budget: bool
    outputs: tuple[OutputParity, ...] = ()

    @property
    def worst(self) -> OutputParity | None:
        """An output that misses the budget, else the smallest ratio; None where none differs."""
        noisy = [output for output in self.outputs if output.sqnr_db is not None]
        return min(noisy, key=lambda e: (e.within_budget, e.counted_db or 0.0), default=None)


@dataclass(frozen=True)
class SkippedImage:
    """An image that ``--skip-bad-images`` left out, and why it could not be used."""

    file: str
    reason: str


@dataclass(frozen=True)
class Artefact:
    """A model file we wrote.

    Attributes:
        file: Its name, relative to the manifest's folder.
        format: What it is.
        precision: Of its weights and numbers.
        bytes: Its size.
        sha256: Of its bytes, in hexadecimal.
        inputs, outputs: Its tensors, in the file's order.
        parity: None where the check itself failed, see ``Manifest.unscored``.
        float_agreement_pct: Of classifiers: as `Parity.agreement_pct`, against the float ONNX.
        float_sqnr_db: As `Parity.sqnr_db`, against the float ONNX.
        accuracy: On the evaluation set, where there is one.
        corrupted: On corrupted images of it, where ``--corruptions`` asked for them.
        latency: The bench record of the file without the raw samples, measured in a process of its
            own; None where nothing could be timed.
        speed_up: p50 of the float32 file of the same format over this file's; None of float32.
        zipped_bytes: Its size in a ZIP archive, as an app's users download it.
    """

    file: str
    format: str
    precision: Precision
    bytes: int
    sha256: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    parity: Parity | None
    float_agreement_pct: float | None = None
    float_sqnr_db: float | None = None
    accuracy: Score | None = None
    corrupted: CorruptionScores | None = None
    latency: Result | None = None
    speed_up: float | None = None
    zipped_bytes: int | None = None

    def untimed(self, threads: int) -> Result:
        """The result of a file that could not be timed."""
        backend = FORMATS[self.format].engines[0]
        return Result(Case(self.file, self.sha256, self.bytes, backend, threads))


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline and how long it took."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Manifest:
    """Everything a conversion did.

    Attributes:
        name: The artefacts' common name.
        metadata: The document that travels inside the float ONNX file (see ``ModelMetadata``).
        inferred: What was not stated, with its origin.
        notes: What the loader and the graph passes had to say.
        run: The run that timed the artefacts: its machine, bounds, looks at the machine and marks,
            whose cases are numbered as the artefacts. What was measured of each is at the artefact,
            so ``run.results`` is empty.
        missed: The budgets that were missed, in words, and with ``--strict`` the doubts of
            ``image_fit``; empty when all held.
        skipped_images: What ``--skip-bad-images`` left out.
        unscored: What went wrong while the finished files were checked, scored and timed; what
            could not be found out is None in the artefacts.
        guard: How int8 was held to ``--max-drop`` or ``--min-agreement``; None where neither was
            asked for.
        image_fit: The images held against what the network's batch norms remember; None in files
            from before the field.
        tuning: What ``ghostedge tune`` chose and tried, in its last run; None before the first.
        folder: Where the artefacts are; not written to the file, which may be moved.
    """

    name: str
    source_sha256: str
    metadata: Mapping[str, Any]
    inferred: tuple[Inferred, ...]
    notes: tuple[str, ...]
    artefacts: tuple[Artefact, ...]
    stages: tuple[Stage, ...]
    arguments: Mapping[str, Any]
    versions: Mapping[str, str]
    run: BenchRun
    missed: tuple[str, ...]
    skipped_images: tuple[SkippedImage, ...] = ()
    unscored: tuple[str, ...] = ()
    guard: GuardReport | None = None
    image_fit: ImageFit | None = None
    tuning: TuningReport | None = None
    folder: Path = Path()

    def artefact(self, file: str) -> Artefact:
        """The artefact of that file name; ``KeyError`` when there is none."""
        for artefact in self.artefacts:
            if artefact.file == file:
                return artefact
        raise KeyError(file)

    def measured(self) -> BenchRun:
        """The run with each file's result and score, as if `ghostedge bench` had kept it.

        A file that could not be timed has a result without times.
        """
        threads = self.arguments.get("threads", 1)
        results = (
            replace(
                artefact.latency or artefact.untimed(threads),
                score=artefact.accuracy,
                corrupted=artefact.corrupted,
            )
            for artefact in self.artefacts
        )
        return replace(self.run, results=tuple(results))

    def to_dict(self) -> dict[str, Any]:
        """The JSON document, as plain Python objects."""
        document = {"manifest_version": MANIFEST_VERSION, **asdict(self)}
        del document["folder"]
        return document

    def write(self, folder: Path) -> None:
        """Write ``manifest.json`` into ``folder``."""
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True)
        (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")


def is_manifest(parsed: Any) -> bool:
    """Whether a parsed document says that it is a manifest, of whatever version."""
    return isinstance(parsed, dict) and "manifest_version" in parsed


def manifest_of(parsed: Mapping[str, Any], where: Path) -> Manifest:
    """The manifest in a parsed document of version 1 or 2.

    Args:
        parsed: The document, of which `is_manifest` holds.
        where: The file it was read from, beside which the artefacts are.

    Raises:
        InputError: It is of a newer version, or a field is missing or of another type.
    """
    version = parsed["manifest_version"]
    if type(version) is not int or version < 1:
        raise InputError(
            f"manifest_version is {version!r}, not a number from 1 on",
            where=where,
            remedy="name a manifest.json as `ghostedge convert` wrote it",
        )
    if version > MANIFEST_VERSION:
        raise InputError(
            f"it is a manifest of version {version}, this GhostEdge reads up to {MANIFEST_VERSION}",
            where=where,
            remedy="pip install -U ghostedge",
        )
    document = upgraded(parsed, where) if version == 1 else parsed
    described = {name: value for name, value in document.items() if name != "folder"}
    manifest = decode(Manifest, described, where=where, place="the document")
    return replace(manifest, folder=where.parent)
