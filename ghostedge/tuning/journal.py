"""What `tune` has measured, a line each in the output folder, so that it is never measured twice.

A line holds the medians of files that were opened anew and run in turn, by the files' SHA-256 and
threads, under a key that covers the device, the engine and the bounds of the measurement. A line
that was cut short is left out; what is left out is only measured again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ghostedge.tuning.search import Purpose
from ghostedge_runtime.decode import decode
from ghostedge_runtime.errors import InputError


@dataclass(frozen=True)
class Load:
    """One measurement of some files in turn, each opened anew.

    Attributes:
        key: Of the device, the engine and the bounds.
        purpose: Which part of the search it is for.
        p50_ms: Medians by file; None of one that could not run.
    """

    key: str
    purpose: Purpose
    p50_ms: Mapping[str, float | None]


class Journal:
    """The measurements of one device and engine, in a file that holds those of others too.

    Args:
        path: The file; None keeps them in memory.
        conditions: What a measurement depends on beside the files.

    Attributes:
        loads: All of them, in order.
        resumed: How many of them were there before.
        damaged: Lines of the file that are none.
    """

    def __init__(self, path: Path | None, conditions: Mapping[str, object]) -> None:
        text = json.dumps(conditions, sort_keys=True)
        self._path, self._key = path, hashlib.sha256(text.encode()).hexdigest()[:16]
        self.loads: list[Load] = []
        self.damaged = 0
        if path is not None and path.exists():
            self._read(path)
        self.resumed = len(self.loads)

    def add(self, purpose: Purpose, p50_ms: Mapping[str, float | None]) -> None:
        """Keep a measurement."""
        load = Load(self._key, purpose, dict(p50_ms))
        self.loads.append(load)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(load)) + "\n")

    def of(self, purpose: Purpose, *files: str) -> list[Load]:
        """Those for a purpose that measured all of some files."""
        return [
            load
            for load in self.loads
            if load.purpose == purpose and all(file in load.p50_ms for file in files)
        ]

    def _read(self, path: Path) -> None:
        """Take the lines that are whole, and end one that is not, so that the next stands alone."""
        text = path.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            try:
                load = decode(Load, json.loads(line), where=path, place="a line")
            except (ValueError, InputError):
                self.damaged += 1
                continue
            if load.key == self._key:
                self.loads.append(load)
        if text and not text.endswith("\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")
