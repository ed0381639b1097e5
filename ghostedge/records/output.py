"""An output folder that is either whole or not there.

Files are built in a temporary folder beside the target, which takes the target's place by rename
only when everything succeeded; where the target is a link, what it leads to is replaced. A folder
that is already there is replaced only if it holds nothing but an earlier run's files: whatever else
a user keeps in it is never touched.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ghostedge.records.manifest import MANIFEST_NAME
from ghostedge_runtime.errors import InputError

Vouch = Callable[[Path], set[str]]
_REMEDY = "choose another folder with -o"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


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
            "the output folder's name is taken by a file", where=target, remedy=_REMEDY
        )
    written = written or _written_before
    foreign = sorted({p.name for p in target.iterdir()} - written(target))
    if foreign:
        raise InputError(
            f"the output folder holds {foreign[0]!r}, which GhostEdge did not write there",
            where=target,
            remedy=_REMEDY,
        )


def _written_before(folder: Path) -> set[str]:
    """Names that the manifest in ``folder`` vouches for."""
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
        return {MANIFEST_NAME} | {str(a["file"]) for a in manifest["artefacts"]}
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
            f"cannot write there ({error.strerror})", where=target.parent, remedy=_REMEDY
        ) from error
    try:
        yield staging
        staging.chmod(0o755)  # mkdtemp makes it private
        _replace(staging, target, written)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise InputError(
            f"there is no room for the files ({error.strerror})", where=target, remedy=_REMEDY
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replace(staging: Path, target: Path, written: Vouch | None) -> None:
    if not target.exists():
        staging.rename(target)
        return
    check_target(target, written)  # it may have changed while the run went on
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.rename(old)  # onto an empty folder: POSIX replaces it
    staging.rename(target)
    shutil.rmtree(old, ignore_errors=True)
