"""An environment of its own for each peer, made from ``peers/NAME.txt`` and kept.

The peers bring TensorFlow, jax and other versions of what the product uses, so they are never
installed beside it. An environment is made anew when its requirements or its Python change.
Packages that bring nothing of the kind, such as weights, go into a folder for a child's PYTHONPATH.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from support.child import ChildFailedError, measure
from support.report import REPO

PEERS = REPO / "benchmarks" / "peers"
ENVIRONMENTS = REPO / ".cache" / "peers"


class PeerUnavailableError(Exception):
    """The peer cannot be used here; the message says why."""


def environment(name: str, *, preferred_python: str | None = None) -> Path:
    """The Python of the peer's environment, made on the first call (minutes, gigabytes).

    Args:
        name: Of the requirements file and the environment.
        preferred_python: Command to make it with if the machine has it, e.g. ``python3.12``.

    Raises:
        PeerUnavailableError: Its packages could not be installed.
    """
    base = _interpreter(preferred_python)
    python = str(ENVIRONMENTS / name / "bin" / "python")
    make = [base, "-m", "venv", str(ENVIRONMENTS / name)]
    _made(name, base, [make, [python, "-m", "pip", "install"]])
    return Path(python)


def packages(name: str) -> Path:
    """A folder of packages without their dependencies, for this Python, made on the first call.

    Args:
        name: Of the requirements file and the folder.

    Raises:
        PeerUnavailableError: They could not be installed.
    """
    folder = ENVIRONMENTS / name
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(folder)]
    return _made(name, sys.executable, [install])


def _made(name: str, base: str, commands: Sequence[Sequence[str]]) -> Path:
    """The folder of this name, made by the commands, the last of which installs requirements."""
    requirements = PEERS / f"{name}.txt"
    stamp = f"{_version(base)} {hashlib.sha256(requirements.read_bytes()).hexdigest()}"
    folder = ENVIRONMENTS / name
    stamp_file = folder / "requirements.sha256"
    if stamp_file.exists() and stamp_file.read_text(encoding="utf-8") == stamp:
        return folder
    print(f"making the environment of {name} in {folder.relative_to(REPO)} …", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        for command in [*commands[:-1], [*commands[-1], "-r", str(requirements)]]:
            measure(command, log=ENVIRONMENTS / f"{name}.log")
    except ChildFailedError as error:
        raise PeerUnavailableError(f"{name} could not be installed: {error}") from error
    stamp_file.write_text(stamp, encoding="utf-8")
    return folder


def versions(python: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """Installed versions of those of ``packages`` that the environment holds."""
    code = (
        "import importlib.metadata as m, sys\n"
        "have = {d.metadata['Name'].lower().replace('_', '-'): d.version"
        " for d in m.distributions()}\n"
        "print('\\n'.join(f'{p} {have[p]}' for p in sys.argv[1:] if p in have))"
    )
    done = subprocess.run(
        [python, "-c", code, *packages], capture_output=True, text=True, check=True
    )
    installed = dict(line.split() for line in done.stdout.splitlines())
    return {"python": _version(str(python)), **installed}


def _interpreter(preferred: str | None) -> str:
    """The preferred Python where it runs (a version manager's stub may not), else this one."""
    if preferred and shutil.which(preferred):
        probe = subprocess.run([preferred, "-c", ""], capture_output=True, check=False)
        if probe.returncode == 0:
            return preferred
    return sys.executable


def _version(python: str) -> str:
    code = "import platform; print(platform.python_version())"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()
