"""Landlock: from here on this process reads some folders, and writes none.

A Linux security module for processes without privileges (5.13 and later); the C library has no
functions for it, so its three system calls are made by number. It judges the opening, making and
removing of files, not changes of their modes, owners and times: those ``seccomp`` refuses.

Source: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_ASK_VERSION = 1
_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# How many kinds of access to files each version knows: renaming across folders came with 2,
# truncating with 3, device controls with 5.
_KINDS = {1: 13, 2: 14, 3: 15, 4: 15}
_KINDS_NOW = 16
_TCP_SINCE, _BIND_AND_CONNECT = 4, 0b11
_SCOPES_SINCE, _ABSTRACT_SOCKETS_AND_SIGNALS = 6, 0b11

_libc = ctypes.CDLL(None, use_errno=True)


def landlock_version() -> int:
    """The version of Landlock that this kernel offers; 0 where it has none or it is off."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)))


def read_only(paths: Iterable[str]) -> None:
    """Restrict this process, and all it might start, to reading beneath ``paths``.

    Writing, making, removing and executing files is refused everywhere, as are TCP (version 4 and
    later), and signals and abstract sockets to processes outside (version 6). What is open already
    stays open. ``PR_SET_NO_NEW_PRIVS`` must be set.

    Raises:
        OSError: The kernel refused.
    """
    version = landlock_version()
    handled = struct.pack(
        "<QQQ",
        (1 << _KINDS.get(version, _KINDS_NOW)) - 1,
        _BIND_AND_CONNECT if version >= _TCP_SINCE else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if version >= _SCOPES_SINCE else 0,
    )
    ruleset = _call(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    try:
        for path in paths:
            _allow_reading(ruleset, path)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow_reading(ruleset: int, path: str) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not there, so there is nothing to read
    try:
        access = _READ_FILE | (_READ_DIR if Path(path).is_dir() else 0)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("<Qi", access, place), 0)
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
