"""One case while it is measured: its worker, and what is known of it so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ghostedge_runtime.bench.decode import decode
from ghostedge_runtime.bench.process import Worker
from ghostedge_runtime.bench.statistics import Rounds, drift_estimate, ratio_estimate
from ghostedge_runtime.errors import GhostEdgeError
from ghostedge_runtime.latency import Timing
from ghostedge_runtime.record import Case, Delegation, Result, Round


@dataclass(frozen=True)
class Burst:
    """One case's turn in a round, in nanoseconds: uncounted first, then counted by both bounds."""

    lead_ns: int
    min_ns: int
    min_runs: int


class Lane:
    """A case, its worker and its result in the making.

    Attributes:
        case: The case.
        result: What is known so far.
        error: Why it fell out; None while it is in the running.
    """

    def __init__(self, case: Case, worker: Worker) -> None:
        self.case = case
        self.result = Result(case)
        self.error: GhostEdgeError | None = None
        self._worker = worker
        self._rounds: list[Round] = []
        self._spent_ns = 0

    def attempt(self, step: Callable[[Lane], None]) -> None:
        """Take a step; if it fails, the case falls out and the others go on."""
        try:
            step(self)
        except GhostEdgeError as error:
            self.error = error
            self.result = Result(self.case, error=str(error))
            self.end()

    def open(self) -> None:
        """Load the file and run it for the first time."""
        self._worker.ready()
        found = self._worker.ask("open")
        delegation = found.pop("delegation")
        if delegation is not None:
            delegation = decode(Delegation, delegation, where=self.case.model, place="delegation")
        self.result = replace(self.result, **found, delegation=delegation)

    def check_data(self, data: str, skipped: tuple[str, ...]) -> None:
        """Refuse a model that cannot be scored on this folder."""
        self._worker.ask("check_data", data=data, skipped=skipped)

    def prepare(self, images: tuple[str, ...]) -> None:
        """Make the inputs of images."""
        found = self._worker.ask("prepare", images=images)
        self.result = replace(self.result, preprocessing=Timing(**found["preprocessing"]))

    def warm_up(self, max_seconds: float) -> None:
        """Run until the times are steady."""
        found = self._worker.ask("warm_up", seconds=max_seconds, max_seconds=max_seconds)
        self.result = replace(self.result, warmup_runs=found["runs"], steady=found["steady"])

    def burst(self, burst: Burst, began: float) -> None:
        """Take this case's turn in a round.

        Args:
            burst: How long.
            began: When the run began, on `time.monotonic`'s clock, which all processes share.
        """
        first_ms = self.result.first_inference_ms or 0.0
        expected = (burst.lead_ns + burst.min_ns) / 1e9 + (burst.min_runs + 2) * first_ms / 1e3
        found = self._worker.ask("burst", seconds=10 * expected, **vars(burst))
        self._rounds.append(Round(found["start"] - began, tuple(found["samples_ns"])))
        self._spent_ns += sum(found["samples_ns"])
        runs = self.result.runs + len(found["samples_ns"])
        self.result = replace(self.result, runs=runs, seconds=self._spent_ns / 1e9)

    def ask(self, what: str, progress: Callable[[int, int], None], **arguments: Any) -> Any:
        """Have the worker do something else, see `Worker.ask`."""
        return self._worker.ask(what, progress=progress, **arguments)

    def end(self) -> None:
        """End the worker."""
        self._worker.end()

    def summarize(self, base: Lane) -> None:
        """Make figures of the samples.

        Args:
            base: The case that ratios are to, measured in turn with this one.
        """
        rounds = self._drawn()
        self.result = replace(
            self.result,
            p50_ms=rounds.percentile(50),
            p90_ms=rounds.percentile(90),
            p99_ms=rounds.percentile(99),
            mean_ms=rounds.mean(),
            min_ms=float(rounds.samples_ms.min()),
            ratio=None if base.error else ratio_estimate(rounds, base._drawn()),
            drift=drift_estimate([each.samples_ns for each in self._rounds]),
            rounds=tuple(self._rounds),
        )

    def _drawn(self) -> Rounds:
        return Rounds([each.samples_ns for each in self._rounds])
