"""Files that were sent to this device, kept by what they hold.

``files/SHA256`` in the cache folder is a model or an image. A file is written under another name,
its SHA-256 is computed on the way, and only then it takes its name: what has its name is whole, and
what a broken connection left half-written is sent again. Runs link to these files; `tidy` removes
the ones that were used longest ago once there are too many, and wheels and environments that
nobody has used for three months.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ghostedge_runtime.remote.runs import RunFolder

_CHUNK = 1 << 20
_LEFT_BEHIND_S = 86400.0
_UNUSED_S = 90 * 86400.0


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """``ghostedge`` in ``XDG_CACHE_HOME``, or in ``~/.cache`` where that is unset or relative."""
    named = (os.environ if environment is None else environment).get("XDG_CACHE_HOME", "")
    base = Path(named) if os.path.isabs(named) else Path("~/.cache").expanduser()  # noqa: PTH117 - of text that may be empty
    return base / "ghostedge"


def missing(cache: Path, sizes: Mapping[str, int], models: Iterable[str]) -> list[str]:
    """Which files are not here yet, by SHA-256.

    Images are told by name and size; models, which are few, are read and hashed again, so that no
    figure is ever of a file that a failing memory card changed.
    """
    again = set(models)
    return [
        sha256
        for sha256, size in sizes.items()
        if not _is_here(cache / "files" / sha256, size, sha256 if sha256 in again else None)
    ]


def _is_here(path: Path, size: int, sha256: str | None) -> bool:
    try:
        if path.stat().st_size != size:
            return False
        os.utime(path)  # used now: the last to be removed
        return sha256 is None or _sha256(path) == sha256
    except OSError:
        return False


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def receive(cache: Path, stream: BinaryIO, patience_s: float) -> Iterator[dict[str, Any]]:
    """Take files from a tar stream whose members are named by their SHA-256.

    Args:
        cache: The cache folder.
        stream: The tar, uncompressed.
        patience_s: A stream that is silent for so long has lost its other end: the process ends.

    Yields:
        ``{"kept": sha256}`` for every file that is now here, ``{"refused": sha256}`` for one whose
        content was another.
    """
    folder = cache / "files"
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=_Impatient(stream, patience_s), mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                is_whole = _keep(folder, content, member.name)
                yield {"kept" if is_whole else "refused": member.name}
    # Now, and not in the middle of the measurement, what was written goes to the card.
    os.sync()


def _keep(folder: Path, content: Any, sha256: str) -> bool:
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(prefix=".part-", dir=folder)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() == sha256:
            part.replace(folder / sha256)
            return True
        return False
    finally:
        part.unlink(missing_ok=True)


class _Impatient(io.BufferedIOBase):
    """A stream whose every read must give something within some seconds.

    A connection that broke without a word leaves the reader waiting for hours.
    """

    def __init__(self, stream: BinaryIO, seconds: float) -> None:
        super().__init__()
        self._stream, self._seconds = stream, seconds

    def read(self, size: int | None = -1) -> bytes:
        """As any stream's; SIGALRM ends the process when it takes too long."""
        signal.setitimer(signal.ITIMER_REAL, self._seconds)
        try:
            return self._stream.read(-1 if size is None else size)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def tidy(cache: Path, bound: int) -> None:
    """Remove what nobody came back for, then the oldest files above ``bound``.

    Files that a run still names stay, whatever their age.

    Args:
        cache: The cache folder.
        bound: Bytes that the files may take together.
    """
    named: set[str] = set()
    for folder in _children(cache / "runs"):
        run = RunFolder(folder)
        if not run.is_alive() and _age_s(folder) > _LEFT_BEHIND_S:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            named |= _named_by(run)
    for part in _children(cache / "files"):
        if part.name.startswith(".part-") and _age_s(part) > _LEFT_BEHIND_S:
            part.unlink(missing_ok=True)
    for folder in (*_children(cache / "wheels"), *_children(cache / "venvs")):
        if folder.is_dir() and _age_s(folder) > _UNUSED_S:
            shutil.rmtree(folder, ignore_errors=True)
    _remove_oldest(cache / "files", named, bound)


def _named_by(run: RunFolder) -> set[str]:
    with contextlib.suppress(OSError, ValueError):  # one that is being written or removed
        return set(json.loads(run.plan.read_text())["sizes"])
    return set()


def _remove_oldest(folder: Path, named: set[str], bound: int) -> None:
    files = []
    for path in _children(folder):
        with contextlib.suppress(OSError):
            state = path.stat()
            files.append((state.st_mtime, state.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= bound:
            return
        if path.name not in named and not path.name.startswith("."):
            path.unlink(missing_ok=True)
            total -= size


def _children(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _age_s(path: Path) -> float:
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime
    return 0.0
