"""What is said of the machine is true of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
