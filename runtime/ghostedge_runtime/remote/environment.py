"""Whether this Python can run models, and one beside it that can.

What is missing is installed into a virtual environment in the cache folder, never into the Python
that was found: that one may belong to the system, whose packages are the system's to manage.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ghostedge_runtime.errors import DeviceError
from ghostedge_runtime.formats.table import ENGINES
from ghostedge_runtime.remote.runs import lock_now
from ghostedge_runtime.remote.watch import Listener, UnheardError, attended, tail

# What a run needs, each tried in a process of its own: a wheel for another processor ends the
# process that imports it. An engine's library is imported as it will be for the models.
_BASE = {"numpy": "import numpy", "Pillow": "import PIL.Image", "flatbuffers": "import flatbuffers"}
_ENGINE = "from ghostedge_runtime.formats.table import resolve; resolve({place!r})()"


def lacking(backends: Sequence[str]) -> dict[str, str]:
    """What does not import here, by name, with the last line that Python said of it.

    An environment of ours counts as used now.
    """
    if (Path(sys.prefix) / "made").exists():
        os.utime(sys.prefix)
    wanted = dict(_BASE)
    for backend in backends:
        engine = ENGINES[backend]
        wanted[engine.library] = _ENGINE.format(place=engine.opens["default"])
    if _runs("; ".join(dict.fromkeys(wanted.values()))) is None:
        return {}
    reasons = {name: _runs(code) for name, code in wanted.items()}
    return {name: why for name, why in reasons.items() if why is not None}


def _runs(code: str) -> str | None:
    """None where the code runs, else why it does not."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        return f"it ended with {signal.Signals(-done.returncode).name}"
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith("  →")]
    return lines[-1] if lines else f"it ended with {done.returncode}"


def beside(cache: Path) -> Path:
    """The Python of the virtual environment that belongs to this Python; it need not be there."""
    mark = hashlib.sha256(f"{sys.executable} {platform.python_version()}".encode()).hexdigest()[:8]
    version = ".".join(platform.python_version_tuple()[:2])
    return cache / "venvs" / f"python{version}-{mark}" / "bin" / "python"


def install(cache: Path, wheel: Path, extras: Sequence[str], patience_s: float) -> Path:
    """Make that environment, if it is not there, and install the wheel's requirements into it.

    Returns:
        Its Python.

    Raises:
        DeviceError: No environment can be made, or a package cannot be installed.
        UnheardError: The other end has gone; what was going on was ended.
    """
    python, listener = beside(cache), Listener(patience_s)
    folder = python.parent.parent
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    with _alone(folder.parent / "lock", listener):
        _make(folder, log, listener)
        wanted = f"{wheel}[{','.join(extras)}]" if extras else str(wheel)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
        if attended([*pip, "--upgrade", wanted], log, listener) != 0:
            raise _no_packages(tail(log))
    return python


@contextmanager
def _alone(path: Path, listener: Listener) -> Iterator[None]:
    """Hold a lock: two clients of a fresh device would install into each other's environment."""
    with path.open("ab") as file:
        while not lock_now(file.fileno()):
            if not listener.listens():
                raise UnheardError
        yield


def _make(folder: Path, log: Path, listener: Listener) -> None:
    """An environment; one that was cut off half-made is made again."""
    if (folder / "made").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    if attended([sys.executable, "-m", "venv", str(folder)], log, listener) != 0:
        raise _no_venv(tail(log))
    (folder / "made").touch()


def _no_venv(output: str) -> DeviceError:
    version = ".".join(platform.python_version_tuple()[:2])
    return DeviceError(
        f"{sys.executable} cannot make a virtual environment ({_last(output)})",
        remedy=f"on the device: sudo apt install python3-venv (or python{version}-venv), "
        "or name a Python that has all: --device 'ssh://…?python=/path/to/python'",
    )


def _no_packages(output: str) -> DeviceError:
    """The error for what pip said; its words for a machine without a network are many."""
    what = f"pip could not install what GhostEdge needs ({_last(output)})"
    if sys.maxsize < 2**32:
        return DeviceError(
            f"{what}; its Python is a 32-bit one",
            remedy="no interpreter for 32-bit ARM exists but tflite-runtime 2.14, up to Python "
            "3.11, and no onnxruntime: use the 64-bit system, or install tflite-runtime "
            "'numpy<2' Pillow flatbuffers into an environment of Python 3.11 there and name it: "
            "--device 'ssh://…?python=/path/to/python'",
        )
    if "No matching distribution" in output and "from versions: none" not in output:
        version = platform.python_version()
        return DeviceError(
            f"{what}; there may be no wheel for Python {version} on {platform.machine()}",
            remedy="name another Python there: --device 'ssh://…?python=/path/to/python3.11'",
        )
    return DeviceError(
        what,
        remedy="let the device reach a package index once (a network, or pip's own settings for "
        "a proxy or a mirror), or name a Python there that has numpy, Pillow, flatbuffers and "
        "ai-edge-litert: --device 'ssh://…?python=/path/to/python'",
    )


def _last(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "Error" in line]
    return (errors or lines or ["it said nothing"])[-1]
