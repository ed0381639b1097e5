"""One measurement on one device, from connecting to tidying up."""

from __future__ import annotations

import getpass
import json
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ghostedge.devices.address import Device
from ghostedge.devices.connection import (
    Connection,
    Limits,
    LostError,
    Steady,
    archiving,
    beating,
    first_open,
    sending,
)
from ghostedge.devices.parcel import Parcel
from ghostedge.devices.setup import Interpreter, Wheel, find_interpreter
from ghostedge_runtime.errors import DeviceError, GhostEdgeError, InputError
from ghostedge_runtime.record import BenchRun, runs_of
from ghostedge_runtime.remote.runs import LAST_STATES
from ghostedge_runtime.remote.runs import Limits as ThereLimits

Say = Callable[[str], None]
ReportShare = Callable[[str, float], None]


class Session:
    """A run of a job on a device over SSH.

    Args:
        device: Where.
        parcel: What.
        wheel: Our runtime.
        limits: How long to wait.
        say: Takes a line for the user.
        report: Told what is being measured, and the share that is done, 0 to 1.
    """

    def __init__(
        self,
        device: Device,
        parcel: Parcel,
        wheel: Wheel,
        limits: Limits,
        *,
        say: Say,
        report: ReportShare,
    ) -> None:
        self._device, self._parcel, self._wheel = device, parcel, wheel
        self._limits, self._say, self._report = limits, say, report
        self._connection = Connection(device, limits)
        self._steady = Steady(self._connection, limits, say)
        self._id = secrets.token_hex(8)
        self._interpreter: Interpreter | None = None
        self._prepared, self._folder = False, ""
        self._offset = 0
        self._last: Mapping[str, Any] = {}

    def cancel(self) -> None:
        """End the measurement, from another thread; `run` then raises `CancelledError`."""
        self._connection.cancel()

    def run(self) -> BenchRun:
        """Measure there.

        Raises:
            DeviceError: It could not be; the message names the device and the remedy.
            GhostEdgeError: A fault of ours there.
            CancelledError: `cancel` was called.
        """
        try:
            first_open(self._connection)
            try:
                return self._measured()
            finally:
                self._leave()
        finally:
            self._connection.close()

    def _measured(self) -> BenchRun:
        backends = sorted({case.backend for case in self._parcel.job.cases})
        self._interpreter = find_interpreter(self._steady, self._wheel, backends, self._say)
        self._steady.steadily(self._send_missing)
        self._ask("start", self._id)
        return self._run_in(self._steady.steadily(self._follow))

    def _send_missing(self) -> None:
        """Tell the plan and send the files that are not there; those that arrive stay."""
        self._prepared = True
        plan = self._parcel.plan(self._device.name, asdict(self._limits_there()), _who())
        prepared = self._ask_once("prepare", self._id, feed=sending(plan))
        self._folder, missing = prepared["folder"], prepared["missing"]
        if not missing:
            return
        sizes = self._parcel.sizes
        megabytes = sum(sizes[sha256] for sha256 in missing) / 1e6
        self._say(f"sends {len(missing)} of {len(sizes)} files, {megabytes:.1f} MB")
        feed = archiving(missing, self._parcel.files)
        words = self._there.verb("receive", f"{self._limits.heartbeat_s:g}")
        arrived = {
            reply.get("kept") for reply in self._steady.replies(words, feed, self._there.prefix)
        }
        changed = [sha256 for sha256 in missing if sha256 not in arrived]
        if changed:
            raise InputError(
                "it changed while it was being sent",
                where=self._parcel.files[changed[0]],
                remedy="start again when it is written",
            )

    def _follow(self) -> Any:
        """Listen to the run until it is over, and let it hear that we do; what it measured."""
        words = self._there.verb("watch", self._id, str(self._offset))
        feed = beating(self._limits.beat_s)
        for reply in self._steady.replies(words, feed, self._there.prefix):
            if reply.get("over"):
                self._judge(reply["log"])
                return reply["result"]
            self._offset = reply["next"]
            self._hear(reply["said"])
        raise LostError("the device fell silent")

    def _hear(self, status: Mapping[str, Any]) -> None:
        if "share" in status:
            self._report(str(status["words"]), float(status["share"]))
        elif status["state"] in LAST_STATES:
            self._last = status
        elif status["state"] == "running":
            self._say("measures")
        elif "holder" in status:
            self._say(f"waits for {_described(status['holder'])}")

    def _judge(self, log: str) -> None:
        """Raise what the run ended with, unless it is a result."""
        state = self._last.get("state", "lost")
        if state == "done":
            return
        if state == "failed":
            raise self._failure(self._last["error"], log)
        what, remedy = _ENDS[state]
        values = {
            "holder": _described(self._last.get("holder")),
            "seconds": f"{self._last.get('seconds', 0):g}",
        }
        raise DeviceError(what.format(**values), where=self._device.name, remedy=remedy)

    def _failure(self, error: Mapping[str, Any], log: str) -> GhostEdgeError:
        what, remedy = self._in_our_words(error["what"]), error.get("remedy")
        if not error.get("ours"):
            return DeviceError(what, where=self._device.name, remedy=remedy)
        return GhostEdgeError(
            f"{what}; the end of its log there:\n{log.strip()}",
            where=self._device.name,
            remedy="a killed process has often run out of memory; if it did not, report this",
        )

    def _run_in(self, document: Any) -> BenchRun:
        words = self._in_our_words(json.dumps(document), quoted=True)
        return runs_of(json.loads(words), self._device.name)[0]

    def _in_our_words(self, text: str, *, quoted: bool = False) -> str:
        """With the files' names here instead of those in the run's folder there."""

        def written(path: str) -> str:
            return json.dumps(path)[1:-1] if quoted else path

        for name, ours in self._parcel.origins.items():
            text = text.replace(written(f"{self._folder}/{name}"), written(ours))
        return text

    def _leave(self) -> None:
        """End the run if it goes on, and remove its folder; what cannot be reached ends itself."""
        if not self._prepared:
            return
        cancelled = self._connection.is_cancelled
        self._connection.allow_again()
        try:
            self._ask_once("end", self._id)
        except (LostError, DeviceError):
            self._say(
                "cannot be reached to tidy up; what runs there ends by itself after "
                f"{self._limits.heartbeat_s:g} s without us"
            )
        finally:
            if cancelled:
                self._connection.cancel()

    @property
    def _there(self) -> Interpreter:
        assert self._interpreter is not None  # found before anything else is asked
        return self._interpreter

    def _ask(self, *words: str) -> dict[str, Any]:
        return self._steady.ask(self._there.verb(*words), prefix=self._there.prefix)

    def _ask_once(self, *words: str, feed: Any = None) -> dict[str, Any]:
        replies = self._steady.replies(self._there.verb(*words), feed, self._there.prefix)
        return list(replies)[-1]

    def _limits_there(self) -> ThereLimits:
        limits = self._limits
        return ThereLimits(limits.heartbeat_s, limits.lock_wait_s, limits.cache_bytes)


_ENDS = {
    "busy": (
        "it was busy for {seconds} s with {holder}",
        "wait for that to end, or end it there; then start again",
    ),
    "unheard": (
        "the measurement ended itself after {seconds} s without a word from us",
        "start again; what was sent is kept",
    ),
    "stopped": ("the measurement was stopped on the device", "start again"),
    "lost": (
        "the measurement was killed on the device",
        "it may be out of memory, or end every process at logout: "
        "KillUserProcesses=no in /etc/systemd/logind.conf there",
    ),
}


def _described(holder: Mapping[str, Any] | None) -> str:
    if holder is None:
        return "another run"
    return f"run {holder.get('id')} of {holder.get('by')}, since {holder.get('since')}"


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user without a name
        return socket.gethostname()
