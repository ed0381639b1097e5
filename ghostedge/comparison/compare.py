"""Two sides of measurements, case by case: is B faster, slower, or is no difference shown?

A side is one run or several. ``docs/history.md`` says what the words promise and what they do not,
and why the budget's rule is made for a laboratory that checks every build.

**Matching.** A case is known by its model's file name, its backend, its threads and its precision
mode. By name, not by content: a regression check compares a file with its next version, and says
where the bytes differ. The folder counts only where one run has the same file name from two
folders, the device only where a side has runs of several.

**Conditions.** A ratio is one of the files alone only where machine, settings and versions are the
same. Every fact that is not the same in all runs compared is listed; which of them made the
difference is not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ghostedge.comparison.ratio import Basis, Ratio, ratio_between, typical_ms
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.record import BenchRun, Case, Mark, Result

COMPARISON_VERSION = 1


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
        samples = [burst.samples_ns for burst in self.result.rounds]
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
    groups: Cases = {}
    for run in runs:
        seen: Counter[CaseKey] = Counter()
        device = run.device if by_device else None
        for number, result in enumerate(run.results):
            first = _key(result.case, device, by_path=by_path)
            key = _key(result.case, device, by_path=by_path, nth=seen[first])
            seen[first] += 1
            groups.setdefault(key, []).append(Measured(run, number))
    return groups


def _key(case: Case, device: str | None, *, by_path: bool, nth: int = 0) -> CaseKey:
    model = case.model if by_path else Path(case.model).name
    return CaseKey(model, case.backend, case.threads, case.precision_mode, device, nth)


def _delegated(measured: Measured) -> str | None:
    delegation = measured.result.delegation
    if delegation is None:
        return None
    return f"{delegation.ops} of {delegation.ops_total} ({delegation.delegate})"


_OF_RUN: Mapping[str, Callable[[BenchRun], Any]] = {
    "device": lambda run: run.device,
    "GhostEdge": lambda run: run.ghostedge_version,
    "board": lambda run: run.machine.board,
    "SoC": lambda run: run.machine.soc,
    "processor": lambda run: run.machine.cpu,
    "instruction set": lambda run: run.machine.machine,
    "address width in bits": lambda run: run.machine.bits,
    "CPUs allowed": lambda run: run.machine.cores,
    "CPUs by quota": lambda run: run.machine.cpu_quota,
    "memory in MB": lambda run: run.machine.memory_mb,
    "virtual machine": lambda run: run.machine.virtual,
    "system": lambda run: run.machine.os,
    "kernel": lambda run: run.machine.kernel,
    "firmware": lambda run: run.machine.firmware,
    "Python": lambda run: run.machine.python,
    "governors": lambda run: _pairs(run.machine.governors),
    "highest clocks": lambda run: _pairs(run.machine.max_mhz),
    "preset": lambda run: run.settings.preset,
    "--min-seconds": lambda run: run.settings.min_seconds,
    "--min-runs": lambda run: run.settings.min_runs,
    "--max-warmup-seconds": lambda run: run.settings.max_warmup_seconds,
    "pinned CPUs": lambda run: run.settings.cpus and ", ".join(map(str, run.settings.cpus)),
    "real images": lambda run: run.settings.images,
    "cases in the run": lambda run: len(run.results),
}

_OF_CASE: Mapping[str, Callable[[Measured], Any]] = {
    "runtime": lambda measured: measured.result.runtime,
    "runtime version": lambda measured: measured.result.runtime_version,
    "batch": lambda measured: measured.result.batch,
    "ops delegated": _delegated,
}


def run_differences(a: Sequence[BenchRun], b: Sequence[BenchRun]) -> tuple[str, ...]:
    """A sentence for each fact of machine, settings and versions that is not the same."""
    return tuple(_differing(_OF_RUN, a, b))


def case_differences(a: Sequence[Measured], b: Sequence[Measured]) -> tuple[str, ...]:
    """A sentence for each fact of one case's runtime and batch that is not the same."""
    return tuple(_differing(_OF_CASE, a, b))


def _differing(
    facts: Mapping[str, Callable[[Any], Any]], a: Sequence[Any], b: Sequence[Any]
) -> Iterable[str]:
    for name, fact in facts.items():
        values_of = [list(dict.fromkeys(map(fact, side))) for side in (a, b)]
        if len({*values_of[0], *values_of[1]}) > 1:
            in_a, in_b = (" and ".join(map(_words, values)) for values in values_of)
            yield f"{name}: {in_a} in A, {in_b} in B"


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value in (None, "") else str(value)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_words(value)}" for key, value in sorted(values.items()))


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
            "no case of A is in B" + "".join(f"\n  {_unmatched_words(case)}" for case in unmatched),
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
    usable = {
        key: [measured for measured in runs if measured.fault is None]
        for key, runs in cases.items()
    }
    return {key: runs for key, runs in usable.items() if runs}


def _left(side: SideName, mine: Cases, usable_elsewhere: Cases) -> list[Unmatched]:
    """Runs of this side that were not used, with the reason."""
    other: SideName = "B" if side == "A" else "A"
    unmatched = []
    for key, runs in mine.items():
        faults = [
            (measured.run.id, measured.fault) for measured in runs if measured.fault is not None
        ]
        lost = side == "B" and len(faults) == len(runs) and key in usable_elsewhere
        unmatched += [Unmatched(side, key, f"run {of} {fault}", lost) for of, fault in faults]
        if len(faults) < len(runs) and key not in usable_elsewhere:
            unmatched.append(Unmatched(side, key, f"{other} has no measurement of it"))
    return unmatched


def _unmatched_words(unmatched: Unmatched) -> str:
    return f"{unmatched.key}, in {unmatched.side} alone: {unmatched.reason}"


def _differences(
    a: Sequence[BenchRun], b: Sequence[BenchRun], keys: Sequence[CaseKey]
) -> tuple[str, ...]:
    differences: list[str] = []
    for device in dict.fromkeys(key.device for key in keys):
        if device is None:
            differences += run_differences(a, b)
            continue
        sides = ([run for run in side if run.device == device] for side in (a, b))
        differences += (f"{device}: {difference}" for difference in run_differences(*sides))
    return tuple(differences)


def _compared(
    key: CaseKey, a: Sequence[Measured], b: Sequence[Measured], max_regression_pct: float | None
) -> CaseComparison:
    p50, p90 = (_change(a, b, percent) for percent in (50, 90))
    hashes_a, hashes_b = (
        tuple(dict.fromkeys(measured.result.case.sha256 for measured in side)) for side in (a, b)
    )
    return CaseComparison(
        key=key,
        sha256_a=hashes_a,
        sha256_b=hashes_b,
        same_file=len({*hashes_a, *hashes_b}) == 1,
        runs_a=tuple(measured.run.id for measured in a),
        runs_b=tuple(measured.run.id for measured in b),
        basis=p50.ratio.basis,
        p50=p50,
        p90=p90,
        budget=_budget(p50.ratio, max_regression_pct),
        marks=(*_marks("A", a), *_marks("B", b)),
        notes=case_differences(a, b),
    )


def _change(a: Sequence[Measured], b: Sequence[Measured], percent: float) -> Change:
    rounds_a, rounds_b = ([measured.result.rounds for measured in side] for side in (a, b))
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
        f"{case.key}: {(case.p50.ratio.value - 1) * 100:+.1f} %, its whole interval above the limit"
        for case in cases
        if case.budget == "missed"
    ]
    return (*slower, *(f"{case.key}: {case.reason}" for case in unmatched if case.lost))


def _marks(name: SideName, side: Sequence[Measured]) -> list[SideMark]:
    return [
        SideMark(name, measured.run.id, mark.kind, mark.text)
        for measured in side
        for mark in measured.marks
    ]
