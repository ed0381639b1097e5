"""One output file that is either whole, or as it was before."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ghostedge_runtime.errors import InputError


def check_file(path: Path) -> None:
    """Refuse a file that could not be written, before the work that fills it begins.

    Raises:
        InputError: Its folder is missing or read-only, or the name is a folder's.
    """
    if path.is_dir():
        raise InputError("it is a folder", where=path, remedy="name a file")
    if not path.parent.is_dir():
        raise InputError(
            "there is no such folder", where=path.parent, remedy="make it, or choose another"
        )
    if not os.access(path.parent, os.W_OK):
        raise InputError(
            "the folder cannot be written to", where=path.parent, remedy="choose another"
        )


def write_file(path: Path, content: bytes) -> None:
    """Write beside the target, then take its place by rename.

    Raises:
        InputError: The disk is full, or the folder went away meanwhile.
    """
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as made:
            staged = Path(made.name)
            try:
                made.write(content)
                made.flush()
                staged.chmod(0o666 & ~_umask())  # a temporary file is private
                staged.replace(path)
            except BaseException:
                staged.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise InputError(
            f"it cannot be written ({error.strerror or error})",
            where=path,
            remedy="choose another place",
        ) from error


def _umask() -> int:
    """The process's mask; there is no way to read it but to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
