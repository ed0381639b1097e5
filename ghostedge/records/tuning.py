"""What ``ghostedge tune`` leaves in the manifest: every choice it tried, and the files it chose.

``docs/tune.md`` describes the fields. What was measured, load by load, is in the file beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ghostedge.records.recipe import RECIPE_NAME
from ghostedge_runtime.formats.table import FORMATS
from ghostedge_runtime.record import Estimate, MachineFacts

MEASUREMENTS_NAME = "tuning.measurements.jsonl"


def tuned_name(name: str, format_: str) -> str:
    """The tuned file of a conversion of this name."""
    return f"{name}_tuned{FORMATS[format_].suffix}"


def tuned_names(name: str) -> set[str]:
    """All that ``tune`` may write into the folder of a conversion of this name."""
    return {tuned_name(name, format_) for format_ in FORMATS} | {MEASUREMENTS_NAME, RECIPE_NAME}


@dataclass(frozen=True)
class Trial:
    """One choice of float and int8 layers, as a file of one format.

    Attributes:
        choice: In words.
        float_layers: How many layers it leaves float.
        sha256: Of the file.
        bytes: Its size.
        agreement_pct: Share of the images with the float network's top-1; None where it puts no
            class first.
        top1_pct: Accuracy on labelled images; None without.
        holds: Whether it keeps the budget; one that does not is not timed.
        p50_ms: ``to_int8`` of the int8 file's median over all loads; None where it was not timed.
        to_int8: Its time over that of the conversion's int8 file, with the interval over loads.
        on_front: Whether no other choice is at least as good in latency, answers and size and
            better in one of them.
    """

    choice: str
    float_layers: int
    sha256: str
    bytes: int
    agreement_pct: float | None
    top1_pct: float | None
    holds: bool
    p50_ms: float | None = None
    to_int8: Estimate | None = None
    on_front: bool = False

    @property
    def answers_pct(self) -> float:
        """What the front compares: top-1 where there are labels, else agreement."""
        known = (value for value in (self.top1_pct, self.agreement_pct) if value is not None)
        return next(known, 0.0)


@dataclass(frozen=True)
class TunedFile:
    """The file of one format.

    Attributes:
        file: Its name, relative to the manifest's folder.
        format: What it is.
        backend: The engine that it was measured with.
        threads: The number to run it with.
        choice: In words.
        float_layers: Names of the layers that stay float.
        layer_count: How many could.
        sha256: Of the file.
        verdict: A sentence for people: how it stands to int8 and float32.
        stopped: Why the search ended; ``recipe`` where there was none.
        to_int8, to_float: Its time over that of the conversion's int8 and float32 file in the last
            measurements, which are of them alone; None where it is one of them, or not timed.
        trials: Everything tried, in order.
        split: Whether ghost modules whose layers are float are computed in halves.
    """

    file: str
    format: str
    backend: str
    threads: int
    choice: str
    float_layers: tuple[str, ...]
    layer_count: int
    sha256: str
    verdict: str
    stopped: str
    to_int8: Estimate | None = None
    to_float: Estimate | None = None
    trials: tuple[Trial, ...] = ()
    split: bool = True


@dataclass(frozen=True)
class TuningReport:
    """What one run of ``tune`` did.

    Attributes:
        device: ``local``, or the device as it was named.
        machine: What was measured on; None where nothing was.
        budget: In words; empty where none was asked for.
        image_source: What files were scored on; None where they were not.
        files: Those that were written, by format.
        missed: What kept no budget, a sentence each.
        loads: How many measurements the choice rests on, ``resumed`` of which were there before.
        marks: How many of this run's measurements were marked for what.
        seconds: What this run took.
    """

    device: str
    machine: MachineFacts | None
    budget: str
    image_source: str | None
    files: tuple[TunedFile, ...]
    missed: tuple[str, ...] = ()
    loads: int = 0
    resumed: int = 0
    marks: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
