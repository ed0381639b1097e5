"""Confine this process before it runs somebody else's code.

Linux alone, and without privileges. Four parts, of which the first three must hold:

- resource limits: seconds, bytes written, no core files; memory once torch is loaded;
- Landlock: reading where Python's own modules and the system's libraries lie, writing nowhere;
- a filter of system calls: no sockets, no processes, no changes to files' attributes;
- namespaces of its own for users, network and IPC, where the system lets an unprivileged process
  have them (containers and some distributions do not): no network device, and no privileges even
  when started as root.

It must run before anything starts a thread: the parts hold for the calling thread and its
descendants. Nothing here protects from a fault in the kernel, nor from another process being made
to read what this one puts out.
"""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import sys
from pathlib import Path

from ghostedge_convert.checkpoint.sandbox.landlock import landlock_version, read_only
from ghostedge_convert.checkpoint.sandbox.seccomp import has_filter, refuse_calls

_NEW_USER, _NEW_NET, _NEW_IPC = 0x10000000, 0x40000000, 0x08000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _SIGKILL = 1, 38, 9
# What torch and numpy read on import besides modules and libraries.
_SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/nix/store",
    "/etc/ld.so.cache",
    "/dev/urandom",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
)


class ConfinementError(Exception):
    """A part of the confinement cannot be had here; its text says which and why."""


def confine(*, seconds: int, written: int) -> tuple[str, ...]:
    """Confine this process for good.

    Args:
        seconds: Processor time after which the kernel ends it.
        written: Bytes that one file may grow to.

    Returns:
        The parts that hold, in words.

    Raises:
        ConfinementError: One that must hold does not; the process is to end without having run
            anything.
    """
    _check_possible()
    # Worked out first: nothing can be looked up once the process is confined.
    readable = readable_paths()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    _limit(resource.RLIMIT_CPU, seconds)
    _limit(resource.RLIMIT_FSIZE, written)
    _limit(resource.RLIMIT_CORE, 0)
    apart = libc.unshare(_NEW_USER | _NEW_NET | _NEW_IPC) == 0
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise ConfinementError("PR_SET_NO_NEW_PRIVS was refused")
    try:
        read_only(readable)
    except OSError as error:
        raise ConfinementError(f"Landlock was refused ({error.strerror})") from error
    try:
        refuse_calls()
    except OSError as error:
        raise ConfinementError(f"the system call filter was refused ({error.strerror})") from error
    _verify()
    own = ("own user, network and IPC namespaces",) if apart else ()
    return ("resource limits", f"Landlock {landlock_version()}", "system call filter", *own)


def readable_paths() -> list[str]:
    """Where modules and libraries lie, links resolved; never the root of the file system."""
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    named = [*sys.path, sys.prefix, sys.exec_prefix, sys.base_prefix, *libraries, *_SYSTEM]
    real = {os.path.realpath(path) for path in named if path}
    return sorted(path for path in {*real, f"/proc/{os.getpid()}"} if path != "/")


def limit_memory(more: int) -> None:
    """Allow this process so many bytes of address space more than it has now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + more)


def _check_possible() -> None:
    if sys.platform != "linux":
        raise ConfinementError(f"it is made of Linux's means, and this is {sys.platform}")
    if not has_filter(os.uname().machine):
        raise ConfinementError(
            f"the system call filter is known for x86_64 and aarch64, not {os.uname().machine}"
        )
    if not landlock_version():
        raise ConfinementError(
            "Landlock is missing (Linux 5.13 and later have it where it is switched on; some "
            "containers refuse it)"
        )
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise ConfinementError("a thread was started before the process was confined")


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (most, most))


def _verify() -> None:
    """Try what must fail, so that a gap is found here and not by the file's code."""
    try:
        os.close(os.open(os.devnull, os.O_WRONLY))
    except OSError:
        pass
    else:
        raise ConfinementError("files could still be opened for writing")
    try:
        socket.socket(socket.AF_UNIX).close()
    except OSError:
        return
    raise ConfinementError("sockets could still be opened")
