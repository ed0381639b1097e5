"""How far a run is: its stages, weighed by the seconds they are likely to take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ghostedge_runtime.bench.lane import Lane
from ghostedge_runtime.record import BenchJob

Tell = Callable[[str, float], None]

_OPEN_SECONDS = 0.5
_WARMUP_SECONDS = 1.0
_SCORE_SECONDS = 5.0
_OPERATORS_SECONDS = 10.0


class Stages:
    """Tells how far a run is.

    Args:
        job: Which.
        tell: Called with what is being done and the share done so far, 0 to 1; None: nobody asks.
    """

    def __init__(self, job: BenchJob, tell: Tell | None) -> None:
        self._tell = tell
        self._seconds = {
            "open": _OPEN_SECONDS,
            "warm up": min(_WARMUP_SECONDS, job.settings.max_warmup_seconds),
            "measure": job.settings.min_seconds,
            "score": 0.0 if job.data is None else _SCORE_SECONDS,
            "time operators": _OPERATORS_SECONDS if job.per_op else 0.0,
        }

    def at(self, stage: str, share: float) -> None:
        """Say that so much of a stage is done."""
        if self._tell is None:
            return
        names = list(self._seconds)
        before = sum(self._seconds[name] for name in names[: names.index(stage)])
        done = before + share * self._seconds[stage]
        self._tell(stage, min(1.0, done / sum(self._seconds.values())))

    def over(self, stage: str, lanes: Sequence[Lane]) -> Iterator[Lane]:
        """The cases in order, each told of."""
        for number, lane in enumerate(lanes):
            self.at(stage, number / len(lanes))
            yield lane
        self.at(stage, 1.0)

    def part(self, stage: str, number: int, count: int) -> Callable[[int, int], None]:
        """A callback (done, total) for the part ``number`` of ``count``."""
        return lambda done, total: self.at(stage, (number + done / max(total, 1)) / count)
