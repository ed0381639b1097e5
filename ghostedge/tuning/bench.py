"""The search's questions answered with files: written when asked for, scored, timed in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ghostedge.tuning.journal import Journal
from ghostedge.tuning.reopen import Conversion
from ghostedge.tuning.search import DECIDING_LOADS, INT8, Choice, Purpose, Quality
from ghostedge.tuning.segments import Segment, layers_of
from ghostedge.tuning.timer import Timed
from ghostedge_runtime.bench.statistics import student
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.formats.loading import whole_digest
from ghostedge_runtime.record import Estimate


@dataclass(frozen=True)
class Candidate:
    """A choice written as a file.

    Attributes:
        path: Where.
        sha256: Of its bytes.
        quality: What it is worth beside its speed.
    """

    path: Path
    sha256: str
    quality: Quality


class Writer:
    """Writes choices of one format into a folder.

    Args:
        conversion: Whose graph it is.
        segments: What a choice's indices are of.
        format_: The files'.
        folder: Where they go.
    """

    def __init__(
        self, conversion: Conversion, segments: Sequence[Segment], format_: str, folder: Path
    ) -> None:
        self._conversion, self._segments = conversion, segments
        self._format, self._folder = format_, folder

    def keep_float(self, choice: Choice) -> tuple[str, ...]:
        """The layers that a choice leaves float: its own, and those that a budget already did."""
        chosen = {*layers_of(self._segments, choice), *self._conversion.default_float}
        return tuple(layer for layer in self._conversion.layers if layer in chosen)

    def __call__(self, choice: Choice) -> Path:
        """Write a choice; the same one gives the same bytes."""
        suffix = Path(self._conversion.pair(self._format)[0].file).suffix
        name = "-".join(map(str, sorted(choice))) or "int8"
        path = self._folder / f"{name}{suffix}"
        self._conversion.write(self._format, self.keep_float(choice), path)
        return path


class FileBench:
    """What the search asks of choices; a `search.Bench`.

    Args:
        write: Writes a choice as a file.
        judge: Says what files are worth beside their speed.
        time: Medians of files, run in turn.
        journal: What was measured before, and where more goes.
        threads: Of one inference while the search lasts.

    Attributes:
        candidates: Every choice asked about, in order.
    """

    def __init__(
        self,
        write: Callable[[Choice], Path],
        judge: Callable[[Sequence[Path]], Sequence[Quality]],
        time: Callable[[Sequence[Timed]], Sequence[float | None]],
        journal: Journal,
        threads: int = 1,
    ) -> None:
        self.candidates: dict[Choice, Candidate] = {}
        self._write, self._judge, self._time = write, judge, time
        self._journal, self._threads = journal, threads

    def qualities(self, choices: Sequence[Choice]) -> list[Quality]:
        """Write the choices that are new, and score them."""
        new = [choice for choice in dict.fromkeys(choices) if choice not in self.candidates]
        paths = [self._write(choice) for choice in new]
        for choice, path, quality in zip(new, paths, self._judge(paths), strict=True):
            sha256, _ = whole_digest(path.read_bytes(), path)
            self.candidates[choice] = Candidate(path, sha256, quality)
        return [self.candidates[choice].quality for choice in choices]

    def compare(
        self, base: Choice, others: Sequence[Choice], loads: int, purpose: Purpose = "search"
    ) -> None:
        """Time the others with the base and with all of int8, until there are enough loads.

        Raises:
            ModelFileError: The base does not run there.
        """
        self.qualities([INT8, base, *others])
        rest = [choice for choice in others if choice != base]
        while short := [c for c in rest if self._count(c, base, purpose) < loads]:
            self._measure(purpose, map(self._timed, dict.fromkeys([INT8, base, *short])))

    def ratio(self, choice: Choice, base: Choice, purpose: Purpose = "search") -> Estimate | None:
        """Time over time, load by load."""
        return self._ratio(self._timed(choice), self._timed(base), purpose)

    def p50_ms(self, choice: Choice) -> float | None:
        """Median over all loads, in milliseconds; None where it was not timed."""
        key = self._timed(choice).key
        times = [load.p50_ms.get(key) for load in self._journal.loads]
        known = [time for time in times if time is not None]
        return float(np.median(known)) if known else None

    def best_threads(self, choice: Choice, threads: Sequence[int]) -> int:
        """The number of threads that is surely faster than the first, else the first."""
        files = [self._timed(choice, count) for count in threads]
        loads = DECIDING_LOADS if len(files) > 1 else 0
        while len(self._journal.of("search", *(file.key for file in files))) < loads:
            self._measure("search", files)
        ratios = {file.threads: self._ratio(file, files[0], "search") for file in files[1:]}
        faster = {count: r.value for count, r in ratios.items() if r is not None and r.high < 1}
        return min(faster, key=faster.__getitem__, default=threads[0])

    def _ratio(self, file: Timed, base: Timed, purpose: Purpose) -> Estimate | None:
        loads = self._journal.of(purpose, file.key, base.key)
        pairs = [(load.p50_ms[file.key], load.p50_ms[base.key]) for load in loads]
        return over_loads([(a, b) for a, b in pairs if a is not None and b is not None])

    def _count(self, choice: Choice, base: Choice, purpose: Purpose) -> int:
        return len(self._journal.of(purpose, self._timed(choice).key, self._timed(base).key))

    def _measure(self, purpose: Purpose, files: Iterable[Timed]) -> None:
        timed = list(files)
        times = self._time(timed)
        self._journal.add(
            purpose, {file.key: time for file, time in zip(timed, times, strict=True)}
        )
        if times[0] is None:
            raise ModelFileError(
                "the conversion's own int8 file does not run there, so nothing can be held "
                "against it",
                where=timed[0].path,
                remedy="`ghostedge bench` with the same --device says why",
            )

    def _timed(self, choice: Choice, threads: int | None = None) -> Timed:
        candidate = self.candidates[choice]
        return Timed(candidate.path, candidate.sha256, threads or self._threads)


def over_loads(pairs: Sequence[tuple[float, float]]) -> Estimate | None:
    """The ratio of two files' times with its 95 % interval over loads: Student's t, on logarithms.

    A file that is opened anew may lie otherwise in memory, which moves its times more than their
    scatter within one load tells. One load alone says nothing of that: its interval is open.

    Args:
        pairs: Milliseconds of the file and of the base, load by load.
    """
    if not pairs:
        return None
    logs = np.log([mine / base for mine, base in pairs])
    value = float(np.exp(logs.mean()))
    if len(logs) == 1:
        return Estimate(value, 0.0, math.inf)
    half = student(len(logs) - 1) * float(logs.std(ddof=1)) / math.sqrt(len(logs))
    return Estimate(value, value * math.exp(-half), value * math.exp(half))
