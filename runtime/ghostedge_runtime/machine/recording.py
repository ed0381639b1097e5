"""A machine as a JSON file: whatever was asked of it, and what it answered.

A recording holds exactly what `facts` and `sensors` read, so it shows a bug on a board that nobody
here has, and needs no list of files kept beside them. Serial numbers are left out; what remains
names hardware, system and, in a container, its identifier.

The document: ``{"recording_version": 1, "note": …, "platform": {…}, "files": {path: text},
"commands": {"vcgencmd measure_temp": {"code": 0, "text": "temp=48.3'C"}}}``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from ghostedge_runtime.decode import decode
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.machine.facts import machine_facts
from ghostedge_runtime.machine.sensors import snapshot
from ghostedge_runtime.machine.system import Answer, Platform, System

RECORDING_VERSION = 1
_SERIAL = re.compile(r"^(Serial\s*:\s*)[0-9a-fA-F]+$", re.MULTILINE)


@dataclass(frozen=True)
class Recording:
    """The document.

    Attributes:
        platform: What Python knew.
        files: Text by path; a file that was only listed is there with no text.
        commands: Answer by command line.
        note: Where it comes from.
    """

    recording_version: int
    platform: Platform
    files: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, Answer] = field(default_factory=dict)
    note: str = ""


class RecordedSystem:
    """A machine that answers as one did when it was recorded.

    Attributes:
        recording: What it answers from.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    def text(self, path: str) -> str | None:
        """The file's text as it was."""
        return self.recording.files.get(path, "").strip("\0 \n") or None

    def glob(self, pattern: str) -> tuple[str, ...]:
        """The recorded files that match, and the folders of recorded files.

        As the shell does it: ``*`` does not cross a slash.
        """
        wanted = pattern.split("/")
        matches = {
            "/".join(parts[: len(wanted)])
            for parts in (path.split("/") for path in self.recording.files)
            if len(parts) >= len(wanted) and all(map(fnmatchcase, parts, wanted))
        }
        return tuple(sorted(matches))

    def run(self, *words: str) -> Answer | None:
        """What the command answered; there is none that was not recorded."""
        return self.recording.commands.get(" ".join(words))

    def platform(self) -> Platform:
        """What Python knew."""
        return self.recording.platform


class _Listening:
    """A machine that keeps each answer it gives."""

    def __init__(self, system: System) -> None:
        self._system = system
        self.files: dict[str, str] = {}
        self.commands: dict[str, Answer] = {}

    def text(self, path: str) -> str | None:
        content = self._system.text(path)
        if content is not None:
            self.files[path] = _SERIAL.sub(r"\g<1>0", content)
        return content

    def glob(self, pattern: str) -> tuple[str, ...]:
        matches = self._system.glob(pattern)
        for path in matches:
            self.files.setdefault(path, "")
        return matches

    def run(self, *words: str) -> Answer | None:
        answer = self._system.run(*words)
        if answer is not None:
            self.commands[" ".join(words)] = answer
        return answer

    def platform(self) -> Platform:
        return self._system.platform()


def record(system: System, note: str = "") -> Recording:
    """Ask a machine everything once, and keep the answers."""
    listening = _Listening(system)
    machine_facts(listening)
    snapshot(0.0, listening)
    inside = {path for path in listening.files if listening.files[path]}
    folders = {p for p in listening.files if any(q.startswith(f"{p}/") for q in inside)}
    files = {p: listening.files[p] for p in sorted(listening.files) if p not in folders}
    return Recording(RECORDING_VERSION, system.platform(), files, listening.commands, note)


def to_json(recording: Recording) -> str:
    """The document's text, readable."""
    return json.dumps(asdict(recording), indent=1, ensure_ascii=False)


def read_recording(path: str | os.PathLike[str]) -> RecordedSystem:
    """The machine in a file.

    Raises:
        InputError: No such file, not a recording, or one of another version.
    """
    where = Path(path)
    remedy = "write one with `python -m ghostedge_runtime.machine.record > FILE`"
    try:
        parsed = json.loads(where.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"it cannot be read ({reason})", where=where, remedy=remedy) from error
    except ValueError as error:
        raise InputError(f"it is not JSON ({error})", where=where, remedy=remedy) from error
    version = parsed.get("recording_version") if isinstance(parsed, dict) else None
    if version != RECORDING_VERSION:
        raise InputError(
            f"it is no recording of version {RECORDING_VERSION}", where=where, remedy=remedy
        )
    return RecordedSystem(decode(Recording, parsed, where=where, place="recording"))
