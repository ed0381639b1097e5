"""What is said of the machine is true of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ghostedge_runtime import host

CHILD = "from ghostedge_runtime.host import peak_rss_mb; print(peak_rss_mb())"
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
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    flags: str | None,
    answer: bool,
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(flags)
    monkeypatch.setattr(host, "_CPUINFO", cpuinfo)
    monkeypatch.setattr(host.platform, "machine", lambda: machine)
    assert host.is_x86_without_vnni() is answer
