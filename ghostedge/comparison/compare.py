"""Two sides of measurements, case by case: is B faster, slower, or is no difference shown?

A side is one run or several. ``docs/history.md`` says what the words promise and what they do not,
and why the budget's rule is made for a laboratory that checks every build.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ghostedge.comparison.ratio import Basis, Ratio, ratio_between, typical_ms
from ghostedge.history.conditions import case_differences, run_differences
from ghostedge.history.matching import CaseKey, Cases, Measured, cases_of
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.record import BenchRun

COMPARISON_VERSION = 1

SideName = Literal["A", "B"]
Verdict = Literal["faster", "slower", "no difference shown"]
BudgetVerdict = Literal["kept", "missed", "not shown"]


@dataclass(frozen=True)
class Change:
    """One percentile, B against A.

    Attributes:
        a_ms, b_ms: In milliseconds; the geometric mean where a side has several runs.
        ratio: B over A with its 95 % interval.
        verdict: Of B; a difference is real where the whole interval lies on one side of 1.
    """

    a_ms: float
    b_ms: float
    ratio: Ratio
    verdict: Verdict


@dataclass(frozen=True)
class SideMark:
    """A mark that a run made, repeated here."""

    side: SideName
    run: str
    kind: str
    text: str


@dataclass(frozen=True)
class CaseComparison:
    """One case in both sides.

    Attributes:
        key: The case.
        sha256_a, sha256_b: Of the files measured, each once.
        same_file: Whether there is one and the same file in all runs.
        runs_a, runs_b: The runs' ids.
        basis: What the intervals hold: see `ratio.Ratio`.
        p50, p90: The percentiles.
        budget: How p50 stands to ``--max-regression``; None where that was not asked.
        marks: What makes its figures doubtful.
        notes: What else differs: the runtime, how much was delegated.
    """

    key: CaseKey
    sha256_a: tuple[str, ...]
    sha256_b: tuple[str, ...]
    same_file: bool
    runs_a: tuple[str, ...]
    runs_b: tuple[str, ...]
    basis: Basis
    p50: Change
    p90: Change
    budget: BudgetVerdict | None
    marks: tuple[SideMark, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Unmatched:
    """A case of one side that was compared with nothing, and why.

    ``lost`` is set where B tried a case that A had measured, and could not run it.
    """

    side: SideName
    key: CaseKey
    reason: str
    lost: bool = False


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        comparison_version: Of this document.
        a, b: Ids of the runs on each side.
        max_regression_pct: The budget in percent, or None.
        cases: Those that both sides have, in A's order.
        unmatched: Those that only one has, or that could not be compared.
        differences: Facts of machine, settings and versions that are not the same in all runs.
        missed: What misses the budget, a sentence each; empty where none was asked.
    """

    comparison_version: int
    a: tuple[str, ...]
    b: tuple[str, ...]
    max_regression_pct: float | None
    cases: tuple[CaseComparison, ...]
    unmatched: tuple[Unmatched, ...]
    differences: tuple[str, ...]
    missed: tuple[str, ...]


def compare(
    a: Sequence[BenchRun], b: Sequence[BenchRun], *, max_regression_pct: float | None = None
) -> Comparison:
    """Hold B against A.

    Args:
        a: The runs before; the same run twice counts once.
        b: The runs after.
        max_regression_pct: How many percent slower B's median may be. It is **missed** where the
            ratio's whole interval lies above that, **not shown** where only the ratio itself does.

    Raises:
        InputError: No case is in both sides.
    """
    a, b = (tuple({run.id: run for run in side}.values()) for side in (a, b))
    cases_a, cases_b = cases_of(a, b)
    usable_a, usable_b = _usable(cases_a), _usable(cases_b)
    keys = [key for key in usable_a if key in usable_b]
    unmatched = (*_left("A", cases_a, usable_b), *_left("B", cases_b, usable_a))
    if not keys:
        raise InputError(
            "no case of A is in B" + "".join(f"\n  {_unmatched_words(each)}" for each in unmatched),
            remedy="cases match by the model's file name, backend, threads and precision mode; to "
            "compare two files, measure them in one run: `ghostedge bench OLD NEW`",
        )
    cases = [_compared(key, usable_a[key], usable_b[key], max_regression_pct) for key in keys]
    return Comparison(
        comparison_version=COMPARISON_VERSION,
        a=tuple(run.id for run in a),
        b=tuple(run.id for run in b),
        max_regression_pct=max_regression_pct,
        cases=tuple(cases),
        unmatched=unmatched,
        differences=_differences(a, b, keys),
        missed=() if max_regression_pct is None else _missed(cases, unmatched),
    )


def _usable(cases: Cases) -> Cases:
    kept = {key: [each for each in found if each.fault is None] for key, found in cases.items()}
    return {key: found for key, found in kept.items() if found}


def _left(side: SideName, mine: Cases, usable_elsewhere: Cases) -> list[Unmatched]:
    """Runs of this side that were not used, with the reason."""
    other: SideName = "B" if side == "A" else "A"
    found = []
    for key, runs in mine.items():
        faults = [(each.run.id, each.fault) for each in runs if each.fault is not None]
        lost = side == "B" and len(faults) == len(runs) and key in usable_elsewhere
        found += [Unmatched(side, key, f"run {of} {fault}", lost) for of, fault in faults]
        if len(faults) < len(runs) and key not in usable_elsewhere:
            found.append(Unmatched(side, key, f"{other} has no measurement of it"))
    return found


def _unmatched_words(each: Unmatched) -> str:
    return f"{each.key}, in {each.side} alone: {each.reason}"


def _differences(
    a: Sequence[BenchRun], b: Sequence[BenchRun], keys: Sequence[CaseKey]
) -> tuple[str, ...]:
    found: list[str] = []
    for device in dict.fromkeys(key.device for key in keys):
        if device is None:
            found += run_differences(a, b)
            continue
        sides = ([run for run in side if run.device == device] for side in (a, b))
        found += (f"{device}: {each}" for each in run_differences(*sides))
    return tuple(found)


def _compared(
    key: CaseKey, a: Sequence[Measured], b: Sequence[Measured], max_regression_pct: float | None
) -> CaseComparison:
    p50, p90 = (_change(a, b, percent) for percent in (50, 90))
    hashes_a, hashes_b = (
        tuple(dict.fromkeys(each.result.case.sha256 for each in side)) for side in (a, b)
    )
    return CaseComparison(
        key=key,
        sha256_a=hashes_a,
        sha256_b=hashes_b,
        same_file=len({*hashes_a, *hashes_b}) == 1,
        runs_a=tuple(each.run.id for each in a),
        runs_b=tuple(each.run.id for each in b),
        basis=p50.ratio.basis,
        p50=p50,
        p90=p90,
        budget=_budget(p50.ratio, max_regression_pct),
        marks=(*_marks("A", a), *_marks("B", b)),
        notes=case_differences(a, b),
    )


def _change(a: Sequence[Measured], b: Sequence[Measured], percent: float) -> Change:
    rounds_a, rounds_b = ([each.result.rounds for each in side] for side in (a, b))
    ratio = ratio_between(rounds_a, rounds_b, percent)
    return Change(
        typical_ms(rounds_a, percent), typical_ms(rounds_b, percent), ratio, _verdict(ratio)
    )


def _verdict(ratio: Ratio) -> Verdict:
    if ratio.low is not None and ratio.low > 1:
        return "slower"
    if ratio.high is not None and ratio.high < 1:
        return "faster"
    return "no difference shown"


def _budget(ratio: Ratio, max_regression_pct: float | None) -> BudgetVerdict | None:
    if max_regression_pct is None:
        return None
    limit = 1 + max_regression_pct / 100
    if ratio.low is not None and ratio.low > limit:
        return "missed"
    return "not shown" if ratio.value > limit else "kept"


def _missed(cases: Sequence[CaseComparison], unmatched: Sequence[Unmatched]) -> tuple[str, ...]:
    slower = [
        f"{each.key}: {(each.p50.ratio.value - 1) * 100:+.1f} %, its whole interval above the limit"
        for each in cases
        if each.budget == "missed"
    ]
    return (*slower, *(f"{each.key}: {each.reason}" for each in unmatched if each.lost))


def _marks(side: SideName, measured: Sequence[Measured]) -> list[SideMark]:
    return [
        SideMark(side, each.run.id, mark.kind, mark.text)
        for each in measured
        for mark in each.marks
    ]
