"""A filter of system calls: no sockets, no new processes, no changes to any file.

Landlock does not judge Unix sockets by path, UDP, or changes of modes, owners and times; and a
process may signal, trace and limit others of its user. This filter refuses those calls, and once
more the opening for writing and all that makes, moves or removes a file. What is not listed passes:
it is a second barrier, not a proof.

The program is classic BPF over the call's number and arguments, per architecture.
Source: https://docs.kernel.org/userspace-api/seccomp_filter.html; numbers from the kernel's tables.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator, Mapping

_libc = ctypes.CDLL(None, use_errno=True)

# Call: number on x86_64, on aarch64; None where the architecture has no such call.
_REFUSED: Mapping[str, tuple[int | None, int | None]] = {
    # Sockets, and io_uring, which opens and connects without these calls.
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200),
    "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    # Processes: starting them, and reaching into others.
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "kill": (62, 129), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "process_madvise": (440, 440), "kcmp": (312, 272),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
    # Shared memory and queues of other processes.
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190),
    "semctl": (66, 191), "msgget": (68, 186), "msgctl": (71, 187), "mq_open": (240, 180),
    "mq_unlink": (241, 181), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    # Files: making, moving, removing, and what is written about them.
    "creat": (85, None), "truncate": (76, 45), "mkdir": (83, None), "mkdirat": (258, 34),
    "rmdir": (84, None), "unlink": (87, None), "unlinkat": (263, 35), "link": (86, None),
    "linkat": (265, 37), "symlink": (88, None), "symlinkat": (266, 36), "mknod": (133, None),
    "mknodat": (259, 33), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "removexattrat": (466, 466), "file_setattr": (469, 469), "open_by_handle_at": (304, 265),
    # The system.
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsmount": (432, 432),
    "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224),
    "swapoff": (168, 225), "sethostname": (170, 161), "setdomainname": (171, 162),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "syslog": (103, 116), "iopl": (172, None), "ioperm": (173, None), "vhangup": (153, 58),
    "fanotify_init": (300, 262), "fsconfig": (431, 431), "fspick": (433, 433),
    "open_tree_attr": (467, 467), "process_mrelease": (448, 448),
}  # fmt: skip
# Their arguments are behind a pointer, where no filter sees them; answered as by an older kernel,
# upon which the C library takes the call that the filter sees.
_HIDDEN: Mapping[str, tuple[int, int]] = {"clone3": (435, 435), "openat2": (437, 437)}
# Device controls, which set flags of files that are open for reading too; answered as by a plain
# file, which has none.
_IOCTL = (16, 29)
_OPEN, _OPENAT, _CLONE = (2, None), (257, 56), (56, 220)
_TGKILL, _PRLIMIT = (234, 131), (302, 261)
# O_WRONLY, O_RDWR, O_CREAT, O_TRUNC: the same on both architectures.
_WRITING = 0o1 | 0o2 | 0o100 | 0o1000
_THREAD = 0x00010000  # CLONE_THREAD

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000  # x86_64's second set of numbers for the same calls

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH = 0, 4  # offsets in struct seccomp_data
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def has_filter(machine: str) -> bool:
    """Whether the filter is known for an architecture, as ``os.uname().machine`` calls it."""
    return machine in _AUDIT_ARCH


def refuse_calls() -> None:
    """Refuse the listed calls to this process from here on. ``PR_SET_NO_NEW_PRIVS`` must be set.

    Raises:
        OSError: The kernel refused the filter.
    """
    code = b"".join(filter_program(os.uname().machine, os.getpid()))
    program = _Program(len(code) // 8, code)
    if _libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def filter_program(machine: str, pid: int) -> Iterator[bytes]:
    """The filter's instructions, 8 bytes each.

    Args:
        machine: Architecture, one for which ``has_filter`` is true.
        pid: The process that may signal and limit itself.
    """
    which = list(_AUDIT_ARCH).index(machine)
    yield _instruction(_LOAD, _ARCH)
    yield from _unless(_EQUAL, _AUDIT_ARCH[machine], _KILL)
    yield _instruction(_LOAD, _NUMBER)
    if machine == "x86_64":
        yield from _where(_AT_LEAST, _X32, _error(errno.EPERM))
    for numbers in _REFUSED.values():
        yield from _where(_EQUAL, numbers[which], _error(errno.EPERM))
    for hidden in _HIDDEN.values():
        yield from _where(_EQUAL, hidden[which], _error(errno.ENOSYS))
    yield from _where(_EQUAL, _IOCTL[which], _error(errno.ENOTTY))
    yield from _judged(_OPEN[which], 1, _where(_ANY_BIT, _WRITING, _error(errno.EACCES)))
    yield from _judged(_OPENAT[which], 2, _where(_ANY_BIT, _WRITING, _error(errno.EACCES)))
    yield from _judged(_CLONE[which], 0, _unless(_ANY_BIT, _THREAD, _error(errno.EPERM)))
    yield from _judged(_TGKILL[which], 0, _unless(_EQUAL, pid, _error(errno.EPERM)))
    yield from _judged(_PRLIMIT[which], 0, _unless(_EQUAL, 0, _error(errno.EPERM)))
    yield _instruction(_RETURN, _ALLOW)


def _judged(number: int | None, argument: int, test: Iterator[bytes]) -> Iterator[bytes]:
    """Hold the lower half of one argument of one call to a test; allow it where that passes."""
    if number is None:
        return
    low = 16 + 8 * argument  # both architectures put the lower half first
    body = [_instruction(_LOAD, low), *test, _instruction(_RETURN, _ALLOW)]
    yield _instruction(_EQUAL, number, 0, len(body))
    yield from body


def _where(test: int, value: int | None, result: int) -> Iterator[bytes]:
    """Return where the loaded word passes the test."""
    if value is not None:
        yield _instruction(test, value, 0, 1)
        yield _instruction(_RETURN, result)


def _unless(test: int, value: int, result: int) -> Iterator[bytes]:
    """Return where it does not."""
    yield _instruction(test, value, 1, 0)
    yield _instruction(_RETURN, result)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _error(number: int) -> int:
    return 0x00050000 | number
