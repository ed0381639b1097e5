"""The CPU time that the process's control group allows, and how long it was kept waiting.

A container with 1.5 CPUs runs at full speed and is stopped for the rest of every period: medians
look good, percentiles do not. The limit may stand at any level above the process, so every level
is read: the least quota holds, the waits add up. Files: the kernel's Documentation/admin-guide/
cgroup-v2.rst (``cpu.max``, ``cpu.stat`` in microseconds) and Documentation/scheduler/sched-bwc.rst
(version 1: ``cpu.cfs_quota_us``, ``cpu.stat`` in nanoseconds).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from ghostedge_runtime.machine.system import System

_V1_ROOTS = ("/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpuacct,cpu", "/sys/fs/cgroup/cpu")
_V2_ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")


def cpu_quota(system: System) -> float | None:
    """CPUs at a time that may be used, None without a limit."""
    quotas = [*_quotas_v1(system), *_quotas_v2(system)]
    return min(quotas, default=None)


def throttled_s(system: System) -> float | None:
    """Seconds the group and those above it were kept waiting, None where nothing counts them."""
    waits = [
        *_counts(system, _levels(system, _V1_ROOTS, version=1), "throttled_time", 1e9),
        *_counts(system, _levels(system, _V2_ROOTS, version=2), "throttled_usec", 1e6),
    ]
    return sum(waits) if waits else None


def _quotas_v1(system: System) -> Iterator[float]:
    for folder in _levels(system, _V1_ROOTS, version=1):
        quota = _number(system.text(f"{folder}/cpu.cfs_quota_us"))
        period = _number(system.text(f"{folder}/cpu.cfs_period_us"))
        if quota is not None and period and quota > 0:  # -1: no limit
            yield quota / period


def _quotas_v2(system: System) -> Iterator[float]:
    for folder in _levels(system, _V2_ROOTS, version=2):
        words = (system.text(f"{folder}/cpu.max") or "").split()
        numbers = [_number(word) for word in words]
        if len(numbers) == 2 and numbers[0] is not None and numbers[1]:  # "max": no limit
            yield numbers[0] / numbers[1]


def _counts(system: System, folders: Iterable[str], key: str, unit: float) -> Iterator[float]:
    for folder in folders:
        for line in (system.text(f"{folder}/cpu.stat") or "").splitlines():
            name, _, value = line.partition(" ")
            count = _number(value)
            if name == key and count is not None:
                yield count / unit


def _levels(system: System, roots: tuple[str, ...], *, version: int) -> Iterator[str]:
    """The folders of the process's group and those above it.

    A container without a cgroup namespace is told a path of the host that it cannot see; the
    mount's root is then its own group, so the root always is among the levels.
    """
    path = _path(system.text("/proc/self/cgroup") or "", version)
    if path is None:
        return
    for root in roots:
        for level in (path, *path.parents):
            yield f"{root}{level}".rstrip("/")


def _path(listing: str, version: int) -> PurePosixPath | None:
    """From lines ``hierarchy:controllers:path``; version 2's is ``0::path``."""
    for line in listing.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        mine = number == "0" if version == 2 else "cpu" in controllers.split(",")
        if mine and path.startswith("/"):
            return PurePosixPath(path)
    return None


def _number(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None
