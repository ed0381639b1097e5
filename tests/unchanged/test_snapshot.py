"""What a user can rely on is what snapshot.json says: help, public names, the bytes of the files.

A failure here is either a mistake or a change that was meant; for a change that was meant,
``python tests/unchanged/snapshot.py --write`` rewrites snapshot.json, which is committed with it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    snapshot: dict[str, Any] = json.loads((HERE / "snapshot.json").read_text(encoding="utf-8"))
    return snapshot


@pytest.fixture(scope="module")
def current(tmp_path_factory) -> dict[str, Any]:
    """Of the code as it is; by a process of its own, whose number of threads is its own."""
    run = subprocess.run(
        [sys.executable, str(HERE / "snapshot.py")],
        cwd=tmp_path_factory.mktemp("snapshot"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    snapshot: dict[str, Any] = json.loads(run.stdout)
    return snapshot


def test_the_help_of_every_command_is_unchanged(stored, current):
    if stored["click"] != current["click"]:
        pytest.skip(f"help is laid out by click {current['click']}, stored of {stored['click']}")
    assert current["help"] == stored["help"]


def test_the_public_names_and_their_parameters_are_unchanged(stored, current):
    assert current["names"] == stored["names"]


def test_the_bytes_of_every_model_file_are_unchanged(stored, current):
    differing = {
        key: (value, current["environment"][key])
        for key, value in stored["environment"].items()
        if value != current["environment"][key]
    }
    if differing:
        pytest.skip(f"files were hashed with other libraries or instructions: {differing}")
    assert current["sha256"] == stored["sha256"]
    assert sum(len(files) for files in stored["sha256"].values()) == 18
