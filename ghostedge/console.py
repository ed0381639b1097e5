"""What a person sees while a command runs.

Progress, notes and warnings go to stderr, results to stdout, so that a pipe gets results alone.
Colour and bars appear on a terminal only; rich decides that.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, TypeVar

from rich import progress as rich_progress
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ghostedge.terminal import TextConsole, printable
from ghostedge_runtime.bench.run import ReportShare
from ghostedge_runtime.evaluation import Progress

T = TypeVar("T")


class Reporter(Protocol):
    """Who is told what a pipeline is doing."""

    def note(self, text: str) -> None:
        """Say one line."""

    def track(self, items: Iterable[T], title: str, total: int) -> Iterable[T]:
        """Pass ``items`` through, showing how far along they are."""

    def counted(self, title: str, total: int) -> AbstractContextManager[Progress]:
        """A bar for work that calls back with (done, total)."""

    def shares(self, title: str) -> AbstractContextManager[ReportShare]:
        """A bar for work that calls back with (what it does, share done from 0 to 1)."""

    def working(self, stage: str) -> AbstractContextManager[object]:
        """A stage runs; it may track items within."""

    def seconds(self, stage: str, seconds: float) -> None:
        """A stage is done."""


class SilentReporter:
    """Says nothing: the Python API's default."""

    def note(self, text: str) -> None:
        """Drop the line."""

    def track(self, items: Iterable[T], title: str, total: int) -> Iterable[T]:  # noqa: ARG002 - the protocol's
        """Pass the items through."""
        return items

    @contextmanager
    def counted(self, title: str, total: int) -> Iterator[Progress]:  # noqa: ARG002 - the protocol's
        """Take the calls and show nothing."""
        yield lambda _done, _total: None

    @contextmanager
    def shares(self, title: str) -> Iterator[ReportShare]:  # noqa: ARG002 - the protocol's
        """Take the calls and show nothing."""
        yield lambda _words, _share: None

    def working(self, stage: str) -> AbstractContextManager[object]:  # noqa: ARG002 - the protocol's
        """Show nothing."""
        return nullcontext()

    def seconds(self, stage: str, seconds: float) -> None:
        """Drop the time."""


class ConsoleReporter:
    """Writes to stderr."""

    def __init__(self, console: TextConsole) -> None:
        self._console = console

    def note(self, text: str) -> None:
        """Print one line."""
        self._console.say(text)

    def track(self, items: Iterable[T], title: str, total: int) -> Iterator[T]:
        """Draw a bar while the items pass."""
        with _bar(self._console) as bar:
            yield from bar.track(items, total=total, description=title)

    @contextmanager
    def counted(self, title: str, total: int) -> Iterator[Progress]:
        """Draw a bar that the calls move."""
        with _bar(self._console) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done, of: bar.update(task, completed=done, total=of)

    @contextmanager
    def shares(self, title: str) -> Iterator[ReportShare]:
        """Draw a bar in percent that the calls move and label."""
        with _bar(self._console, TaskProgressColumn()) as bar:
            task = bar.add_task(title, total=1.0)
            yield lambda words, share: bar.update(
                task, description=printable(f"{title}: {words}"), completed=share
            )

    def working(self, stage: str) -> AbstractContextManager[object]:
        """Turn a spinner, where there is a terminal to turn it on."""
        if not self._console.is_terminal:
            return nullcontext()
        spinner = "line" if self._console.options.ascii_only else "dots"
        return self._console.status(stage, spinner=spinner)

    def seconds(self, stage: str, seconds: float) -> None:
        """Print the stage and its time."""
        self._console.say(f"{stage:<34} {seconds:6.1f} s")


def _bar(console: TextConsole, done: ProgressColumn | None = None) -> rich_progress.Progress:
    return rich_progress.Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        done or MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class StageClock:
    """Collects how long each stage took and tells the reporter."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.stages: list[tuple[str, float]] = []
        self._notes: list[str] | None = None

    def note(self, text: str) -> None:
        """Say one line: of a running stage below the line with its time, else at once."""
        if self._notes is None:
            self.reporter.note(text)
        else:
            self._notes.append(text)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block; a block that raises is not recorded, nor are its notes said."""
        self._notes = []
        start = time.perf_counter()
        try:
            with self.reporter.working(name):
                yield
        finally:
            notes, self._notes = self._notes, None
        seconds = time.perf_counter() - start
        self.stages.append((name, seconds))
        self.reporter.seconds(name, seconds)
        for note in notes:
            self.reporter.note(note)
