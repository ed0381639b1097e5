"""The search of one format, from the conversion's files to the tuned one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import ghostedge
from ghostedge.console import Reporter
from ghostedge.devices import LOCAL
from ghostedge.formats.table import TARGETS
from ghostedge.records.tuning import MEASUREMENTS_NAME, TunedFile, tuned_name
from ghostedge.tuning.bench import FileBench, Writer
from ghostedge.tuning.journal import Journal
from ghostedge.tuning.options import TuneOptions
from ghostedge.tuning.reopen import Conversion
from ghostedge.tuning.report import Searched, tuned_file
from ghostedge.tuning.score import Scorer
from ghostedge.tuning.search import search
from ghostedge.tuning.segments import segments_of
from ghostedge.tuning.timer import SETTINGS, Timer
from ghostedge_quantize.guard.judge import prices
from ghostedge_quantize.guard.search import Deadline
from ghostedge_runtime import host_facts
from ghostedge_runtime.formats.table import FORMATS
from ghostedge_runtime.record import MachineFacts


@dataclass(frozen=True)
class Job:
    """What every search of one run starts from.

    Attributes:
        options: What is wanted.
        conversion: Whose files are tuned.
        scorer: Says what files are worth beside their speed.
        reporter: Told of the progress.
        folder: For the files of choices; it goes when the run ends.
    """

    options: TuneOptions
    conversion: Conversion
    scorer: Scorer
    reporter: Reporter
    folder: Path


@dataclass(frozen=True)
class FormatResult:
    """What a search gave.

    Attributes:
        file: The chosen file's record; it lies in the job's folder.
        machine: What it was measured on; None where everything was measured before.
        missed: What keeps no budget, a sentence each.
        loads: Measurements, ``resumed`` of which were there before.
        marks: How many of this run's were marked for what.
    """

    file: TunedFile
    machine: MachineFacts | None
    missed: tuple[str, ...]
    loads: int
    resumed: int
    marks: Mapping[str, int]


def search_format(job: Job, format_: str, deadline: Deadline) -> FormatResult:
    """Find the fastest file of a format and write it into the job's folder.

    Raises:
        DeviceError: The device cannot be reached or used, or went away.
        ModelFileError: The conversion's int8 file does not run there.
    """
    options, conversion = job.options, job.conversion
    model = conversion.prepared.model
    segments = segments_of(model, conversion.layers, prices(model))
    timer = Timer(options.device, FORMATS[format_].engines[0], job.reporter)
    journal = Journal(options.folder / MEASUREMENTS_NAME, _conditions(timer, format_))
    _note_start(job, format_, len(segments), journal)
    folder = job.folder / format_
    folder.mkdir()
    write = Writer(conversion, segments, format_, folder)
    bench = FileBench(write, job.scorer, timer, journal, options.threads[0])
    outcome = search(len(segments), bench, deadline)
    threads = bench.best_threads(outcome.choice, options.threads)
    searched = Searched(segments, bench, outcome, timer.backend, threads)
    name = tuned_name(conversion.manifest.name, format_)
    shutil.copyfile(bench.candidates[outcome.choice].path, job.folder / name)
    file = tuned_file(searched, name, format_, write)
    return FormatResult(
        file=file,
        machine=timer.machine,
        missed=(file.verdict,) if outcome.stopped == "nothing holds" else (),
        loads=len(journal.loads),
        resumed=journal.resumed,
        marks=timer.marks,
    )


def _note_start(job: Job, format_: str, parts: int, journal: Journal) -> None:
    job.reporter.note(
        f"tune {format_} on {job.options.device}: {len(job.conversion.layers)} layers in "
        f"{parts} parts, each float or int8"
    )
    if journal.resumed:
        job.reporter.note(f"  {journal.resumed} measurements of before are taken over")
    if journal.damaged:
        job.reporter.note(f"  {journal.damaged} damaged lines of {MEASUREMENTS_NAME} left out")


def _conditions(timer: Timer, format_: str) -> dict[str, object]:
    """What a measurement depends on beside the files; of a device, its name stands for it."""
    conditions: dict[str, object] = {
        "device": timer.device,
        "backend": timer.backend,
        "settings": asdict(SETTINGS),
        "ghostedge": ghostedge.__version__,
    }
    if timer.device == LOCAL.name:
        versions = {name: version(name) for name in TARGETS[format_].versions}
        conditions |= {"cpu": host_facts().cpu, "versions": versions}
    return conditions
