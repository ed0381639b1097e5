"""Which CPUs a run may use, and whether that choice makes its figures doubtful.

On a processor with fast and slow cores an unpinned run is moved between them by the scheduler, and
its figures are a mixture. The kernel numbers a frequency policy after its first CPU; the CPUs of
one policy share a clock and follow each other on every chip that has few policies.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ghostedge_runtime.bench.record import MachineFacts, Mark, Result, Settings
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.machine.parse import whole

_MOST_CPUS = 2**14  # the most that a kernel can be built for, rounded up

ALIKE = 0.9
"""Cores whose highest clocks are closer than this ratio are of one kind: favoured cores of x86
boost a few percent higher than their like, kinds of cores differ by a quarter or more."""


def cpu_list(text: str) -> tuple[int, ...]:
    """CPU numbers of a list as ``taskset -c`` takes it, such as ``0-3,6``.

    Raises:
        InputError: It is no such list.
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = whole(first), whole(last if dash else first)
        if ends[0] is None or ends[1] is None or not 0 <= ends[0] <= ends[1] < _MOST_CPUS:
            raise InputError(f"{text!r} is no list of CPUs", remedy="write it as 0-3 or 0,2,6")
        found.update(range(ends[0], ends[1] + 1))
    return tuple(sorted(found))


def pin(cpus: Iterable[int]) -> None:
    """Keep this process, and those it starts from now on, on some CPUs.

    Raises:
        InputError: The system cannot pin, or the process may not use one of them.
    """
    wanted = frozenset(cpus)
    if not hasattr(os, "sched_setaffinity"):
        raise InputError("this system cannot pin a process to CPUs", remedy="leave the CPUs out")
    usable = os.sched_getaffinity(0)
    if not wanted or not wanted <= usable:
        raise InputError(
            f"this process may not use CPU {span_words(wanted - usable) or 'none'}",
            remedy=f"choose from {span_words(usable)}",
        )
    os.sched_setaffinity(0, wanted)


def span_words(cpus: Iterable[int]) -> str:
    """CPU numbers as `cpu_list` takes them: ``0-3,6``."""
    spans: list[list[int]] = []
    for cpu in sorted(cpus):
        if spans and spans[-1][1] == cpu - 1:
            spans[-1][1] = cpu
        else:
            spans.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def pinning_marks(facts: MachineFacts, settings: Settings, results: Sequence[Result]) -> list[Mark]:
    """Too few CPUs for a case's threads, or CPUs of different kinds."""
    marks = []
    if settings.cpus is not None:
        where = f"CPU{'s' if len(settings.cpus) > 1 else ''} {span_words(settings.cpus)}"
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
    clocks = cpu_clocks(facts)
    used = {
        cpu: mhz for cpu, mhz in clocks.items() if settings.cpus is None or cpu in settings.cpus
    }
    if not used or min(used.values()) >= ALIKE * max(used.values()):
        return []
    fastest = [cpu for cpu, mhz in used.items() if mhz >= ALIKE * max(used.values())]
    text = (
        f"it ran on cores of different kinds (highest clocks {min(used.values()):.0f} to "
        f"{max(used.values()):.0f} MHz), and which of them the system chose: "
        f"pin it to one kind, such as CPUs {span_words(fastest)}"
    )
    return [Mark("pinning", text)]


def cpu_clocks(facts: MachineFacts) -> dict[int, float]:
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
