"""What is said of the machine is true of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ghostedge_runtime.machine.facts import Host, host_facts, is_x86_without_vnni, machine_facts
from ghostedge_runtime.machine.recording import RecordedSystem, Recording, read_recording
from ghostedge_runtime.machine.system import Platform

MACHINES = Path(__file__).parent / "machines"
CHILD = "from ghostedge_runtime.machine.facts import peak_rss_mb; print(peak_rss_mb())"
PARENT = f"""
import subprocess, sys
ballast = bytearray(b"x") * 400_000_000
print(subprocess.run([sys.executable, "-c", {CHILD!r}], capture_output=True, text=True).stdout)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which is Linux's")
def test_peak_memory_is_the_processs_own_and_not_that_of_the_one_that_started_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARENT], capture_output=True, text=True, check=True
    )
    assert 5 < float(done.stdout) < 200


def x86_or_not(machine: str, cpuinfo: str | None) -> RecordedSystem:
    words = Platform("Linux", "6.1", machine, "", "Linux", "3.11.2", 64)
    return RecordedSystem(
        Recording(1, words, {} if cpuinfo is None else {"/proc/cpuinfo": cpuinfo})
    )


@pytest.mark.parametrize(
    ("machine", "flags", "answer"),
    [
        ("x86_64", "flags : fpu avx2 fma", True),
        ("x86_64", "flags : fpu avx2 avx512_vnni", False),
        ("x86_64", "flags : fpu avx2 avx_vnni", False),
        ("AMD64", None, True),
        ("aarch64", "Features : fp asimd", False),
    ],
)
def test_an_x86_that_may_overflow_in_int8_is_told_from_others(
    machine: str, flags: str | None, answer: bool
) -> None:
    assert is_x86_without_vnni(x86_or_not(machine, flags)) is answer


def test_the_short_facts_are_those_of_the_whole() -> None:
    machine = read_recording(MACHINES / "pi5.json")
    host, facts = host_facts(machine), machine_facts(machine)
    assert host == Host(
        machine="aarch64",
        cpu="Cortex-A76",
        board="Raspberry Pi 5 Model B Rev 1.0",
        cores=4,
        memory_mb=8453,
        os="Debian GNU/Linux 13 (trixie)",
        kernel="Linux 6.12.47+rpt-rpi-2712",
        python="3.13.5",
        governor="ondemand",
    )
    assert (host.cpu, host.os, host.cores) == (facts.cpu, facts.os, facts.cores)
