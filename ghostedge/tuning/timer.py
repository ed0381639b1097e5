"""Times model files in turn, here or on a device over SSH, as ``ghostedge bench`` does."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ghostedge.console import Reporter, SilentReporter
from ghostedge.devices import LOCAL, run_on
from ghostedge_runtime.bench.job import Variants, make_job
from ghostedge_runtime.bench.run import ReportShare, run_bench
from ghostedge_runtime.record import BenchJob, BenchRun, MachineFacts, Settings

# Loads of a file differ more than the rounds of one: several short ones tell more than a long one.
SETTINGS = Settings(min_seconds=0.4, min_runs=30, max_warmup_seconds=1.0)


@dataclass(frozen=True)
class Timed:
    """A file to time, with so many threads."""

    path: Path
    sha256: str
    threads: int

    @property
    def key(self) -> str:
        """It in the journal."""
        return f"{self.sha256}@{self.threads}"


class Timer:
    """Times files, each in a process of its own.

    Args:
        device: ``local`` or as ``bench --device`` takes it.
        backend: The engine.
        reporter: Told what goes on.

    Attributes:
        device: As given.
        backend: As given.
        machine: What it ran on, known from the first measurement on.
        marks: How many measurements were marked for what, such as ``throttled``.
        count: How many there were.
    """

    def __init__(self, device: str, backend: str, reporter: Reporter) -> None:
        self.device, self.backend = device, backend
        self.machine: MachineFacts | None = None
        self.marks: Counter[str] = Counter()
        self.count = 0
        self._reporter = _Once(reporter)

    def __call__(self, files: Sequence[Timed]) -> list[float | None]:
        """Load each anew and run them in turn.

        Returns:
            Medians in milliseconds, None of a file that could not run.

        Raises:
            DevicesFailedError: The device cannot be reached or used, or went away.
            GhostEdgeError: None of the files runs.
        """
        run = self._run(self._job(files))
        self.machine = run.machine
        self.marks.update({mark.kind for mark in run.marks})
        self.count += 1
        return [result.p50_ms.value if result.p50_ms else None for result in run.results]

    def _job(self, files: Sequence[Timed]) -> BenchJob:
        jobs = [
            make_job([file.path], Variants((file.threads,), (self.backend,)), settings=SETTINGS)
            for file in files
        ]
        return replace(
            jobs[0],
            cases=tuple(case for job in jobs for case in job.cases),
            files={sha256: path for job in jobs for sha256, path in job.files.items()},
            command=("ghostedge", *sys.argv[1:]),
        )

    def _run(self, job: BenchJob) -> BenchRun:
        if self.device == LOCAL.name:
            with self._reporter.shares("measure") as progress:
                return run_bench(job, progress=progress)
        (run,) = run_on([self.device], job, self._reporter)
        return run


class _Once(SilentReporter):
    """Passes each note on once: every measurement connects anew and says the same."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter, self._said = reporter, set[str]()

    @contextmanager
    def shares(self, title: str) -> Iterator[ReportShare]:
        """The same bar."""
        with self._reporter.shares(title) as report:
            yield report

    def note(self, text: str) -> None:
        """Say the line unless it was said before."""
        if text not in self._said:
            self._said.add(text)
            self._reporter.note(text)
