"""Devices whose Python is missing, old, bare, or cannot be given what it lacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest

import ghostedge_runtime
from ghostedge.devices import DevicesFailedError, Limits, run_on
from ghostedge_runtime.record import BenchJob
from ghostedge_runtime.remote import environment

NEEDED = ("numpy", "pillow", "flatbuffers", "ai-edge-litert")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A Python with nothing installed."""
    folder = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / "bin" / "python"


def stand_in(folder: Path, name: str) -> None:
    """A wheel of that name that lends the packages of this very Python."""
    stem = f"{name.replace('-', '_')}-99.0"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        entries = {
            f"{name}_lent.pth": sysconfig.get_path("platlib"),
            f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 99.0",
            f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
        }
        for path, text in entries.items():
            wheel.writestr(path, text)
        record = f"{stem}.dist-info/RECORD"
        wheel.writestr(record, "".join(f"{path},,\n" for path in (*entries, record)))


def test_a_device_without_python_is_told_how_to_get_one(
    there: Any, quick: BenchJob, short: Limits, listener: Any
) -> None:
    word = there.word.partition("?")[0] + "?python=/no/such/python3"
    with pytest.raises(DevicesFailedError) as caught:
        run_on([word], quick, listener, short)
    assert "/no/such/python3 cannot be run there" in str(caught.value)
    assert "sudo apt install python3" in str(caught.value)
    assert not there.cache.exists()


def test_what_a_bare_python_lacks_is_installed_beside_it_once_or_said_to_be_out_of_reach(
    there: Any, quick: BenchJob, short: Limits, listener: Any, bare: Path
) -> None:
    word = there.word.partition("?")[0] + f"?python={bare}"
    shop = bare.parents[2] / "shop"
    shop.mkdir()
    there.restart(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(shop), PIP_CONFIG_FILE=os.devnull)
    with pytest.raises(DevicesFailedError) as caught:
        run_on([word], quick, listener, short)
    lacks = "installs what its Python lacks (numpy, Pillow, flatbuffers, TFLite interpreter)"
    assert lacks in listener.text
    assert "pip could not install what GhostEdge needs" in str(caught.value)
    assert "let the device reach a package index once" in str(caught.value)

    for name in NEEDED:
        stand_in(shop, name)
    (run,) = run_on([word], quick, listener, short)
    assert run.results[0].error is None
    listener.lines.clear()
    run_on([word], quick, listener, short)
    assert "installs" not in listener.text
    assert not (bare.parent / "pip").exists()  # nothing went into the Python that was found


def verb(*words: str, **environment: str) -> dict[str, Any]:
    """The last answer of a verb, run from the source with another ``sys.executable``."""
    root = Path(ghostedge_runtime.__file__).parents[1]
    code = (
        "import sys; sys.path += ['x.whl']; sys.executable = sys.argv[1];"
        "from ghostedge_runtime.remote.server import main; main(sys.argv[2:])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env={**os.environ, **environment, "PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,  # open: the other end listens
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        reply = process.stdout.read().splitlines()[-1]
    answer: dict[str, Any] = json.loads(reply.removeprefix("ghostedge-reply "))
    return answer


def fake_python(folder: Path, script: str) -> Path:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_python_without_venv_is_told_the_package(tmp_path: Path) -> None:
    python = fake_python(tmp_path, "echo 'Error: ensurepip is not available' >&2; exit 1")
    error = verb(str(python), "install", XDG_CACHE_HOME=str(tmp_path))["error"]
    assert "cannot make a virtual environment (Error: ensurepip is not available)" in error["what"]
    assert "sudo apt install python3-venv" in error["remedy"]


def test_a_package_that_ends_the_process_is_lacking_with_the_signal(tmp_path: Path) -> None:
    """As a wheel for a newer processor does on an older one."""
    python = fake_python(tmp_path, "kill -ILL $$")
    lacking = verb(str(python), "check", "litert", XDG_CACHE_HOME=str(tmp_path))["lacking"]
    assert lacking["TFLite interpreter"] == "it ended with SIGILL"


@pytest.mark.parametrize(
    ("said", "bits", "remedy"),
    [
        ("ERROR: Temporary failure in name resolution", 64, "reach a package index once"),
        (
            "ERROR: Could not find a version (from versions: 1.4)\n"
            "ERROR: No matching distribution found for ai-edge-litert",
            64,
            "name another Python there",
        ),
        ("ERROR: No matching distribution found for x", 32, "up to Python 3.11"),
    ],
)
def test_what_pip_says_becomes_a_remedy(
    said: str, bits: int, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment.sys, "maxsize", 2 ** (bits - 1) - 1)
    error = environment._no_packages(said)
    assert said.splitlines()[-1] in error.what
    assert remedy in str(error.remedy)


def test_this_python_lacks_nothing() -> None:
    assert environment.lacking(["litert", "onnxruntime"]) == {}
