"""A measurement on the device that outlives a broken connection, but not its owner.

`start` leaves a **supervisor** behind, detached from the connection. It waits for the device's
lock, so that two measurements never run at once, starts the measurement in a process group of its
own, and ends that group when nobody has listened for a while, when it is told to, and when the
measurement is over. Should the supervisor itself be killed, the measurement sees its input close
and ends its group.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from ghostedge_runtime.remote.runs import Limits, RunFolder, State, lock_now

_LOOK_S = 0.5
_GRACE_S = 3.0


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
            run.tell("running")
            _measure(run, beat)
        state, more = _outcome(run)
    except _EndedError as ended:
        state, more = ended.state, ended.more
    except OSError as error:
        state, more = "failed", {"error": {"what": str(error), "remedy": "start again"}}
    run.tell(state, **more)


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
    end, told = time.monotonic() + limits.lock_wait_s, None
    try:
        while not lock_now(handle):
            beat.check()
            holder = _holder(path)
            if holder is not None and holder != told:
                run.tell("waiting", holder=holder)
                told = holder
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
