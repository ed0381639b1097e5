"""ARM code makes the same corrupted images as this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import hashlib, numpy as np
from ghostedge_runtime.corruptions import CORRUPTIONS, STRENGTHS, corrupt
y, x = np.mgrid[:120, :97]
pixels = np.stack([(x * 3 + y) % 256, (x * y // 7) % 256, 255 - (y * 2) % 256], -1).astype("uint8")
for name in CORRUPTIONS:
    worse = b"".join(corrupt(pixels, name, strength).tobytes() for strength in STRENGTHS)
    print(name, hashlib.sha256(worse).hexdigest())
"""


def digests(python: str | Path) -> list[str]:
    done = subprocess.run([python, "-c", CODE], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_every_corruption_gives_the_same_pixels(board: Path) -> None:
    here = digests(sys.executable)
    assert len(here) == 7
    assert digests(board / "python") == here
