"""A Python on the device that can measure, with our runtime on its path.

The device's own is looked at first. What it lacks is installed once, into an environment in our
folder there; nothing is ever installed into a Python that was found.
"""

from __future__ import annotations

import importlib.resources
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ghostedge.devices.connection import LostError
from ghostedge.devices.feeds import beating, sending
from ghostedge.devices.steady import Steady
from ghostedge.devices.wheel import Wheel
from ghostedge_runtime.errors import DeviceError

_OLDEST = (3, 10)
_MODULE = "ghostedge_runtime.remote"


@dataclass(frozen=True)
class Interpreter:
    """How to run our runtime there.

    Attributes:
        python: Path of the interpreter.
        wheel: Path of our runtime's wheel.
    """

    python: str
    wheel: str

    @property
    def prefix(self) -> str:
        """Shell text before every command: nothing that lies in the home directory is imported."""
        return f"cd {shlex.quote(str(PurePosixPath(self.wheel).parent))} && "

    def verb(self, *words: str) -> list[str]:
        """The command for one of `ghostedge_runtime.remote.server`."""
        settings = [f"PYTHONPATH={self.wheel}", "PYTHONDONTWRITEBYTECODE=1"]
        return ["env", *settings, self.python, "-m", _MODULE, *words]


def find_interpreter(
    steady: Steady, wheel: Wheel, backends: Sequence[str], say: Callable[[str], None]
) -> Interpreter:
    """Send the wheel, if it is not there, and find or make a Python that can run the backends.

    Raises:
        DeviceError: There is no Python, an old one, or one that cannot be given what it lacks.
    """
    facts = _facts(steady, wheel)
    if facts["bits"] == 32 and "onnxruntime" in backends:
        raise DeviceError(
            f"onnxruntime has no 32-bit version, and Python there is one ({facts['machine']})",
            where=steady.connection.device.name,
            remedy="leave the .onnx files out for this device, or install its 64-bit system",
        )
    own = Interpreter(facts["python"], facts["wheel"])
    looked = steady.ask(own.verb("check", *backends), prefix=own.prefix)
    if not looked["lacking"]:
        return own
    if looked["beside"]:
        made = Interpreter(looked["beside"], own.wheel)
        if not steady.ask(made.verb("check", *backends), prefix=made.prefix)["lacking"]:
            return made
    say(f"installs what its Python lacks ({', '.join(looked['lacking'])}); this is done once")
    extras = ["onnx"] if "onnxruntime" in backends else []
    made = Interpreter(_installed(steady, own, extras), own.wheel)
    _check_made(steady, made, backends)
    return made


def _facts(steady: Steady, wheel: Wheel) -> dict[str, Any]:
    """What the device is, with the wheel on it."""
    python = steady.connection.device.python
    facts = steady.ask([python, "-c", _first_words(), "facts", wheel.sha256, wheel.name])
    if not facts["has_wheel"]:
        words = [python, "-c", _first_words(), "receive", wheel.sha256, wheel.name]
        facts = steady.ask(words, sending(wheel.data))
    return facts


def _first_words() -> str:
    """`bootstrap`'s text as one line; a Python that is too old says so."""
    source = importlib.resources.files("ghostedge.devices").joinpath("bootstrap.py").read_text()
    needed = ".".join(map(str, _OLDEST))
    answer = (
        'ghostedge-reply {"error": {"what": "its Python is %d.%d, ' + needed + ' is needed", '
        '"remedy": "name a newer one there: ssh://...?python=/path/to/python3"}}'
    )
    return (
        f"import sys; exec({source!r}) if sys.version_info >= {_OLDEST} "
        f"else print({answer!r} % sys.version_info[:2])"
    )


def _installed(steady: Steady, own: Interpreter, extras: Sequence[str]) -> str:
    def once() -> str:
        feed = beating(steady.limits.beat_s)
        for reply in steady.replies(own.verb("install", *extras), feed, own.prefix):
            return str(reply["python"])
        raise LostError("the installation was cut off")

    return steady.steadily(once)


def _check_made(steady: Steady, made: Interpreter, backends: Sequence[str]) -> None:
    lacking = steady.ask(made.verb("check", *backends), prefix=made.prefix)["lacking"]
    if lacking:
        said = "; ".join(f"{name}: {why}" for name, why in lacking.items())
        raise DeviceError(
            f"what was installed there does not import ({said})",
            where=steady.connection.device.name,
            remedy=f"try `{made.python}` on the device; or name another Python: ?python=/path",
        )
