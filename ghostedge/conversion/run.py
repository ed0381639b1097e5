"""What the stages of a conversion work on, and how they run in a row.

A stage is a function ``(Run, Made) -> Made``. What it needs and what it gives is stated beside it,
and checked here, as is the one rule over all stages: the reference of every file stands among the
files made before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from ghostedge.console import Reporter, StageClock
from ghostedge.conversion.artefacts import Findings, ModelFile
from ghostedge.conversion.graphs import Graph
from ghostedge.conversion.images import ImageSet
from ghostedge.conversion.option_groups import GuardOptions, Int8Options
from ghostedge.conversion.source import Source
from ghostedge.formats.table import TARGETS, Target
from ghostedge.records.manifest import GuardReport
from ghostedge_convert import Normalized
from ghostedge_quantize import Prepared
from ghostedge_runtime.errors import GhostEdgeError
from ghostedge_runtime.metadata import Precision
from ghostedge_runtime.record import CORRUPTION_IMAGES, BenchRun, CorruptionScores

S = TypeVar("S", bound=Source)

ONNX = TARGETS["onnx"]
"""The format that every other is made from."""


@dataclass(frozen=True)
class Run:
    """What a conversion starts from; no stage changes it.

    Attributes:
        source: What is converted.
        calibration: The images of ``--calib``, None where there are none.
        images: What the files are compared on.
        folder: Where the files are written.
        name: The files' common name.
        precisions: Of the files, ``float32`` first; a quantized source has its own.
        targets: The formats that are made from the ONNX files.
        threads: Of one inference, when the files are timed.
        int8: How int8 is made.
        guard: The budget that int8 is held to.
        guard_file: What keeps the measurements of a search for it that was interrupted.
        reporter: Told of the progress.
        clock: Counts the stages' time.
        corruptions: Names of the corruptions that the files are scored on as well.
        corruption_images: At most so many images are corrupted.
    """

    source: Source
    calibration: ImageSet | None
    images: ImageSet
    folder: Path
    name: str
    precisions: tuple[Precision, ...]
    targets: tuple[Target, ...]
    threads: int
    int8: Int8Options
    guard: GuardOptions
    guard_file: Path
    reporter: Reporter
    clock: StageClock
    corruptions: tuple[str, ...] = ()
    corruption_images: int = CORRUPTION_IMAGES

    def source_of(self, kind: type[S]) -> S:
        """The source, for a stage of one kind of sources."""
        if not isinstance(self.source, kind):
            raise TypeError(
                f"the stage is one of {kind.__name__}, not {type(self.source).__name__}"
            )
        return self.source

    def note(self, notes: Sequence[str]) -> None:
        """Say notes, those of a stage below the line with its time."""
        for note in notes:
            self.clock.note(f"  {note}")


@dataclass(frozen=True)
class Made:
    """What the stages so far have made.

    Attributes:
        original: The float32 graph that all others are made from.
        graph: The graph that files are written of next.
        prepared: Everything measured that an int8 graph needs.
        normalized: A quantized source's graph, in the form that is lowered.
        files: In the order they were made.
        notes: For the manifest.
        guard: How the search for layers to leave float went.
        findings: What the comparison found of each file, by name.
        corrupted: The scores of each file on corrupted images, by name; empty where that failed.
        timing: How long each file takes, in the files' order; without results where that failed.
        failures: What went wrong while finished files were looked at; it costs no file.
    """

    original: Graph | None = None
    graph: Graph | None = None
    prepared: Prepared | None = None
    normalized: Normalized | None = None
    files: tuple[ModelFile, ...] = ()
    notes: tuple[str, ...] = ()
    guard: GuardReport | None = None
    findings: Mapping[str, Findings] | None = None
    corrupted: Mapping[str, CorruptionScores] | None = None
    timing: BenchRun | None = None
    failures: tuple[Exception, ...] = ()


_ANYTIME = frozenset({"notes", "failures"})
"""What any stage may add to."""


@dataclass(frozen=True)
class Stage:
    """A step of a conversion.

    Attributes:
        title: For the report and the manifest.
        work: What it does.
        needs: The fields of ``Made`` that have to be there before.
        gives: The fields that it sets or adds to, and no others but notes and failures.
    """

    title: str
    work: Callable[[Run, Made], Made]
    needs: frozenset[str]
    gives: frozenset[str]


class StageFailedError(GhostEdgeError):
    """A stage raised, or broke its contract: a fault of ours."""


def run_stages(stages: Sequence[Stage], run: Run) -> Made:
    """Run the stages in order.

    Raises:
        GhostEdgeError: What a stage raised because of the user's input, as it is.
        StageFailedError: A stage failed otherwise, or broke its contract; the message names it and
            those before it.
    """
    made = Made()
    for stage in stages:
        with run.clock.stage(stage.title), _named(stage, run.clock):
            made = _run_stage(stage, run, made)
    return made


@contextmanager
def _named(stage: Stage, clock: StageClock) -> Iterator[None]:
    """Name the stage in an error that is neither the user's nor the machine's."""
    try:
        yield
    except (GhostEdgeError, OSError):
        raise
    except Exception as error:  # whatever it was, the report must say in which stage
        before = ", ".join(title for title, _ in clock.stages) or "none"
        raise StageFailedError(
            f"the stage {stage.title!r} failed: {type(error).__name__}: {error} (stages before it: "
            f"{before})",
            remedy="a fault of GhostEdge, not of your input: run again with `ghostedge --debug …` "
            "and report what it prints",
        ) from error


def _run_stage(stage: Stage, run: Run, made: Made) -> Made:
    missing = sorted(name for name in stage.needs if not getattr(made, name))
    if missing:
        raise ValueError(f"it needs {', '.join(missing)}, which no stage before it gave")
    after = stage.work(run, made)
    changed = {
        entry.name
        for entry in fields(Made)
        if getattr(after, entry.name) is not getattr(made, entry.name)
    }
    if changed - _ANYTIME != stage.gives:
        raise ValueError(
            f"it gave {', '.join(sorted(changed)) or 'nothing'}, not {', '.join(stage.gives)}"
        )
    _check_references(after.files)
    return after


def _check_references(files: Sequence[ModelFile]) -> None:
    earlier: set[str] = set()
    for file in files:
        if file.reference is not None and file.reference not in earlier:
            raise ValueError(
                f"{file.path.name} is compared with {file.reference}, which was not made before it"
            )
        earlier.add(file.path.name)
