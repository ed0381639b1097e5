"""Our runtime as a wheel, made of the package that is installed here.

So the device runs the very same code, of a source checkout too. The same package gives the same
bytes: entries are sorted, dated 1980 and stored without compression, which differs by zlib.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ghostedge_runtime

_DISTRIBUTION = "ghostedge-runtime"
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
