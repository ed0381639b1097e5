"""The table of targets: what GhostEdge does with each format besides running it.

A new target is a row in `TARGETS` and a module beside this one that writes, inspects and reads the
format; what runs its files stands in `ghostedge_runtime.formats.table`.

Functions are named by strings, ``module:function``, so that the table imports nothing heavy;
`resolve` imports one. Bounds on how far a file may be from what it was made from are stated here,
printed, and put in the manifest.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ghostedge_runtime.errors import MissingDependencyError
from ghostedge_runtime.formats.table import FORMATS, Format
from ghostedge_runtime.metadata import Precision

ROUNDINGS = 10
"""How many times as far as by rounding its input may float32 move a network: each layer rounds too.

Two runtimes on GhostNetV3 1.3x of random weights and logits up to 439 lie 3 times that apart."""
MOST_ROUNDING = 1e-2
"""Beyond that share of its largest number two float32 files are not shown to be the same."""


@dataclass(frozen=True)
class Budget:
    """A bound on the difference of two artefacts; each part that is stated has to hold.

    Attributes:
        max_difference: Of any number of an output, as a share of the largest magnitude among that
            output's numbers in the reference, over all images.
        min_sqnr_db: Signal-to-noise ratio of every output, of a classifier's scores.
        min_agreement_pct: Share of images with the same top-1, of a classifier.
        allows_rounding: Whether ``max_difference`` was widened by what float32 itself leaves open.
    """

    max_difference: float | None = None
    min_sqnr_db: float | None = None
    min_agreement_pct: float | None = None
    allows_rounding: bool = False

    def __str__(self) -> str:
        parts = (
            (self.max_difference, "differences within {:g} of the output's largest number"),
            (self.min_agreement_pct, "same top-1 on {:g} %"),
            (self.min_sqnr_db, "sqnr at least {:g} dB"),
        )
        bounds = ", ".join(words.format(bound) for bound, words in parts if bound is not None)
        if not self.allows_rounding:
            return bounds
        return f"{bounds}: {ROUNDINGS} times what it moves when its input is rounded"

    def allowing(self, rounding: float) -> Budget:
        """The budget for a network whose outputs float32 rounding moves by this share."""
        bound = min(ROUNDINGS * rounding, MOST_ROUNDING)
        if self.max_difference is None or bound <= self.max_difference:
            return self
        return replace(self, max_difference=float(f"{bound:.2g}"), allows_rounding=True)


@dataclass(frozen=True)
class Target:
    """A format that GhostEdge writes, inspects, and reads layers of.

    Attributes:
        format: Which.
        title: Its name in the titles of stages: ``TFLite``.
        writes: ``(model: onnx.ModelProto, metadata: ModelMetadata, path: Path) -> orders``, writes
            a graph to a file of this format. The metadata are the graph's own; ``orders`` says
            where an output's axes stand in another order than in the graph:
            ``file = onnx.transpose(orders[output])``.
        runs_graph: ``(model: onnx.ModelProto, at_once: int) -> Sequence[Runs]``, a graph opened
            ``at_once`` times by what runs this format, for the search of the guard.
        output_budgets: By precision, how far a file may be from the one it was made from, of a
            network that is no classifier.
        class_budgets: The same of a classifier.
        exact_precisions: Those in which a file computes what its reference does but for float
            rounding; of the others, what counts is the sense of the numbers.
        inspects: ``(path: Path) -> Inspection``.
        reads_layers: ``(path: Path, preprocessing: Preprocessing | None) -> LayerReader | None``;
            None for a file that a conversion would change before it ran.
        extra: The extra of ``ghostedge`` that inspecting needs; None where the base install does.
        versions: Distributions whose versions a manifest states.
    """

    format: Format
    title: str
    writes: str
    runs_graph: str
    output_budgets: Mapping[Precision, Budget]
    class_budgets: Mapping[Precision, Budget]
    exact_precisions: frozenset[Precision]
    inspects: str
    reads_layers: str
    extra: str | None
    versions: tuple[str, ...]

    @property
    def install_line(self) -> str:
        """What installs all that inspecting and writing the format needs."""
        return f"pip install 'ghostedge[{self.extra}]'" if self.extra else "pip install ghostedge"

    def class_budget(self, precision: Precision, *, assumed: bool) -> Budget:
        """What the file of a network that is taken for a classifier is held to.

        One that is only ``assumed`` to be a classifier, and may be anything, keeps the
        signal-to-noise ratio of other networks beside the top-1.
        """
        budget = self.class_budgets[precision]
        if not assumed:
            return budget
        return replace(budget, min_sqnr_db=self.output_budgets[precision].min_sqnr_db)


# 20 dB is an error with a tenth of the signal's root mean square: a cosine of 0.995 between an
# embedding and its float original. What lowering adds to int8 is rounding alone, so it has to be
# smaller than what int8 itself does.
#
# A classifier's agreement is bounded loosely: a conversion is often checked on a few dozen images,
# where one undecided one is percents. On thousands, `benchmarks/accuracy.py` shows what to expect.
TARGETS: Mapping[str, Target] = {
    target.format.name: target
    for target in (
        Target(
            format=FORMATS["onnx"],
            title="ONNX",
            writes="ghostedge.formats.onnx:write_onnx",
            runs_graph="ghostedge_quantize.guard.judge:open_in_onnxruntime",
            output_budgets={
                "float32": Budget(max_difference=1e-4),
                "float16": Budget(max_difference=1e-2),
                "dynamic": Budget(min_sqnr_db=20.0),
                "int8": Budget(min_sqnr_db=20.0),
            },
            class_budgets={
                "float32": Budget(max_difference=1e-4),
                "float16": Budget(max_difference=1e-2),
                "dynamic": Budget(min_sqnr_db=10.0, min_agreement_pct=90.0),
                "int8": Budget(min_sqnr_db=10.0, min_agreement_pct=90.0),
            },
            exact_precisions=frozenset({"float32", "float16"}),
            inspects="ghostedge.formats.onnx:inspect_onnx",
            reads_layers="ghostedge.formats.onnx:open_onnx",
            extra="convert",
            versions=("onnx", "onnxruntime"),
        ),
        Target(
            format=FORMATS["tflite"],
            title="TFLite",
            writes="ghostedge.formats.tflite:write_tflite",
            runs_graph="ghostedge.formats.tflite:open_in_tflite",
            output_budgets={
                "float32": Budget(max_difference=1e-3),
                "float16": Budget(max_difference=1e-3),
                "dynamic": Budget(max_difference=1e-3),
                "int8": Budget(min_sqnr_db=25.0),
            },
            class_budgets={
                "float32": Budget(max_difference=1e-3),
                "float16": Budget(max_difference=1e-3),
                "dynamic": Budget(max_difference=1e-3),
                "int8": Budget(min_sqnr_db=20.0, min_agreement_pct=97.0),
            },
            exact_precisions=frozenset({"float32", "float16", "dynamic"}),
            inspects="ghostedge.formats.tflite:inspect_tflite",
            reads_layers="ghostedge.formats.tflite:open_tflite",
            extra=None,
            versions=("ai-edge-litert",),
        ),
        # OpenVINO rounds int8 in its own places: docs/convert.md says how far that was from ONNX
        # Runtime. It stores float16 files' biases as float16 too.
        Target(
            format=FORMATS["openvino"],
            title="OpenVINO",
            writes="ghostedge.formats.openvino:write_openvino",
            runs_graph="ghostedge.formats.openvino:open_in_openvino",
            output_budgets={
                "float32": Budget(max_difference=1e-3),
                "float16": Budget(max_difference=1e-2),
                "dynamic": Budget(max_difference=1e-3),
                "int8": Budget(min_sqnr_db=20.0),
            },
            class_budgets={
                "float32": Budget(max_difference=1e-3),
                "float16": Budget(max_difference=1e-2),
                "dynamic": Budget(max_difference=1e-3),
                "int8": Budget(min_sqnr_db=20.0, min_agreement_pct=95.0),
            },
            exact_precisions=frozenset({"float32", "float16", "dynamic"}),
            inspects="ghostedge.formats.openvino:inspect_openvino",
            reads_layers="ghostedge.formats.openvino:open_openvino",
            extra="openvino",
            versions=("openvino",),
        ),
    )
}


def require_writers(formats: Iterable[str]) -> None:
    """Import what writes some formats, before any work.

    Raises:
        MissingDependencyError: A package is not installed that one of them needs.
    """
    for name in formats:
        target = TARGETS[name]
        try:
            resolve(target.writes)
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"writing {target.format.suffix} files needs {error.name}, which is not installed",
                where="--format",
                remedy=target.install_line,
            ) from error


def is_exact(format_: str, precision: Precision) -> bool:
    """Whether a file computes what its reference does but for float rounding."""
    target = TARGETS.get(format_)
    return target is not None and precision in target.exact_precisions


def resolve(place: str) -> Any:
    """The function that a row names; its module is imported."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
