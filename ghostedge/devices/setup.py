"""A Python on the device that can measure, with our runtime on its path.

The device's own is looked at first. What it lacks is installed once, into an environment in our
folder there; nothing is ever installed into a Python that was found.

Our runtime travels as a wheel made of the package that is installed here, so that the device runs
the very same code, of a source checkout too. The same package gives the same bytes: entries are
sorted, dated 1980 and stored without compression, which differs by zlib.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import importlib.resources
import io
import shlex
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import ghostedge_runtime
from ghostedge.devices.connection import LostError, Steady, beating, sending
from ghostedge_runtime.errors import DeviceError
from ghostedge_runtime.formats.table import ENGINES, FORMATS, Engine

_DISTRIBUTION = "ghostedge-runtime"
_MODULE = "ghostedge_runtime.remote"
_OLDEST = (3, 10)
_STAMP = (1980, 1, 1, 0, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: ghostedge\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@dataclass(frozen=True)
class Wheel:
    """A wheel in memory.

    Attributes:
        name: Its file name.
        data: Its bytes.
        sha256: Of them, in hexadecimal.
    """

    name: str
    data: bytes
    sha256: str


def runtime_wheel() -> Wheel:
    """The wheel of the ``ghostedge_runtime`` that is running."""
    version = ghostedge_runtime.__version__
    stem = f"{_DISTRIBUTION.replace('-', '_')}-{version}"
    entries = _package() | {
        f"{stem}.dist-info/METADATA": _metadata(version).encode(),
        f"{stem}.dist-info/WHEEL": _WHEEL.encode(),
    }
    record = f"{stem}.dist-info/RECORD"
    entries[record] = _record(entries, record).encode()
    data = _zip(entries)
    return Wheel(f"{stem}-py3-none-any.whl", data, hashlib.sha256(data).hexdigest())


def _package() -> dict[str, bytes]:
    """The package's files by their path in the wheel."""
    root = Path(ghostedge_runtime.__file__).parent
    files = [*root.rglob("*.py"), *root.rglob("py.typed")]
    return {path.relative_to(root.parent).as_posix(): path.read_bytes() for path in files}


def _metadata(version: str) -> str:
    """What pip needs to know, in the oldest version of the format that can say it."""
    installed = importlib.metadata.metadata(_DISTRIBUTION)
    lines = ["Metadata-Version: 2.1", f"Name: {_DISTRIBUTION}", f"Version: {version}"]
    for key in ("Requires-Python", "Requires-Dist", "Provides-Extra"):
        lines += [f"{key}: {value}" for value in sorted(installed.get_all(key) or [])]
    return "\n".join(lines) + "\n"


def _record(entries: Mapping[str, bytes], own: str) -> str:
    lines = []
    for name, data in sorted(entries.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        lines.append(f"{name},sha256={digest},{len(data)}")
    return "\n".join([*lines, f"{own},,"]) + "\n"


def _zip(entries: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(entries.items()):
            info = zipfile.ZipInfo(name, _STAMP)
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return stream.getvalue()


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
    engines = [ENGINES[name] for name in backends]
    for engine in engines:
        if facts["bits"] not in engine.bits:
            raise DeviceError(
                f"{engine.library} has no {facts['bits']}-bit version, and Python there is one "
                f"({facts['machine']})",
                where=steady.connection.device.name,
                remedy=f"leave the {_run_by(engine)} files out for this device, or install its "
                "64-bit system",
            )
    own = Interpreter(facts["python"], facts["wheel"])
    looked = steady.ask(own.verb("check", *backends), prefix=own.prefix)
    if not looked["lacking"]:
        return own
    if looked["beside"]:
        beside = Interpreter(looked["beside"], own.wheel)
        if not steady.ask(beside.verb("check", *backends), prefix=beside.prefix)["lacking"]:
            return beside
    say(f"installs what its Python lacks ({', '.join(looked['lacking'])}); this is done once")
    extras = sorted({engine.extra for engine in engines if engine.extra is not None})
    beside = Interpreter(_installed(steady, own, extras), own.wheel)
    _check_made(steady, beside, backends)
    return beside


def _run_by(engine: Engine) -> str:
    """The suffixes of what an engine runs where no other is named."""
    return ", ".join(fmt.suffix for fmt in FORMATS.values() if fmt.engines[0] == engine.name)


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


def _check_made(steady: Steady, interpreter: Interpreter, backends: Sequence[str]) -> None:
    lacking = steady.ask(interpreter.verb("check", *backends), prefix=interpreter.prefix)["lacking"]
    if lacking:
        reasons = "; ".join(f"{name}: {why}" for name, why in lacking.items())
        raise DeviceError(
            f"what was installed there does not import ({reasons})",
            where=steady.connection.device.name,
            remedy=f"try `{interpreter.python}` on the device; "
            "or name another Python: ?python=/path",
        )
