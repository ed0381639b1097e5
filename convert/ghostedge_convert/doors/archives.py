"""The zips that torch writes besides checkpoints: TorchScript and torch.export's ``.pt2``.

Which one a file is, its records say, whatever its name. Nothing in it is run or unpickled here.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

Archive = Literal["torchscript", "pt2"]

OLD_PROGRAM = "serialized_exported_program.json"
"""What only the ``.pt2`` of torch before 2.8 has."""

_ZIP = b"PK\x03\x04"


def archive_kind(path: Path) -> Archive | None:
    """What a file is; None where it is neither, or cannot be read."""
    try:
        with path.open("rb") as file:
            if file.read(4) != _ZIP:
                return None
        with zipfile.ZipFile(path) as archive:
            return _kind(archive.namelist())
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError):
        return None


def _kind(names: Sequence[str]) -> Archive | None:
    # All records are in one folder, named after the file; a program's were not before torch 2.8.
    records = {name.partition("/")[2] for name in names}
    if "constants.pkl" in records and any(name.startswith("code/") for name in records):
        return "torchscript"
    if "archive_format" in records or OLD_PROGRAM in names:
        return "pt2"
    return None
