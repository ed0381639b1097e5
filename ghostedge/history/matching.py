"""Which case of A is which case of B.

A case is known by its model's file name, its backend, its threads and its precision mode. The name,
not the content: a regression check compares a file with its next version, and says where the bytes
differ. The folder counts only where one run has the same file name from two folders, the device
only where a side has runs of several.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ghostedge_runtime.record import BenchRun, Case, Mark, Result


@dataclass(frozen=True)
class CaseKey:
    """What two measurements of the same case have in common.

    Attributes:
        model: File name, or path where names are not enough.
        backend, threads, precision_mode: As in `record.Case`.
        device: None where each side has one device.
        nth: Counts the same case within one run, from 0.
    """

    model: str
    backend: str
    threads: int
    precision_mode: str
    device: str | None = None
    nth: int = 0

    def __str__(self) -> str:
        parts = [
            self.model,
            self.backend,
            f"{self.threads} thread{'' if self.threads == 1 else 's'}",
        ]
        if self.precision_mode != "default":
            parts.append(self.precision_mode)
        if self.device is not None:
            parts.append(self.device)
        return ", ".join(parts) + (f" (number {self.nth + 1})" if self.nth else "")


@dataclass(frozen=True)
class Measured:
    """One case in one run."""

    run: BenchRun
    number: int

    @property
    def result(self) -> Result:
        """What it gave."""
        return self.run.results[self.number]

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Its marks and the whole run's."""
        return self.run.marks_of(self.number)

    @property
    def fault(self) -> str | None:
        """Why it cannot be compared, or None."""
        if self.result.error is not None:
            return f"could not run: {self.result.error}"
        samples = [each.samples_ns for each in self.result.rounds]
        if not samples:
            return "has no raw samples"
        if not all(samples) or min(map(min, samples)) <= 0:
            return "has a round without samples, or a time that is not above zero"
        return None


Cases = dict[CaseKey, list[Measured]]


def cases_of(a: Sequence[BenchRun], b: Sequence[BenchRun]) -> tuple[Cases, Cases]:
    """The cases of both sides under the keys that suit both."""
    runs = (*a, *b)
    by_path = any(_has_namesakes(run) for run in runs)
    by_device = any(len({run.device for run in side}) > 1 for side in (a, b))
    found_a, found_b = (_grouped(side, by_path=by_path, by_device=by_device) for side in (a, b))
    return found_a, found_b


def _has_namesakes(run: BenchRun) -> bool:
    paths = {result.case.model for result in run.results}
    return len({Path(path).name for path in paths}) < len(paths)


def _grouped(runs: Iterable[BenchRun], *, by_path: bool, by_device: bool) -> Cases:
    found: Cases = {}
    for run in runs:
        seen: Counter[CaseKey] = Counter()
        device = run.device if by_device else None
        for number, result in enumerate(run.results):
            first = _key(result.case, device, by_path=by_path)
            key = _key(result.case, device, by_path=by_path, nth=seen[first])
            seen[first] += 1
            found.setdefault(key, []).append(Measured(run, number))
    return found


def _key(case: Case, device: str | None, *, by_path: bool, nth: int = 0) -> CaseKey:
    model = case.model if by_path else Path(case.model).name
    return CaseKey(model, case.backend, case.threads, case.precision_mode, device, nth)
