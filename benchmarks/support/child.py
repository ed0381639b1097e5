"""Run a command as a child process and take its wall time and peak memory.

The peak is the larger of two figures: the kernel's own for the biggest single process
(``ru_maxrss``, exact) and the sum over the process tree sampled ten times a second (which counts
workers side by side but can miss a short peak). ``ru_maxrss`` starts at the size the parent had
when it forked, so a parent that measures must not import torch.
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
_SAMPLE_SECONDS = 0.1
_MB = 1e6
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
    peak = max(usage.ru_maxrss * 1024, sampler.peak_bytes)
    return Usage(
        seconds=round(seconds, 2),
        cpu_seconds=round(usage.ru_utime + usage.ru_stime, 2),
        peak_memory_mb=round(peak / _MB, 1),
    )


def use_two_cores() -> None:
    """Keep this process and its children on two cores, as a small machine would."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])


class _TreeSampler(threading.Thread):
    """Sums the resident memory of a process and its descendants until told to stop."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self._root = root
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            self.peak_bytes = max(self.peak_bytes, _tree_bytes(self._root))

    def stop(self) -> None:
        self._done.set()
        self.join()


def _tree_bytes(root: int) -> int:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parents[int(entry.name)] = _parent(entry)
    tree = {root}
    while grown := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= grown
    return sum(_resident(pid) for pid in tree)


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


def _cause(log: Path, characters: int = 300) -> str:
    """The first error a log names (in chained tracebacks the root one), else its last line."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    named = (line for line in lines if _ERROR.match(line))
    return next(named, lines[-1] if lines else "no output")[:characters]
