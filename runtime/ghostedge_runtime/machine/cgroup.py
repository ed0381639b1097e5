"""The CPU time that the process's control group allows, and how long it was kept waiting.

A container with 1.5 CPUs runs at full speed and is stopped for the rest of every period: medians
look good, percentiles do not. The limit may stand at any level above the process, so every level
is read: the least quota holds, the waits add up. Files: the kernel's
Documentation/admin-guide/cgroup-v2.rst (``cpu.max``, ``cpu.stat`` in microseconds) and
Documentation/scheduler/sched-bwc.rst (version 1: ``cpu.cfs_quota_us``, ``cpu.stat`` in
nanoseconds). Memory limits are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from ghostedge_runtime.machine.system import System, whole


@dataclass(frozen=True)
class _Hierarchy:
    """Where a version of control groups keeps what is asked here.

    Attributes:
        roots: Where it may be mounted; the first that has a ``cpu.stat`` is read.
        waits: The line of ``cpu.stat`` with the time spent waiting, ``per_second`` its unit.
    """

    version: int
    roots: tuple[str, ...]
    waits: str
    per_second: float


_HIERARCHIES = (
    _Hierarchy(2, ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"), "throttled_usec", 1e6),
    _Hierarchy(1, ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"), "throttled_time", 1e9),
)


def cpu_quota(system: System) -> float | None:
    """CPUs at a time that may be used, None without a limit."""
    quotas = (_quota(system, folder) for _, folder in _levels(system))
    return min((quota for quota in quotas if quota is not None), default=None)


def throttled_s(system: System) -> float | None:
    """Seconds the group and those above it were kept waiting, None where nothing counts them."""
    waits = [
        count / hierarchy.per_second
        for hierarchy, folder in _levels(system)
        if (count := _line(system.text(f"{folder}/cpu.stat"), hierarchy.waits)) is not None
    ]
    return sum(waits) if waits else None


def _quota(system: System, folder: str) -> float | None:
    """A level's own limit: ``max`` in version 2 and -1 in version 1 mean none."""
    words = (system.text(f"{folder}/cpu.max") or "").split()
    if not words:
        words = [system.text(f"{folder}/cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
    quota, period = whole(words[0]), whole(words[-1])
    return quota / period if quota and period and quota > 0 and period > 0 else None


def _line(text: str | None, key: str) -> int | None:
    for line in (text or "").splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return whole(value)
    return None


def _levels(system: System) -> Iterator[tuple[_Hierarchy, str]]:
    """The folders of the process's group and of those above it.

    A container without a cgroup namespace is told a path of the host that it cannot see; the
    mount's root is then its own group, so the root always is among the levels.
    """
    listing = system.text("/proc/self/cgroup") or ""
    for hierarchy in _HIERARCHIES:
        path = _path(listing, hierarchy.version)
        mounted = (root for root in hierarchy.roots if system.text(f"{root}/cpu.stat"))
        root = next(mounted, None)
        if path is not None and root is not None:
            for level in (path, *path.parents):
                yield hierarchy, f"{root}{level}".rstrip("/")


def _path(listing: str, version: int) -> PurePosixPath | None:
    """From lines ``hierarchy:controllers:path``; version 2's is ``0::path``."""
    for line in listing.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        mine = number == "0" if version == 2 else "cpu" in controllers.split(",")
        if mine and path.startswith("/"):
            return PurePosixPath(path)
    return None
