"""One run's folder on the device: what is in it and how its parts are told.

    plan.json    what to measure, as the other end sent it
    models/…, inputs/…, data/…   the cache's files, linked under their own names
    alive        locked for as long as the run's supervisor lives; holds its process number
    beat         touched for as long as the other end listens
    status       a line of JSON for everything that happened
    log          what the measurement printed
    error.json   why it failed
    result.json  the measurement, whole or not there

Locks are flock's: the system lets go of them when their holder ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ghostedge_runtime.errors import DeviceError

State = Literal["waiting", "running", "done", "failed", "unheard", "stopped", "busy"]
LAST_STATES = frozenset({"done", "failed", "unheard", "stopped", "busy"})
_STOP_S = 10.0
_CLAIMS = 20


@dataclass(frozen=True)
class Limits:
    """How long the device's end waits for what, in seconds.

    Attributes:
        heartbeat_s: A run that nobody has listened to for so long ends itself.
        lock_wait_s: So long a run waits for those before it.
        cache_bytes: The files that stay here for later runs may take so many bytes together.
    """

    heartbeat_s: float
    lock_wait_s: float
    cache_bytes: int


class RunFolder:
    """A folder ``runs/ID``; it need not be there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan = path / "plan.json"
        self.alive = path / "alive"
        self.beat = path / "beat"
        self.status = path / "status"
        self.log = path / "log"
        self.error = path / "error.json"
        self.result = path / "result.json"

    @property
    def id(self) -> str:
        """The run's name."""
        return self.path.name

    def read_plan(self) -> dict[str, Any]:
        """What the other end sent.

        Raises:
            DeviceError: There is no such run.
        """
        try:
            plan: dict[str, Any] = json.loads(self.plan.read_text())
        except FileNotFoundError as error:
            raise DeviceError(
                f"run {self.id} is not there any more", remedy="start the measurement again"
            ) from error
        return plan

    def limits(self) -> Limits:
        """How long to wait for what."""
        return Limits(**self.read_plan()["limits"])

    def link_files(self, files: Path) -> None:
        """Make the folders and names that the plan gives the files.

        Hard links: a symbolic link to a name of 64 digits takes a block of its own on ext4.

        Args:
            files: The cache's folder of files.
        """
        plan = self.read_plan()
        for name in plan["folders"]:
            (self.path / name).mkdir(parents=True, exist_ok=True)
        for name, sha256 in plan["links"].items():
            link = self.path / name
            link.parent.mkdir(parents=True, exist_ok=True)
            try:
                link.hardlink_to(files / sha256)
            except PermissionError:  # Android lets no app make one
                link.symlink_to(files / sha256)

    def claim(self) -> int | None:
        """Become, with all who inherit the descriptor, the run's life; None if it has one.

        A run that has lived once is not given a second life.
        """
        handle = os.open(self.alive, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for _ in range(_CLAIMS):  # one who only looks whether it is alive holds it for a moment
            if self.status.exists():
                break
            if lock_now(handle):
                self.tell("waiting")
                return handle
            time.sleep(0.05)
        os.close(handle)
        return None

    def is_alive(self) -> bool:
        """Whether the run's supervisor lives."""
        try:
            handle = os.open(self.alive, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not lock_now(handle)
        finally:
            os.close(handle)

    def stop(self) -> None:
        """End the run and all it started; back when it has ended."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            end = time.monotonic() + _STOP_S
            if self.is_alive():
                with contextlib.suppress(OSError, ValueError):  # it ended meanwhile
                    os.kill(int(self.alive.read_text()), number)
            while self.is_alive() and time.monotonic() < end:
                time.sleep(0.05)

    def tell(self, state: State | None = None, **more: Any) -> None:
        """Append a line to the status."""
        line = json.dumps({**({} if state is None else {"state": state}), **more}) + "\n"
        handle = os.open(self.status, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line.encode())  # one write: lines of two processes do not mix
        finally:
            os.close(handle)

    def remove(self) -> None:
        """Remove the folder; the files it linked to stay."""
        shutil.rmtree(self.path, ignore_errors=True)


def lock_now(handle: int) -> bool:
    """Take an open file's lock, or say that another has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    part.replace(path)


def describe(limits: Limits) -> dict[str, Any]:
    """The limits as plain values, for the plan."""
    return asdict(limits)
