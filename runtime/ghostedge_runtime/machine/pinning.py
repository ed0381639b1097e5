"""Whether the CPUs that a run used make its figures doubtful.

On a processor with fast and slow cores an unpinned run is moved between them by the scheduler, and
its figures are a mixture. The kernel numbers a frequency policy after its first CPU; the CPUs of
one policy share a clock and follow each other on every chip that has few policies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ghostedge_runtime.machine.parse import whole
from ghostedge_runtime.record import MachineFacts, Mark, Result, Settings

ALIKE = 0.9
"""Cores whose highest clocks are closer than this ratio are of one kind: favoured cores of x86
boost a few percent higher than their like, kinds of cores differ by a quarter or more."""


def pinning_marks(facts: MachineFacts, settings: Settings, results: Sequence[Result]) -> list[Mark]:
    """Too few CPUs for a case's threads, or CPUs of different kinds."""
    marks = []
    if settings.cpus is not None:
        where = f"CPU{'s' if len(settings.cpus) > 1 else ''} {_list(settings.cpus)}"
        marks += [
            Mark(
                "pinning",
                f"its {result.case.threads} threads were pinned to {where}: "
                "pin to as many CPUs as there are threads",
                case=index,
            )
            for index, result in enumerate(results)
            if result.error is None and result.case.threads > len(settings.cpus)
        ]
    return [*marks, *_mixed(facts, settings)]


def _mixed(facts: MachineFacts, settings: Settings) -> list[Mark]:
    clocks = _highest_clocks(facts)
    used = {
        cpu: mhz for cpu, mhz in clocks.items() if settings.cpus is None or cpu in settings.cpus
    }
    if not used or min(used.values()) >= ALIKE * max(used.values()):
        return []
    fastest = [cpu for cpu, mhz in used.items() if mhz >= ALIKE * max(used.values())]
    text = (
        f"it ran on cores of different kinds (highest clocks {min(used.values()):.0f} to "
        f"{max(used.values()):.0f} MHz), and which of them the system chose: "
        f"pin it to one kind, such as --cpus {_list(fastest)}"
    )
    return [Mark("pinning", text)]


def _highest_clocks(facts: MachineFacts) -> dict[int, float]:
    """Highest clock by CPU, in MHz, of the policies that are numbered; see the module."""
    firsts = {
        number: mhz
        for name, mhz in facts.max_mhz.items()
        if (number := whole(name.removeprefix("policy"))) is not None
    }
    last = (facts.cores_total or facts.cores) - 1
    found: dict[int, float] = {}
    for first in sorted(firsts):
        found.update(dict.fromkeys(range(first, last + 1), firsts[first]))
    return found


def _list(cpus: Iterable[int]) -> str:
    return ",".join(map(str, sorted(cpus)))
