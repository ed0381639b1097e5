"""What in a run's trace makes its figures doubtful."""

from __future__ import annotations

from collections.abc import Sequence

from ghostedge_runtime.bench.record import MachineFacts, Mark, Result, Settings, Snapshot


def find_marks(
    facts: MachineFacts,
    settings: Settings,
    trace: Sequence[Snapshot],
    results: Sequence[Result],
) -> tuple[Mark, ...]:
    """Every doubt about a run, those that fail ``--strict`` first."""
    marks = _unsteady(results)
    return tuple(sorted(marks, key=lambda mark: not mark.fails_strict))


def _unsteady(results: Sequence[Result]) -> list[Mark]:
    return [
        Mark(
            "unsteady",
            f"its times had not settled after {result.warmup_runs} inferences of warm-up",
            case=index,
        )
        for index, result in enumerate(results)
        if result.runs and not result.steady
    ]
