"""The filter of system calls, judged as the kernel reads it."""

from __future__ import annotations

import errno
import os

import pytest

from ghostedge_convert.checkpoint.sandbox.seccomp import filter_program

ALLOW, KILL = 0x7FFF0000, 0x80000000


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filters_jumps_stay_inside_it(machine):
    program = list(filter_program(machine, 17))
    assert all(len(instruction) == 8 for instruction in program)
    for place, instruction in enumerate(program):
        if instruction[0] & 0x07 == 0x05:  # a jump
            assert place + 1 + max(instruction[2], instruction[3]) < len(program)
    assert program[-1][0] == 0x06  # a return


class Filter:
    """The kernel's reading of a filter: what it answers to a call."""

    def __init__(self, machine: str, pid: int = 17) -> None:
        self.program = list(filter_program(machine, pid))
        self.arch = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]

    def __call__(self, number: int, *arguments: int, arch: int | None = None) -> int:
        words = {0: number, 4: self.arch if arch is None else arch}
        words |= {16 + 8 * i: value & 0xFFFFFFFF for i, value in enumerate(arguments)}
        place, loaded = 0, 0
        while True:
            code, if_true, if_false, value = self._parts(self.program[place])
            place += 1
            if code == 0x06:
                return value
            if code == 0x20:
                loaded = words[value]
                continue
            test = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
            place += if_true if test else if_false

    @staticmethod
    def _parts(instruction: bytes) -> tuple[int, int, int, int]:
        return (int.from_bytes(instruction[:2], "little"), instruction[2], instruction[3],
                int.from_bytes(instruction[4:], "little"))  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "numbers"),
    [("x86_64", (257, 56, 234, 41, 0, 16)), ("aarch64", (56, 220, 131, 198, 63, 29))],
)
def test_the_filter_judges_calls_by_their_arguments(machine, numbers):
    judge = Filter(machine)
    openat, clone, tgkill, socket_, read, ioctl = numbers
    assert judge(read) == ALLOW
    assert judge(socket_) != ALLOW
    assert judge(ioctl, 3, 0x40086602) == 0x50000 | errno.ENOTTY
    assert judge(openat, 3, 0, os.O_RDONLY | os.O_CLOEXEC) == ALLOW
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC):
        assert judge(openat, 3, 0, flags) != ALLOW
    assert judge(clone, 0x3D0F00) == ALLOW  # a thread, as the C library makes one
    assert judge(clone, 17) != ALLOW  # a process
    assert judge(tgkill, 17) == ALLOW
    assert judge(tgkill, 16) != ALLOW
    assert judge(read, arch=0x40000003) == KILL


def test_x86s_other_set_of_numbers_is_refused():
    assert Filter("x86_64")(0x40000000 | 41) != ALLOW
