"""``--max-drop`` and ``--min-agreement``: int8 held to a budget, with layers left float for it.

The search itself is ``ghostedge_quantize.guard.search``'s. Here are the images, the two
runtimes that must both hold the budget, the file that an interrupted search goes on from, and what
is said meanwhile.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ghostedge.console import Reporter
from ghostedge.conversion.images import ImageSet
from ghostedge.conversion.measure import scoring_set
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.source import Loaded
from ghostedge.conversion.task import Kind
from ghostedge.records.manifest import GuardCheck, GuardedLayer, GuardReport
from ghostedge_convert import lower_to_tflite
from ghostedge_quantize import Prepared
from ghostedge_quantize.guard.judge import (
    Judge,
    LayerNoise,
    Runs,
    answers,
    open_in_onnxruntime,
    outputs,
    prices,
)
from ghostedge_quantize.guard.score import Budget, Target
from ghostedge_quantize.guard.search import (
    Candidates,
    Check,
    Deadline,
    LayerCost,
    Outcome,
    State,
    guard,
    key_of,
)
from ghostedge_runtime import host_facts
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.formats.backend import Array, ModelIO
from ghostedge_runtime.formats.tflite.interpreter import TFLiteBackend, find_interpreter
from ghostedge_runtime.images import normalize, prepare
from ghostedge_runtime.metadata import Preprocessing
from ghostedge_runtime.model import two_classes

NOISE_IMAGES = 64
_KEPT_BYTES = 256_000_000
_NAMED = 3


@dataclass(frozen=True)
class Guarded:
    """The guard's outcome: the layers to leave float, and the report for the manifest."""

    keep_float: tuple[str, ...]
    report: GuardReport


def budget_of(options: ConvertOptions) -> Budget | None:
    """The budget that was asked for, if any."""
    if options.guard.max_drop is not None:
        return Budget("max_drop", options.guard.max_drop)
    if options.guard.min_agreement is not None:
        return Budget("min_agreement", options.guard.min_agreement)
    return None


def refuse_class_budgets(options: ConvertOptions) -> None:
    """Refuse a budget in top-1 for a network that puts no class first.

    Raises:
        InputError: ``--max-drop`` or ``--min-agreement`` is given.
    """
    for flag in options.guard.limits:
        raise InputError(
            "the network scores no classes, so its files have no top-1 to hold to a budget",
            where=flag,
            remedy="leave it out (each output's signal-to-noise ratio is held to a bound, "
            "shown in the table and in manifest.json), or say --task classify if it does",
        )


def state_file(output: Path) -> Path:
    """Where a search that did not end keeps its measurements: beside the output folder."""
    return output.with_name(f"{output.name}.guard.jsonl")


def settle(options: ConvertOptions, report: GuardReport | None) -> None:
    """Remove the measurements of a search that came to its end, once its outcome is on disk."""
    if report is not None and report.stopped != "time is up":
        state_file(options.files.output).unlink(missing_ok=True)


def hold_budget(
    *,
    budget: Budget,
    prepared: Prepared,
    float_model: onnx.ModelProto,
    loaded: Loaded,
    calibration: ImageSet,
    options: ConvertOptions,
    reporter: Reporter,
) -> Guarded:
    """Find the layers to leave float so that int8 keeps the budget.

    Args:
        budget: What may be lost against the float network.
        prepared: What is quantized.
        float_model: The deploy graph.
        loaded: With the evaluation images, where there are any.
        calibration: The images that layers are measured on, and the budget too without others.
        options: For the search's minutes and the place of its file.
        reporter: Told of every check.
    """
    start = time.monotonic()
    preprocessing, cores = loaded.preprocessing, host_facts().cores
    images = scoring_set(loaded, calibration)
    pixels = Pixels(images, preprocessing)
    sample = Pixels(calibration.head(NOISE_IMAGES), preprocessing)
    if loaded.kind.binary:  # an integer's threshold would depend on its scale
        prepared = _with_float_output(prepared)
    float_network = _scoring(open_in_onnxruntime(float_model, cores), loaded.kind)
    target = _target(budget, float_network, pixels, loaded)
    key = key_of(_dependencies(budget, prepared, float_model, images, calibration))
    outcome = guard(
        Candidates(
            layers=prepared.layers,
            noise=_layer_noise(prepared, float_network, sample, loaded.kind),
            price=prices(prepared.model),
            score=Judge(
                prepared,
                pixels,
                target,
                [
                    lambda model: _scoring(open_in_onnxruntime(model, cores), loaded.kind),
                    lambda model: _scoring(_open_in_tflite(model, cores), loaded.kind),
                ],
            ),
        ),
        deadline=Deadline(60 * options.guard.guard_minutes),
        state=_state(options, key, reporter),
        listener=_Told(reporter, budget, len(prepared.layers)),
    )
    report = _report(outcome, target, images, len(prepared.layers), time.monotonic() - start)
    reporter.note(f"  guard: {_closing(report)}")
    return Guarded(outcome.keep_float, report)


@dataclass(frozen=True)
class _BothClasses:
    """A backend of a binary classifier with a float output, which answers for both classes."""

    backend: Runs
    kind: Kind

    @property
    def io(self) -> ModelIO:
        return self.backend.io

    def run(self, batch: Array) -> list[Array]:
        (scores,) = self.backend.run(batch)
        return [two_classes(scores, probabilities=self.kind.probabilities)]


def _scoring(backends: Sequence[Runs], kind: Kind) -> Sequence[Runs]:
    """The backends, answering with a score for each class."""
    return [_BothClasses(each, kind) for each in backends] if kind.binary else backends


def _with_float_output(prepared: Prepared) -> Prepared:
    return replace(prepared, settings=replace(prepared.settings, output_type="float32"))


def _layer_noise(
    prepared: Prepared, float_network: Sequence[Runs], sample: Pixels, kind: Kind
) -> LayerNoise:
    """What measures the layers, on logits: an int8 output's own rounding would hide them."""
    found = outputs(float_network, sample.normalized, range(len(sample)))
    return LayerNoise(
        _with_float_output(prepared),
        sample,
        np.concatenate([rows for _, rows in found]).astype(np.float32),
        lambda model: _scoring(open_in_onnxruntime(model, len(float_network)), kind),
    )


def _state(options: ConvertOptions, key: str, reporter: Reporter) -> State:
    """The measurements of a run before this one, where they are of the same conversion."""
    path = state_file(options.files.output)
    state = State(path, key)
    if state.ignored:
        reporter.note(
            f"  guard: {state.ignored} lines of {path.name} are damaged or of another conversion, "
            "and are measured again"
        )
    return state


class Pixels:
    """Images prepared for an int8 graph, by index: uint8 (height, width, 3).

    The search goes over them many times, so as many as fit into 256 MB are kept.
    """

    def __init__(self, images: ImageSet, preprocessing: Preprocessing) -> None:
        self._images, self._preprocessing = images, preprocessing
        height, width = preprocessing.input_size
        self._room = _KEPT_BYTES // (3 * height * width)
        self._kept: dict[int, npt.NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self._images)

    def __call__(self, index: int) -> npt.NDArray[np.uint8]:
        """The image, ready for an int8 graph."""
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        made = prepare(self._images.sources[index], self._preprocessing)
        if len(self._kept) < self._room:
            self._kept[index] = made
        return made

    def normalized(self, index: int) -> npt.NDArray[np.float32]:
        """The same for a float graph: float32 (3, height, width)."""
        (image,) = normalize(self(index)[None], self._preprocessing).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(image)


def _target(
    budget: Budget, float_network: Sequence[Runs], pixels: Pixels, loaded: Loaded
) -> Target:
    found = answers(float_network, pixels.normalized, len(pixels))
    if loaded.evaluation is None or budget.kind == "min_agreement":
        return Target(budget, found)
    return Target(budget, found, np.asarray(loaded.evaluation.targets, np.int64))


def _open_in_tflite(model: onnx.ModelProto, at_once: int) -> Sequence[Runs]:
    data = lower_to_tflite(model).data
    return [TFLiteBackend(data, threads=1, where=Path("graph")) for _ in range(at_once)]


def _dependencies(
    budget: Budget,
    prepared: Prepared,
    float_model: onnx.ModelProto,
    images: ImageSet,
    calibration: ImageSet,
) -> Iterator[bytes]:
    """Everything that a measurement depends on; the full int8 graph stands for its settings."""
    yield str(budget).encode()
    yield prepared.qdq().SerializeToString(deterministic=True)
    yield float_model.SerializeToString(deterministic=True)
    for image in (*images.sources, *calibration.head(NOISE_IMAGES).sources):
        yield _identity(image)
    interpreter, interpreter_version, _ = find_interpreter()
    packages = ("ghostedge", "onnxruntime", "numpy", "Pillow")
    yield " ".join([interpreter, interpreter_version, *map(version, packages)]).encode()
    yield str(host_facts().cpu).encode()


def _identity(image: Any) -> bytes:
    """A file by name, size and time of change, as build tools do it; a picture by its pixels."""
    if not isinstance(image, Path):
        return bytes(image.tobytes())
    found = image.stat()
    return f"{image.parent.name}/{image.name} {found.st_size} {found.st_mtime_ns}".encode()


class _Told:
    """Passes the search's steps on to a reporter."""

    def __init__(self, reporter: Reporter, budget: Budget, layers: int) -> None:
        self._reporter, self._budget, self._layers = reporter, budget, layers

    def measuring(self, layers: Sequence[str]) -> Iterable[str]:
        self._reporter.note(f"  guard: measuring {len(layers)} layers, each alone in int8")
        return self._reporter.track(layers, "measure layers", total=len(layers))

    def ranked(self, costs: Sequence[LayerCost]) -> None:
        worst = [f"{c.layer} ({_decibel(c.noise)} dB)" for c in costs[:_NAMED] if c.noise]
        self._reporter.note(f"  guard: most worth leaving float: {', '.join(worst)}")

    def checked(self, check: Check) -> None:
        score = check.score
        self._reporter.note(
            f"  guard: {len(check.keep_float):>3} of {self._layers} layers float: "
            f"{self._budget.shown(score.loss)} on {score.images} images "
            f"{'✓' if score.holds else '✗'}"
        )


def _report(
    outcome: Outcome, target: Target, images: ImageSet, layers: int, seconds: float
) -> GuardReport:
    top1 = None if target.labels is None else float(np.mean(target.answers == target.labels))
    return GuardReport(
        kind=target.budget.kind,
        limit=target.budget.limit,
        budget=str(target.budget),
        image_source=images.description,
        float_top1_pct=None if top1 is None else 100 * top1,
        met=outcome.met,
        stopped=outcome.stopped,
        loss_points=outcome.score.loss,
        layers=tuple(
            GuardedLayer(
                layer=cost.layer,
                noise_db=_decibel(cost.noise),
                price_pct=round(100 * cost.price, 3),
                left_float=cost.layer in outcome.keep_float,
            )
            for cost in outcome.costs
        ),
        layer_count=layers,
        checks=tuple(
            GuardCheck(c.step, len(c.keep_float), c.score.loss, c.score.images, c.score.holds)
            for c in outcome.checks
        ),
        resumed=outcome.resumed,
        seconds=round(seconds, 3),
    )


def _decibel(noise: float | None) -> float | None:
    """A ratio of powers in dB, None where there is none or no noise at all."""
    return None if not noise else round(10 * math.log10(noise), 2)


def _closing(report: GuardReport) -> str:
    if report.stopped == "int8 holds":
        return f"full int8 holds {report.budget}; no layer stays float"
    held = "holds" if report.met else "misses"
    return (
        f"{len(report.float_layers)} of {report.layer_count} layers float {held} {report.budget} "
        f"({len(report.checks)} checks, {report.seconds:.0f} s, {report.stopped})"
    )
