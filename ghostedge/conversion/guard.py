"""``--max-drop`` and ``--min-agreement``: int8 held to a budget, with layers left float for it.

The search itself is ``ghostedge_quantize.guard.search``'s. Here are the images, the runtimes that
must all hold the budget, the file that an interrupted search goes on from, and the report.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ghostedge.console import Reporter
from ghostedge.conversion.images import ImageSet
from ghostedge.conversion.option_groups import GuardOptions
from ghostedge.conversion.run import ONNX, Run
from ghostedge.conversion.task import Kind
from ghostedge.formats.table import resolve
from ghostedge.records.manifest import GuardCheck, GuardedLayer, GuardReport
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
from ghostedge_runtime.images import LabelledImages, normalize, prepare
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


def _budget_of(options: GuardOptions) -> Budget:
    """The budget that was asked for."""
    if options.max_drop is not None:
        return Budget("max_drop", options.max_drop)
    if options.min_agreement is not None:
        return Budget("min_agreement", options.min_agreement)
    raise ValueError("no budget was asked for")


def refuse_class_budgets(options: GuardOptions) -> None:
    """Refuse a budget in top-1 for a network that puts no class first.

    Raises:
        InputError: ``--max-drop`` or ``--min-agreement`` is given.
    """
    for flag in options.limits:
        raise InputError(
            "the network scores no classes, so its files have no top-1 to hold to a budget",
            where=flag,
            remedy="leave it out (each output's signal-to-noise ratio is held to a bound, "
            "shown in the table and in manifest.json), or say --task classify if it does",
        )


def state_file(output: Path) -> Path:
    """Where a search that did not end keeps its measurements: beside the output folder."""
    return output.with_name(f"{output.name}.guard.jsonl")


def settle(path: Path, report: GuardReport | None) -> None:
    """Remove the measurements of a search that came to its end, once its outcome is on disk."""
    if report is not None and report.stopped != "time is up":
        path.unlink(missing_ok=True)


def hold_budget(run: Run, prepared: Prepared, float_model: onnx.ModelProto) -> Guarded:
    """Find the layers to leave float so that int8 keeps the budget in every format.

    Args:
        run: With the budget, and the images that layers are measured on and the budget is held on.
        prepared: What is quantized.
        float_model: The deploy graph.
    """
    start = time.monotonic()
    kind, cores = run.source.kind, host_facts().cores
    budget, calibration = _budget_of(run.guard), run.calibration
    if calibration is None:
        raise ValueError("int8 is not calibrated without images")
    sample = Pixels(calibration.head(NOISE_IMAGES), run.source.preprocessing)
    pixels = Pixels(run.images, run.source.preprocessing)
    if kind.binary:  # an integer's threshold would depend on its scale
        prepared = _with_float_output(prepared)
    float_network = _scoring(open_in_onnxruntime(float_model, cores), kind)
    target = _target(budget, float_network, pixels, run.source.evaluation)
    key = key_of(_dependencies(run, prepared, float_model))
    outcome = guard(
        Candidates(
            layers=prepared.layers,
            noise=_layer_noise(prepared, float_network, sample, kind),
            price=prices(prepared.model),
            score=Judge(prepared, pixels, target, _openers(run, cores)),
        ),
        deadline=Deadline(60 * run.guard.guard_minutes),
        state=_state(run, key),
        listener=_ReportedSteps(run.reporter, budget, len(prepared.layers)),
    )
    report = _report(outcome, target, run.images, len(prepared.layers), time.monotonic() - start)
    run.reporter.note(f"  guard: {_closing(report)}")
    return Guarded(outcome.keep_float, report)


def _openers(run: Run, at_once: int) -> list[Callable[[onnx.ModelProto], Sequence[Runs]]]:
    """What runs a graph in each of the formats that are written."""
    kind = run.source.kind

    def opener(runs_graph: Callable[..., Sequence[Runs]]) -> Callable[..., Sequence[Runs]]:
        return lambda model: _scoring(runs_graph(model, at_once), kind)

    return [opener(resolve(target.runs_graph)) for target in (ONNX, *run.targets)]


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
    return [_BothClasses(backend, kind) for backend in backends] if kind.binary else backends


def _with_float_output(prepared: Prepared) -> Prepared:
    return replace(prepared, settings=replace(prepared.settings, output_type="float32"))


def _layer_noise(
    prepared: Prepared, float_network: Sequence[Runs], sample: Pixels, kind: Kind
) -> LayerNoise:
    """What measures the layers, on logits: an int8 output's own rounding would hide them."""
    logits = outputs(float_network, sample.normalized, range(len(sample)))
    return LayerNoise(
        _with_float_output(prepared),
        sample,
        np.concatenate([rows for _, rows in logits]).astype(np.float32),
        lambda model: _scoring(open_in_onnxruntime(model, len(float_network)), kind),
    )


def _state(run: Run, key: str) -> State:
    """The measurements of a run before this one, where they are of the same conversion."""
    state = State(run.guard_file, key)
    if state.ignored:
        run.reporter.note(
            f"  guard: {state.ignored} lines of {run.guard_file.name} are damaged or of another "
            "conversion, and are measured again"
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
        self._prepared: dict[int, npt.NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self._images)

    def __call__(self, index: int) -> npt.NDArray[np.uint8]:
        """The image, ready for an int8 graph."""
        if index in self._prepared:
            return self._prepared[index]
        image = prepare(self._images.sources[index], self._preprocessing)
        if len(self._prepared) < self._room:
            self._prepared[index] = image
        return image

    def normalized(self, index: int) -> npt.NDArray[np.float32]:
        """The same for a float graph: float32 (3, height, width)."""
        (image,) = normalize(self(index)[None], self._preprocessing).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(image)


def _target(
    budget: Budget,
    float_network: Sequence[Runs],
    pixels: Pixels,
    evaluation: LabelledImages | None,
) -> Target:
    classes = answers(float_network, pixels.normalized, len(pixels))
    if evaluation is None or budget.kind == "min_agreement":
        return Target(budget, classes)
    return Target(budget, classes, np.asarray(evaluation.targets, np.int64))


def _dependencies(run: Run, prepared: Prepared, float_model: onnx.ModelProto) -> Iterator[bytes]:
    """Everything that a measurement depends on; the full int8 graph stands for its settings."""
    yield str(_budget_of(run.guard)).encode()
    yield prepared.qdq().SerializeToString(deterministic=True)
    yield float_model.SerializeToString(deterministic=True)
    sample = () if run.calibration is None else run.calibration.head(NOISE_IMAGES).sources
    for image in (*run.images.sources, *sample):
        yield _identity(image)
    formats = (name for target in run.targets for name in (target.format.name, *target.versions))
    packages = ("ghostedge", "onnxruntime", "numpy", "Pillow")
    yield " ".join([*formats, *map(version, packages)]).encode()
    yield str(host_facts().cpu).encode()


def _identity(image: Any) -> bytes:
    """A file by name, size and time of change, as build tools do it; a picture by its pixels."""
    if not isinstance(image, Path):
        return bytes(image.tobytes())
    status = image.stat()
    return f"{image.parent.name}/{image.name} {status.st_size} {status.st_mtime_ns}".encode()


class _ReportedSteps:
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
