"""The machine a measurement was made on.

Only what the system tells without privileges and without other packages; what it does not tell is
None. Temperatures, clocks and throttling are not covered.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_BOARD = Path("/proc/device-tree/model")
_CPUINFO = Path("/proc/cpuinfo")
_STATUS = Path("/proc/self/status")
# /proc/cpuinfo names the processor under one of these, by architecture.
_CPU_KEYS = ("model name", "Hardware", "Model", "cpu model")


@dataclass(frozen=True)
class Host:
    """Facts about the machine.

    Attributes:
        machine: Instruction set, such as ``aarch64``.
        cpu: Model name of the processor.
        board: Name of a single-board computer.
        cores: CPUs this process may use.
        memory_mb: Physical memory, in MB of 10⁶ bytes.
        os: Name and version of the system.
        kernel: Name and release.
        python: Version.
        governor: Frequency governor of the first CPU.
    """

    machine: str
    cpu: str | None
    board: str | None
    cores: int
    memory_mb: int | None
    os: str
    kernel: str
    python: str
    governor: str | None


def host_facts() -> Host:
    """Look at the machine this runs on."""
    return Host(
        machine=platform.machine(),
        cpu=_cpu(),
        board=_text(_BOARD),
        cores=_cores(),
        memory_mb=_memory_mb(),
        os=_os(),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        governor=_text(_GOVERNOR),
    )


def peak_rss_mb() -> float | None:
    """Most memory this process has held since it started, in MB of 10⁶ bytes.

    Linux's own record comes first: getrusage's survives an exec, so that a process started by a
    larger one would report its parent's.
    """
    for line in (_text(_STATUS) or "").splitlines():
        key, value = _field(line)
        if key == "VmHWM":
            return int(value.split()[0]) * 1024 / 1e6  # the file says kB and means KiB
    try:
        import resource  # noqa: PLC0415  # POSIX only
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if platform.system() == "Darwin" else 1024) / 1e6  # bytes there, KiB here


def is_x86_without_vnni() -> bool:
    """Whether this is an x86 that has no 8-bit dot product, or does not tell.

    Without it, kernels add two products of 8-bit numbers in 16 bits, which can overflow.
    """
    return platform.machine() in ("x86_64", "AMD64") and "vnni" not in (_text(_CPUINFO) or "")


def _cpu() -> str | None:
    lines = (_text(_CPUINFO) or "").splitlines()
    fields = dict(reversed([_field(line) for line in lines if ":" in line]))
    named = (fields[key] for key in _CPU_KEYS if fields.get(key))
    return next(named, platform.processor() or None)


def _field(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip(), value.strip()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_mb() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**6
    except (AttributeError, ValueError, OSError):  # no sysconf, or not these names
        return None


def _os() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):  # not Linux, or a bare one
        return platform.platform(terse=True)


def _text(path: Path) -> str | None:
    """A small system file's text; device-tree files end in a zero byte."""
    try:
        return path.read_text(errors="replace").strip("\0 \n") or None
    except OSError:
        return None
