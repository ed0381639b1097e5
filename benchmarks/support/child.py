"""Run a command as a child process and take its wall time and peak memory.

The process tree is looked at twenty times a second, and the peak is the larger of two figures: the
kernel's high-water mark of the biggest single process (``VmHWM``, which keeps a peak between two
looks) and the largest sum over the tree (which counts workers side by side). ``ru_maxrss`` would
not do: a child's begins at the size of the process that started it.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_SAMPLE_SECONDS = 0.05
_MB = 1e6
_HIGH_WATER = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_ERROR = re.compile(r"(\S*(Error|Exception)|ERROR): ")


@dataclass(frozen=True)
class Usage:
    """What one command took; ``cpu_seconds`` (all threads) suffer least on a busy machine."""

    seconds: float
    cpu_seconds: float
    peak_memory_mb: float


class ChildFailedError(Exception):
    """The command ended with an exit status other than the ones allowed."""


def measure(
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    allowed: Sequence[int] = (0,),
) -> Usage:
    """Run ``command`` to its end, its output going to ``log``.

    Args:
        command: Program and arguments.
        log: File for stdout and stderr together.
        env: Variables to set on top of this process's.
        allowed: Exit statuses that count as done.

    Raises:
        ChildFailedError: It ended otherwise; the message holds the error that the log names.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(
            list(command),
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
        sampler = _TreeSampler(process.pid)
        sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        sampler.stop()
    code = os.waitstatus_to_exitcode(status)
    process.returncode = code  # Popen did not see the wait above
    if code not in allowed:
        raise ChildFailedError(f"{Path(command[0]).name} ended with status {code}: {_cause(log)}")
    return Usage(
        seconds=round(seconds, 2),
        cpu_seconds=round(usage.ru_utime + usage.ru_stime, 2),
        peak_memory_mb=round(sampler.peak_bytes / _MB, 1),
    )


def use_two_cores() -> None:
    """Keep this process and its children on two cores, as a small machine would."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])


class _TreeSampler(threading.Thread):
    """Follows the memory of a process and its descendants until told to stop."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self._root = root
        self._done = threading.Event()

    def run(self) -> None:
        over = False
        while not over:
            tree = _tree(self._root)
            # One that was just forked is in its parent's memory until it runs a program of its own,
            # and has the very same figure.
            together = sum({_resident(pid) for pid in tree})
            largest = max(_high_water(pid) for pid in tree)
            self.peak_bytes = max(self.peak_bytes, together, largest)
            over = self._done.wait(_SAMPLE_SECONDS)

    def stop(self) -> None:
        self._done.set()
        self.join()


def _tree(root: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parents[int(entry.name)] = _parent(entry)
    tree = {root}
    while grown := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= grown
    return tree


def _parent(entry: Path) -> int:
    """Parent process id; the name before it stands in brackets and may hold spaces itself."""
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):  # it ended while we looked
        return 0


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):  # it ended while we looked
        return 0


def _high_water(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it ended while we looked
        return 0
    match = _HIGH_WATER.search(status)
    return int(match[1]) * 1024 if match else 0


def _cause(log: Path, characters: int = 300) -> str:
    """The first error a log names (in chained tracebacks the root one), else its last line."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    named = (line for line in lines if _ERROR.match(line))
    return next(named, lines[-1] if lines else "no output")[:characters]
