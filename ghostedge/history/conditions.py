"""What else differed between two measurements, in words.

A ratio speaks of the files alone only where machine, settings and versions are the same. Every fact
that is not the same in all runs compared is said; which of them made the difference is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ghostedge.history.matching import Measured
from ghostedge_runtime.record import BenchRun


def _delegated(each: Measured) -> str | None:
    found = each.result.delegation
    if found is None:
        return None
    return f"{found.ops} of {found.ops_total} ({found.delegate})"


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
    "runtime": lambda each: each.result.runtime,
    "runtime version": lambda each: each.result.runtime_version,
    "batch": lambda each: each.result.batch,
    "ops delegated": _delegated,
}


def run_differences(a: Sequence[BenchRun], b: Sequence[BenchRun]) -> tuple[str, ...]:
    """A sentence for each fact of machine, settings and versions that is not the same."""
    return tuple(_differing(_OF_RUN, a, b))


def case_differences(a: Sequence[Measured], b: Sequence[Measured]) -> tuple[str, ...]:
    """Likewise for one case."""
    return tuple(_differing(_OF_CASE, a, b))


def _differing(
    facts: Mapping[str, Callable[[Any], Any]], a: Sequence[Any], b: Sequence[Any]
) -> Iterable[str]:
    for name, fact in facts.items():
        found = [list(dict.fromkeys(map(fact, side))) for side in (a, b)]
        if len({*found[0], *found[1]}) > 1:
            in_a, in_b = (" and ".join(map(_words, values)) for values in found)
            yield f"{name}: {in_a} in A, {in_b} in B"


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value in (None, "") else str(value)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_words(value)}" for key, value in sorted(values.items()))
