"""An output folder or file that is written whole, or stays as it was before.

**A folder** is filled in a temporary one beside the target, which takes the target's place by
rename only when everything succeeded; where the target is a link, what it leads to is replaced. A
folder that is already there is replaced only if it holds nothing but an earlier run's files:
whatever else a user keeps in it is never touched.

**A file** that is a regular one, or none yet, is written beside its name and takes its place by
rename; what the name links to is replaced, not the link. A pipe or a character device,
``/dev/stdout`` and ``/dev/fd/N`` are written to as they are and never replaced.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ghostedge.records.manifest import MANIFEST_NAME
from ghostedge.records.tuning import tuned_names
from ghostedge_runtime.errors import InputError

_FOLDER_REMEDY = "choose another folder with -o"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FILE_REMEDY = "choose another place"
_REFUSED = (
    (stat.S_ISDIR, "it is a folder", "name a file"),
    (stat.S_ISBLK, "it is a disk, which is not overwritten", "name a file"),
    (stat.S_ISSOCK, "it is a socket, which cannot be opened as a file", "name a file"),
)
_DESCRIPTOR = re.compile(r"/dev/std(?P<std>out|err)|(?:/dev|/proc/self)/fd/(?P<number>\d+)")
_MOST_LINKS = 40


Vouch = Callable[[Path], set[str]]


def check_target(target: Path, written: Vouch | None = None) -> None:
    """Refuse a target that a run could not, or should not, replace.

    Args:
        target: The folder.
        written: Names in a folder that an earlier run wrote; by default what its manifest names.

    Raises:
        InputError: It is a file, or holds something an earlier run did not write.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(
            "the output folder's name is taken by a file", where=target, remedy=_FOLDER_REMEDY
        )
    written = written or _written_before
    foreign = sorted({p.name for p in target.iterdir()} - written(target))
    if foreign:
        raise InputError(
            f"the output folder holds {foreign[0]!r}, which GhostEdge did not write there",
            where=target,
            remedy=_FOLDER_REMEDY,
        )


def _written_before(folder: Path) -> set[str]:
    """Names that the manifest in ``folder`` vouches for."""
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
        names = {MANIFEST_NAME} | {str(a["file"]) for a in manifest["artefacts"]}
        return names | tuned_names(str(manifest.get("name", "")))
    except (OSError, ValueError, KeyError, TypeError):
        return set()


@contextmanager
def staged_folder(target: Path, written: Vouch | None = None) -> Iterator[Path]:
    """Yield an empty folder that becomes ``target`` when the block ends without an error.

    Args:
        target: The folder.
        written: As for `check_target`.

    Raises:
        InputError: ``target`` may not be replaced, its parent cannot be written to, or the disk
            is full.
    """
    check_target(target, written)
    target = Path(os.path.realpath(target))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise InputError(
            f"cannot write there ({error.strerror})", where=target.parent, remedy=_FOLDER_REMEDY
        ) from error
    try:
        yield staging
        staging.chmod(0o755)  # mkdtemp makes it private
        _replace_folder(staging, target, written)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise InputError(
            f"there is no room for the files ({error.strerror})",
            where=target,
            remedy=_FOLDER_REMEDY,
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replace_folder(staging: Path, target: Path, written: Vouch | None) -> None:
    if not target.exists():
        staging.rename(target)
        return
    check_target(target, written)  # it may have changed while the run went on
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.rename(old)  # onto an empty folder: POSIX replaces it
    staging.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def check_file(path: Path) -> None:
    """Refuse a file that could not be written, before the work that fills it begins.

    Raises:
        InputError: Its folder is missing or read-only, or the name is that of a folder, a disk, a
            socket, or of something that this user may not write to.
    """
    mode = _mode(path)
    for is_such, what, remedy in _REFUSED:
        if mode is not None and is_such(mode):
            raise InputError(what, where=path, remedy=remedy)
    if mode is not None and not stat.S_ISREG(mode):
        if not os.access(path, os.W_OK):
            raise InputError("it cannot be written to", where=path, remedy=_FILE_REMEDY)
        return
    if _descriptor(path) is not None:
        return
    folder = _target(path).parent
    if not folder.is_dir():
        raise InputError(
            "there is no such folder", where=folder, remedy="make it, or choose another"
        )
    if not os.access(folder, os.W_OK):
        raise InputError("the folder cannot be written to", where=folder, remedy="choose another")


def write_file(path: Path, content: bytes) -> None:
    """Write all of it, or say that it could not be.

    Raises:
        InputError: The disk is full, or what it was to be written to has gone meanwhile or takes
            no more.
    """
    try:
        check_file(path)
        descriptor, mode = _descriptor(path), _mode(path)
        if descriptor is not None:
            _write_descriptor(descriptor, content)
        elif mode is not None and not stat.S_ISREG(mode):
            with path.open("wb", buffering=0) as place:
                _write_descriptor(place.fileno(), content)
        else:
            _replace_file(_target(path), content)
    except OSError as error:
        raise InputError(
            f"it cannot be written ({error.strerror or error})",
            where=path,
            remedy=_FILE_REMEDY,
        ) from error


def _mode(path: Path) -> int | None:
    """What kind of thing the name leads to, None where there is nothing."""
    try:
        return path.stat().st_mode
    except OSError:
        return None


def _target(path: Path) -> Path:
    """The file that a name leads to, whether it is there yet or not."""
    return Path(os.path.realpath(path))


def _descriptor(path: Path) -> int | None:
    """The number of this process's open file that a name stands for, by whatever links."""
    link = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow the last link too
    for _ in range(_MOST_LINKS):
        match = _DESCRIPTOR.fullmatch(str(link))
        if match:
            return int(match["number"] or {"out": 1, "err": 2}[match["std"]])
        if not link.is_symlink():
            return None
        link = Path(os.path.abspath(link.parent / link.readlink()))  # noqa: PTH100 - see above
    return None


def _write_descriptor(descriptor: int, content: bytes) -> None:
    """Write to what is open already, after what was printed to it before."""
    sys.stdout.flush()
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _replace_file(target: Path, content: bytes) -> None:
    """Write beside the target, then take its place by rename."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    staged = Path(name)
    try:
        # Closed before it takes the other's place: a full disk may be reported only then.
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        staged.chmod(0o666 & ~_umask())  # a temporary file is private
        staged.replace(target)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's mask; there is no way to read it but to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
