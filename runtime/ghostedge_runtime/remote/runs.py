"""A measurement on this device that outlives a broken connection, but not its owner.

`start` leaves a **supervisor** behind, detached from the connection. It waits for the device's
lock, so that two measurements never run at once, starts the measurement in a process group of its
own, and ends that group when nobody has listened for a while, when it is told to, and when the
measurement is over. Should the supervisor itself be killed, the measurement sees its input close
and ends its group. A run has a folder:

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
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NoReturn

from ghostedge_runtime.errors import DeviceError

State = Literal["waiting", "running", "done", "failed", "unheard", "stopped", "busy"]
LAST_STATES = frozenset({"done", "failed", "unheard", "stopped", "busy"})
_STOP_S = 10.0
_LOOK_S = 0.5
_GRACE_S = 3.0
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
                self.add_status("waiting")
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

    def add_status(self, state: State | None = None, **more: Any) -> None:
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


class _EndedError(Exception):
    """The run is over before its measurement."""

    def __init__(self, state: State, **more: Any) -> None:
        super().__init__(state)
        self.state, self.more = state, more


def start(run: RunFolder) -> None:
    """Leave a supervisor behind; asked again for the same run, do nothing."""
    handle = run.claim()
    if handle is None:
        return
    try:
        run.beat.touch()
        with run.log.open("ab") as log:
            child = subprocess.Popen(
                [*module(), "supervise", run.id],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(handle,),
            )
        os.write(handle, str(child.pid).encode())
    finally:
        os.close(handle)


def module() -> list[str]:
    """The command that this process was started by, without its verb."""
    return [sys.executable, "-m", "ghostedge_runtime.remote"]


def supervise(run: RunFolder) -> None:
    """Wait for the lock, measure, end; every way out is told in the status."""
    signal.signal(signal.SIGTERM, _stopped)
    limits = run.limits()
    beat = _Beat(run.beat, limits.heartbeat_s)
    try:
        run.link_files(run.path.parent.parent / "files")
        with _device_lock(run, limits, beat):
            run.add_status("running")
            _measure(run, beat)
        state, more = _outcome(run)
    except _EndedError as ended:
        state, more = ended.state, ended.more
    except OSError as error:
        state, more = "failed", {"error": {"what": str(error), "remedy": "start again"}}
    run.add_status(state, **more)


def _stopped(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _EndedError("stopped")


class _Beat:
    """Notices when nobody touches the heartbeat file any more.

    By the steady clock: a board without a clock of its own jumps by years when it learns the time.
    """

    def __init__(self, path: Path, limit_s: float) -> None:
        self._path, self._limit_s = path, limit_s
        self._last, self._seen = path.stat().st_mtime_ns, time.monotonic()

    def check(self) -> None:
        """Raise `_EndedError` when it has stood still for too long."""
        with suppress(FileNotFoundError):  # the folder was removed: nobody listens
            now = self._path.stat().st_mtime_ns
            if now != self._last:
                self._last, self._seen = now, time.monotonic()
        if time.monotonic() - self._seen > self._limit_s:
            raise _EndedError("unheard", seconds=self._limit_s)


@contextmanager
def _device_lock(run: RunFolder, limits: Limits, beat: _Beat) -> Iterator[None]:
    """Hold the lock of this user's cache folder; say who has it while waiting."""
    path = run.path.parent.parent / "lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    end, reported = time.monotonic() + limits.lock_wait_s, None
    try:
        while not lock_now(handle):
            beat.check()
            holder = _holder(path)
            if holder is not None and holder != reported:
                run.add_status("waiting", holder=holder)
                reported = holder
            if time.monotonic() > end:
                raise _EndedError("busy", holder=holder, seconds=limits.lock_wait_s)
            time.sleep(_LOOK_S)
        owner = {"id": run.id, "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({**owner, "by": run.read_plan()["by"]}).encode(), 0)
        yield
    finally:
        os.close(handle)


def _holder(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):  # it is just being written
        holder: dict[str, Any] = json.loads(path.read_text())
        return holder
    return None


def _measure(run: RunFolder, beat: _Beat) -> None:
    """Run the measurement to its end, or end it."""
    with run.log.open("ab") as log, child_group([*module(), "measure", run.id], log) as child:
        while child.poll() is None:
            beat.check()
            time.sleep(_LOOK_S)


@contextmanager
def child_group(command: list[str], log: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process in a group of its own; when the block ends none of the group is left."""
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
    )
    try:
        yield child
    finally:
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS's word for a group of zombies
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
            _wait(lambda: child.poll() is not None)
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdin is not None:
        child.stdin.close()


def _wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + _GRACE_S
    while not until() and time.monotonic() < end:
        time.sleep(0.05)


def _outcome(run: RunFolder) -> tuple[State, dict[str, Any]]:
    if run.result.exists():
        return "done", {}
    with suppress(OSError, ValueError):  # it was killed before it could say why
        return "failed", {"error": json.loads(run.error.read_text())}
    return "failed", {"error": {"what": "the measurement ended without a result", "ours": True}}


def end_with_parent() -> None:
    """End this process and its group as soon as its input closes: the parent has gone."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True, name="end with parent").start()
