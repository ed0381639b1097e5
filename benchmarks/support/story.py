"""The machine's own story beside a benchmark's figures: what it is, how it fared, what to doubt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ghostedge_runtime.bench.statistics import Rounds, drift_estimate, ratio_estimate
from ghostedge_runtime.formats.loading import file_format
from ghostedge_runtime.machine.doubts import find_marks
from ghostedge_runtime.machine.facts import machine_facts
from ghostedge_runtime.machine.sensors import snapshot
from ghostedge_runtime.machine.words import describe
from ghostedge_runtime.record import Case, Estimate, Result, Settings, Snapshot


@dataclass(frozen=True)
class Timed:
    """A file that was timed on one thread, as ``ghostedge bench`` sees it.

    Attributes:
        name: In reports.
        file: The file.
        rounds_ms: Milliseconds of each inference, by round; all files have as many rounds.
    """

    name: str
    file: Path
    rounds_ms: Sequence[Sequence[float]]

    @property
    def p50_ms(self) -> Estimate:
        """The median with its 95 % interval."""
        return Rounds(self._rounds_ns).percentile(50)

    def over(self, other: Timed) -> Estimate:
        """Its median over another's that was timed in turn with it, with its 95 % interval."""
        return ratio_estimate(Rounds(self._rounds_ns), Rounds(other._rounds_ns))

    @property
    def result(self) -> Result:
        """What the machine's doubts ask of a measurement."""
        content = self.file.read_bytes()
        engine = file_format(self.file, content).engines[0]
        case = Case(self.name, sha256(content).hexdigest(), len(content), engine, threads=1)
        return Result(case, steady=True, drift=drift_estimate(self._rounds_ns))

    @property
    def _rounds_ns(self) -> list[list[int]]:
        return [[round(time_ms * 1e6) for time_ms in times] for times in self.rounds_ms]


class Story:
    """Looks at the machine whenever it is told to, first when it is made."""

    def __init__(self) -> None:
        self._facts = machine_facts()
        self._start = time.monotonic()
        self._trace: list[Snapshot] = []
        self.look()

    def look(self) -> None:
        """One more look."""
        self._trace.append(snapshot(time.monotonic() - self._start))

    def told(self, results: Sequence[Result]) -> dict[str, Any]:
        """The machine in a line, its facts, every look, and what casts doubt, in words."""
        marks = find_marks(self._facts, Settings(), self._trace, results)
        return {
            "story": describe(self._facts),
            "facts": asdict(self._facts),
            "trace": [asdict(look) for look in self._trace],
            "doubts": [
                {
                    "kind": mark.kind,
                    "file": None if mark.case is None else results[mark.case].case.model,
                    "text": mark.text,
                }
                for mark in marks
            ],
        }
