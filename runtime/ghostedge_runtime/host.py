"""The machine a measurement was made on, in short, and this process's memory.

Everything is read by `machine`, whose `machine.facts.machine_facts` tells more; this is the part
that goes into manifests and into the results of the Python API.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

from ghostedge_runtime.machine import cpu
from ghostedge_runtime.machine.board import board
from ghostedge_runtime.machine.facts import cores, governors, memory_mb, os_name
from ghostedge_runtime.machine.parse import whole
from ghostedge_runtime.machine.system import LIVE, System


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


def host_facts(system: System = LIVE) -> Host:
    """Look at a machine, this one unless another is given."""
    words = system.platform()
    return Host(
        machine=words.machine,
        cpu=cpu.cpu_name(system),
        board=board(system),
        cores=cores(words),
        memory_mb=memory_mb(words),
        os=os_name(system),
        kernel=f"{words.system} {words.release}",
        python=words.python,
        governor=next(iter(governors(system).values()), None),
    )


def peak_rss_mb() -> float | None:
    """Most memory this process has held since it started, in MB of 10⁶ bytes.

    Linux's own record comes first: getrusage's survives an exec, so that a process started by a
    larger one would report its parent's.
    """
    for line in (LIVE.text("/proc/self/status") or "").splitlines():
        key, _, value = line.partition(":")
        kib = whole(value.partition("kB")[0]) if key == "VmHWM" else None
        if kib is not None:
            return kib * 1024 / 1e6  # the file says kB and means KiB
    try:
        import resource  # noqa: PLC0415  # POSIX only
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if platform.system() == "Darwin" else 1024) / 1e6  # bytes there, KiB here


def is_x86_without_vnni(system: System = LIVE) -> bool:
    """Whether this is an x86 that has no 8-bit dot product, or does not tell.

    Without it, kernels add two products of 8-bit numbers in 16 bits, which can overflow.
    """
    is_x86 = system.platform().machine in cpu.X86
    return is_x86 and cpu.X86_INT8_DOT_PRODUCTS.isdisjoint(cpu.features(system))
