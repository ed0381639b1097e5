"""What is shown: every result of every run, numbered, named and given its machine.

A run is what `ghostedge bench` measured, or what a conversion measured of the files that it wrote.

A case's name is the shortest that tells it from the others: the file's, with as much of its
folders, backend and threads as it takes. Runs of one machine are one **series**, so that a front is
made of what one machine can do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from ghostedge.records.image_fit import ImageFit
from ghostedge.records.manifest import Artefact, Manifest
from ghostedge.records.quantization import QuantizationFindings
from ghostedge.records.tuning import TuningReport
from ghostedge.show.words import machine_name, threads_words
from ghostedge.terminal import printable
from ghostedge_runtime.formats.table import ENGINES
from ghostedge_runtime.record import BenchRun, Case, Mark, Result


@dataclass(frozen=True)
class Entry:
    """One result in the report.

    Attributes:
        number: From 1, over all runs; the charts carry it.
        name: Tells it from every other case of its run.
        run: Index of its run.
        series: Index of its machine in `Contents.series`.
        result: What was measured.
        marks: What makes it doubtful, the whole run's marks included.
        artefact: Of a file that a conversion wrote, how it was checked.
    """

    number: int
    name: str
    run: int
    series: int
    result: Result
    marks: tuple[Mark, ...]
    artefact: Artefact | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The marks' kinds, each once."""
        return tuple(dict.fromkeys(mark.kind for mark in self.marks))

    @property
    def place(self) -> tuple[float, float]:
        """Of an entry that was timed and scored: p50 in milliseconds, top-1 in percent."""
        result = self.result
        if result.p50_ms is None or result.score is None:
            raise ValueError(f"case {self.number} was not timed and scored")
        return result.p50_ms.value, result.score.top1_pct


@dataclass(frozen=True)
class NamedFit:
    """What a conversion's images showed, and the conversion's name."""

    name: str
    fit: ImageFit


@dataclass(frozen=True)
class Contents:
    """All that a report shows.

    Attributes:
        runs: In the order given.
        machines: The name of each run's machine.
        series: These names, each once, in the order they first occur.
        entries: Every result, in the order of the runs.
        quantization: What ``ghostedge inspect --quantization --json`` found.
        producer: Who made the report, with version.
        missed: Budgets that a conversion did not keep, and what it could not find out, a sentence
            each.
        image_fits: Of each conversion whose images were held against its batch norms.
        tunings: Of each conversion that was tuned.
    """

    runs: tuple[BenchRun, ...]
    machines: tuple[str, ...]
    series: tuple[str, ...]
    entries: tuple[Entry, ...]
    quantization: tuple[QuantizationFindings, ...]
    producer: str
    missed: tuple[str, ...] = ()
    image_fits: tuple[NamedFit, ...] = ()
    tunings: tuple[TuningReport, ...] = ()

    @property
    def timed(self) -> tuple[Entry, ...]:
        """The entries that have a latency."""
        return tuple(entry for entry in self.entries if entry.result.p50_ms is not None)

    @property
    def scored(self) -> tuple[Entry, ...]:
        """Those of them that have an accuracy as well."""
        return tuple(entry for entry in self.timed if entry.result.score is not None)

    def entries_of(self, run: int) -> tuple[Entry, ...]:
        """The entries of one run."""
        return tuple(entry for entry in self.entries if entry.run == run)


def gather(
    measured: Iterable[BenchRun | Manifest],
    quantization: Iterable[QuantizationFindings] = (),
    producer: str = "",
) -> Contents:
    """Number and name the results; a run that is given twice counts once."""
    unique = {_run(source).id: source for source in measured}.values()
    runs = tuple(map(_run, unique))
    machines = _machine_names(runs)
    series = tuple(dict.fromkeys(machines))
    entries: list[Entry] = []
    for index, source in enumerate(unique):
        run, artefacts = runs[index], source.artefacts if isinstance(source, Manifest) else ()
        names = case_names([result.case for result in run.results])
        for place, result in enumerate(run.results):
            entries.append(
                Entry(
                    number=len(entries) + 1,
                    name=names[place],
                    run=index,
                    series=series.index(machines[index]),
                    result=result,
                    marks=run.marks_of(place),
                    artefact=artefacts[place] if artefacts else None,
                )
            )
    manifests = [source for source in unique if isinstance(source, Manifest)]
    return Contents(
        runs=runs,
        machines=tuple(machines),
        series=series,
        entries=tuple(entries),
        quantization=tuple(quantization),
        producer=producer,
        missed=tuple(
            line for manifest in manifests for line in (*manifest.missed, *manifest.unscored)
        ),
        image_fits=tuple(
            NamedFit(printable(manifest.name), manifest.image_fit)
            for manifest in manifests
            if manifest.image_fit is not None and manifest.image_fit.images
        ),
        tunings=tuple(manifest.tuning for manifest in manifests if manifest.tuning is not None),
    )


def _run(measured: BenchRun | Manifest) -> BenchRun:
    return measured.measured() if isinstance(measured, Manifest) else measured


def _machine_names(runs: Sequence[BenchRun]) -> list[str]:
    """A name for each run's machine; equal boards that were called differently are different."""
    names = [machine_name(run.machine) for run in runs]
    called = {
        name: {r.device for r, n in zip(runs, names, strict=True) if n == name} for name in names
    }
    return [
        f"{name} ({printable(run.device)})"
        if len(called[name]) > 1 or run.device != "local"
        else name
        for run, name in zip(runs, names, strict=True)
    ]


def case_names(cases: Sequence[Case]) -> list[str]:
    """The shortest names that differ for all different cases of a run."""
    files = _file_names([case.model for case in cases])
    names = []
    for file, case in zip(files, cases, strict=True):
        alike = [other for other in cases if other.model == case.model]
        parts = [part for part in _PARTS if len({part(other) for other in alike}) > 1]
        names.append(", ".join([file, *filter(None, (part(case) for part in parts))]))
    return names


_PARTS: tuple[Callable[[Case], str], ...] = (
    lambda case: ENGINES[case.backend].title,
    lambda case: "" if case.precision_mode == "default" else case.precision_mode,
    lambda case: threads_words(case.threads),
)


def _file_names(paths: Sequence[str]) -> list[str]:
    """The files' names, with as many folders as make different files' names differ."""
    split = {path: PurePath(path).parts or (path,) for path in paths}
    depths = dict.fromkeys(split, 1)
    while True:
        names = {path: "/".join(parts[-depths[path] :]) for path, parts in split.items()}
        times = Counter(names.values())
        longer = [p for p, name in names.items() if times[name] > 1 and depths[p] < len(split[p])]
        if not longer:
            return [printable(names[path]) for path in paths]
        for path in longer:
            depths[path] += 1
