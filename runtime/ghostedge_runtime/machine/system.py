"""All that is asked of the operating system to describe the machine.

Four questions are enough: a small file's text, the paths that match a pattern, what a short
command prints, and what Python's own platform calls know. None of them ever raises: a machine that
does not say is the normal case. Peak memory is a matter of the process and not asked here.
"""

from __future__ import annotations

import glob
import os
import platform
import shutil
import struct
import subprocess
from dataclasses import dataclass
from typing import Protocol

COMMAND_SECONDS = 2.0
# /proc/cpuinfo of a server with hundreds of CPUs is the largest file read, well below this.
_MOST_BYTES = 4 * 2**20
# More than any counter of the kernel's holds; beyond it, arithmetic with floats could overflow.
_LARGEST = 2**64


@dataclass(frozen=True)
class Platform:
    """What Python itself knows of the system; None where its platform has no such call.

    Attributes:
        system: ``Linux``, ``Darwin``, ``Windows``.
        release: Of the kernel.
        machine: Instruction set of the kernel, such as ``aarch64``.
        processor: The platform's name of the processor, often empty.
        name: The system's name and version in one, for where no os-release file is.
        python: Version.
        bits: Width of this process's addresses.
        cpus: Numbers of the CPUs this process may run on.
        cpu_count: CPUs online.
        memory_bytes: Physical memory.
        ticks_per_second: The unit of the kernel's CPU times, USER_HZ.
        load_average: Runnable tasks, mean of the last minute.
    """

    system: str
    release: str
    machine: str
    processor: str
    name: str
    python: str
    bits: int
    cpus: tuple[int, ...] | None = None
    cpu_count: int | None = None
    memory_bytes: int | None = None
    ticks_per_second: int | None = None
    load_average: float | None = None


@dataclass(frozen=True)
class Answer:
    """What a command printed, standard output and error together, and its exit code."""

    code: int
    text: str


class System(Protocol):
    """A machine that can be asked."""

    def text(self, path: str) -> str | None:
        """A small file without the zero bytes and white space around it; None: not readable."""

    def glob(self, pattern: str) -> tuple[str, ...]:
        """The paths that match, sorted; ``*`` stays within one part of a path."""

    def run(self, *words: str) -> Answer | None:
        """Run a short command; None: there is none of the name, or it did not end in time."""

    def platform(self) -> Platform:
        """What Python's own calls say now."""


class LiveSystem:
    """The machine this runs on."""

    def text(self, path: str) -> str | None:
        """Read a file; device-tree files end in a zero byte, which is left out."""
        try:
            with open(path, "rb") as file:  # noqa: PTH123  # read in part, which Path cannot
                content = file.read(_MOST_BYTES)
        except (OSError, ValueError):  # absent, forbidden, no such device; a zero byte in the path
            return None
        return content.decode(errors="replace").strip("\0 \n") or None

    def glob(self, pattern: str) -> tuple[str, ...]:
        """List paths, sorted."""
        return tuple(sorted(glob.glob(pattern)))  # noqa: PTH207  # patterns are absolute

    def run(self, *words: str) -> Answer | None:
        """Run a command of the search path for at most `COMMAND_SECONDS`."""
        program = shutil.which(words[0])  # a fork that finds nothing costs milliseconds
        if program is None:
            return None
        try:
            done = subprocess.run(
                (program, *words[1:]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None
        return Answer(done.returncode, done.stdout.decode(errors="replace").strip())

    def platform(self) -> Platform:
        """Ask Python."""
        return Platform(
            system=platform.system(),
            release=platform.release(),
            machine=platform.machine(),
            processor=platform.processor(),
            name=platform.platform(terse=True),
            python=platform.python_version(),
            bits=struct.calcsize("P") * 8,
            cpus=_affinity(),
            cpu_count=os.cpu_count(),
            memory_bytes=_product("SC_PAGE_SIZE", "SC_PHYS_PAGES"),
            ticks_per_second=_product("SC_CLK_TCK"),
            load_average=_load_average(),
        )


LIVE = LiveSystem()


def _affinity() -> tuple[int, ...] | None:
    if not hasattr(os, "sched_getaffinity"):
        return None
    return tuple(sorted(os.sched_getaffinity(0)))


def _product(*names: str) -> int | None:
    """The product of some sysconf values; None where one is not known."""
    product = 1
    try:
        for name in names:
            value = os.sysconf(name)
            if value <= 0:  # -1: no limit or not known
                return None
            product *= value
    except (AttributeError, ValueError, OSError):  # no sysconf, or not these names
        return None
    return product


def _load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # not on Windows, or not obtainable
        return None


def whole(text: str | None) -> int | None:
    """A whole number, or None where the text is none."""
    try:
        number = int(text or "")
    except ValueError:  # other text, or thousands of digits
        return None
    return number if abs(number) < _LARGEST else None


def thousandth(text: str | None) -> float | None:
    """A whole number over a thousand: kHz as MHz, thousandths of a degree as degrees."""
    number = whole(text)
    return None if number is None else number / 1000
