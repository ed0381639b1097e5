"""One device's SSH connection, by the system's OpenSSH, and how it comes back when it is lost.

So a user's configuration, agent and jump hosts work as they are. One connection is made and shared
by every command (``ControlMaster``, its socket in a private folder). Nothing is asked
(``BatchMode``), nothing is forwarded, and whether host keys are checked is never touched: without a
setting of the user's, OpenSSH refuses a key that it does not know. ``GHOSTEDGE_SSH_CONFIG`` names
another configuration file than ``~/.ssh/config``.

Everything the device is asked can be asked twice, so what a lost connection cut off is simply done
again once there is a new one (`Steady`). `Limits` says how long a measurement waits for what.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar

from ghostedge.devices.address import Device, is_final, last_line, refused
from ghostedge_runtime.errors import DeviceError
from ghostedge_runtime.remote import REPLY

Feed = Callable[[IO[bytes], threading.Event], None]
Reply = dict[str, Any]
T = TypeVar("T")
Say = Callable[[str], None]
CONFIG_VARIABLE = "GHOSTEDGE_SSH_CONFIG"
_LOST = 255  # ssh's own exit status; that of the command there is less
_NOT_FOUND = (126, 127)  # a shell's words for what cannot be run
_ALIVE_TRIES = 3
_IDLE_S = 60
_SOCKET_MAX = 70  # a socket's path has 104 bytes at the least, and ssh adds 17 while it binds
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0
_FRUITLESS = 5


def sending(data: bytes) -> Feed:
    """A feed of some bytes."""

    def feed(pipe: IO[bytes], _over: threading.Event) -> None:
        pipe.write(data)

    return feed


def beating(seconds: float) -> Feed:
    """A feed of a byte every so many seconds: we are still here."""

    def feed(pipe: IO[bytes], over: threading.Event) -> None:
        while not over.is_set():
            pipe.write(b".")
            pipe.flush()
            over.wait(seconds)

    return feed


def archiving(names: Sequence[str], files: Mapping[str, Path]) -> Feed:
    """A feed of one tar stream with many files: a thousand images are one journey, not a thousand.

    Args:
        names: Which files, in this order; members are named so.
        files: The files by these names.
    """

    def feed(pipe: IO[bytes], over: threading.Event) -> None:
        with tarfile.open(fileobj=pipe, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
            for name in names:
                if over.is_set():
                    return
                try:
                    data = files[name].read_bytes()
                except OSError:
                    continue  # it was removed meanwhile: the device will not have it
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))

    return feed


def run_feed(process: subprocess.Popen[bytes], feed: Feed | None, over: threading.Event) -> None:
    """Write a process's input and close it."""
    if feed is None or process.stdin is None:
        return
    # A command that has ended reads no more; what it answered says why.
    with suppress(BrokenPipeError):
        feed(process.stdin, over)
    with suppress(BrokenPipeError):
        process.stdin.close()


@dataclass(frozen=True)
class Limits:
    """Bounds, in seconds but for the last.

    Attributes:
        connect_s: To open a connection.
        beat_s: Between two signs of life to the device.
        heartbeat_s: A run without a sign of life for so long ends itself.
        give_up_s: A connection that stays lost for so long is given up.
        lock_wait_s: So long a run waits for others on the same device.
        cache_bytes: Files that stay on the device for later runs.
    """

    connect_s: int = 15
    beat_s: float = 5.0
    heartbeat_s: float = 180.0
    give_up_s: float = 180.0
    lock_wait_s: float = 3600.0
    cache_bytes: int = 4_000_000_000


class LostError(Exception):
    """The connection broke; ``output`` is what ssh wrote."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output


class CancelledError(Exception):
    """The user has had enough."""


class Connection:
    """A shared connection; not open until `open`, and only one thread at a time.

    Args:
        device: Over SSH.
        limits: `Limits.connect_s` and `Limits.beat_s` are used.
    """

    def __init__(self, device: Device, limits: Limits) -> None:
        self.device = device
        self._limits = limits
        self._folder = _private_folder()
        self._opened = 0
        self._running: subprocess.Popen[bytes] | None = None
        self._cancelled = threading.Event()

    def open(self) -> None:
        """Connect, anew where there was a connection.

        Raises:
            LostError: It cannot; the message is ssh's.
            CancelledError: `cancel` was called.
        """
        self._hang_up()
        self._opened += 1  # at a socket that is still there ssh would listen to none
        with self._log_file() as log:
            command = self._ssh("-M", "-N", "-f", "-o", f"ControlPersist={_IDLE_S}")
            process = subprocess.Popen(
                [*command, "--", self.device.host or ""],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours to answer, with words to the device
            )
            with self._fed(process, None):
                pass
            if self._cancelled.is_set():
                raise CancelledError
            if process.returncode != 0:
                raise LostError(_read(log))

    def close(self) -> None:
        """Disconnect and remove the socket's folder."""
        self._hang_up()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _hang_up(self) -> None:
        subprocess.run(
            [*self._ssh("-O", "exit"), "--", self.device.host or ""],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )

    def cancel(self) -> None:
        """End what runs over the connection, from another thread: `CancelledError` there."""
        self._cancelled.set()
        running = self._running
        if running is not None:
            with suppress(ProcessLookupError):
                running.terminate()

    def allow_again(self) -> None:
        """After `cancel`: the last words to the device may still be said."""
        self._cancelled.clear()

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    def wait(self, seconds: float) -> None:
        """Sleep, unless cancelled.

        Raises:
            CancelledError: It was.
        """
        if self._cancelled.wait(seconds):
            raise CancelledError

    def talk(
        self, words: Sequence[str], feed: Feed | None = None, prefix: str = ""
    ) -> Iterator[Reply]:
        """Run a command on the device and yield what it replies.

        Args:
            words: The command; quoted here for any shell.
            feed: Writes the command's input, in a thread of its own, until the event is set.
            prefix: Shell text before the words.

        Raises:
            LostError: The connection broke.
            CancelledError: `cancel` was called.
            DeviceError: The command answered with an error, or with no answer at all.
        """
        command = prefix + shlex.join(words)
        replied, noise = False, b""
        with self._log_file() as log:
            process = subprocess.Popen(
                [*self._ssh(), "--", self.device.host or "", command],
                stdin=subprocess.DEVNULL if feed is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
            with self._fed(process, feed):
                assert process.stdout is not None  # a pipe
                for line in process.stdout:
                    reply = _reply(line)
                    if reply is None:
                        noise = (noise + line)[-2000:]
                        continue
                    replied = True
                    self._raise_error_of(reply)
                    yield reply
            self._judge(process.returncode, replied, noise.decode(errors="replace"), _read(log))

    @contextmanager
    def _fed(self, process: subprocess.Popen[bytes], feed: Feed | None) -> Iterator[None]:
        """Feed a process while the block lasts; afterwards it has ended."""
        over = threading.Event()
        feeder = threading.Thread(target=run_feed, args=(process, feed, over), daemon=True)
        self._running = process
        feeder.start()
        try:
            if self._cancelled.is_set():  # before `_running` was there to be ended
                raise CancelledError
            yield
            process.wait()
        finally:
            over.set()
            if process.poll() is None:
                process.terminate()
            process.wait()
            self._running = None
            feeder.join()
            if process.stdout is not None:
                process.stdout.close()

    def _raise_error_of(self, reply: Reply) -> None:
        error = reply.get("error")
        if isinstance(error, Mapping):
            raise DeviceError(
                str(error["what"]), where=self.device.name, remedy=error.get("remedy")
            )

    def _judge(self, status: int, replied: bool, noise: str, output: str) -> None:
        if self._cancelled.is_set():
            raise CancelledError
        if status == _LOST or status < 0:
            raise LostError(output)
        text = (output.strip() or noise.strip() or f"exit status {status}").splitlines()[-1]
        if status in _NOT_FOUND:
            raise DeviceError(
                f"{self.device.python} cannot be run there ({text})",
                where=self.device.name,
                remedy="install Python 3.10 or later there (sudo apt install python3 "
                "python3-venv), or name one: --device 'ssh://…?python=/path/to/python3'",
            )
        if status != 0 or not replied:
            raise DeviceError(
                f"it did not answer as a device does ({text})",
                where=self.device.name,
                remedy=f"`ssh {self.device.destination} python3 --version` must print a version",
            )

    def _ssh(self, *options: str) -> list[str]:
        config = os.environ.get(CONFIG_VARIABLE)
        settings = {
            "BatchMode": "yes",
            "ConnectTimeout": self._limits.connect_s,
            "ServerAliveInterval": max(1, round(self._limits.beat_s)),
            "ServerAliveCountMax": _ALIVE_TRIES,
            "ControlMaster": "no",
            "ControlPath": f'"{self._folder / str(self._opened)}"',
            "ClearAllForwardings": "yes",
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "PermitLocalCommand": "no",
            "RemoteCommand": "none",
            "RequestTTY": "no",
            "LogLevel": "ERROR",
        }
        flags = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        return [
            "ssh",
            *(("-F", config) if config else ()),
            *options,
            *flags,
            *(("-p", str(self.device.port)) if self.device.port is not None else ()),
            *(("-l", self.device.user) if self.device.user is not None else ()),
        ]

    @contextmanager
    def _log_file(self) -> Iterator[BinaryIO]:
        """A file for ssh's messages: a pipe would stay open as long as the shared connection."""
        with tempfile.TemporaryFile(dir=self._folder) as file:
            yield file


def first_open(connection: Connection) -> None:
    """Open a connection for the first time.

    Raises:
        DeviceError: It cannot be; the message says why and what to do.
    """
    if shutil.which("ssh") is None:
        raise DeviceError(
            "there is no ssh on this machine",
            where=connection.device.name,
            remedy="sudo apt install openssh-client",
        )
    try:
        connection.open()
    except LostError as error:
        raise refused(connection.device, error.output) from error


def _reply(line: bytes) -> Reply | None:
    text = line.decode(errors="replace").strip()
    if not text.startswith(REPLY):
        return None
    with suppress(ValueError):  # cut short, by a connection that just broke
        reply: Reply = json.loads(text[len(REPLY) :])
        return reply
    return None


def _read(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _private_folder() -> Path:
    """A folder that only we can enter, its name short enough for a socket in it."""
    folder = Path(tempfile.gettempdir())
    short = len(os.fsencode(folder)) < _SOCKET_MAX - len("ghostedge-xxxxxxxx/c")
    return Path(tempfile.mkdtemp(prefix="ghostedge-", dir=folder if short else "/tmp"))


class Steady:
    """Asks a device over a connection that may break.

    Args:
        connection: Open.
        limits: `Limits.give_up_s` is used.
        say: Told when the connection is lost and when it is back.
    """

    def __init__(self, connection: Connection, limits: Limits, say: Say) -> None:
        self.connection, self.limits = connection, limits
        self._say = say
        self._replies = 0

    def ask(self, words: Sequence[str], feed: Feed | None = None, prefix: str = "") -> Reply:
        """Run a command and give its last reply.

        Raises:
            DeviceError: It answered with an error, or the connection stays lost.
            CancelledError: The user has had enough.
        """
        return self.steadily(lambda: list(self.replies(words, feed, prefix))[-1])

    def replies(
        self, words: Sequence[str], feed: Feed | None = None, prefix: str = ""
    ) -> Iterator[Reply]:
        """As `Connection.talk`; for use within `steadily`."""
        for reply in self.connection.talk(words, feed, prefix):
            self._replies += 1
            yield reply

    def steadily(self, action: Callable[[], T]) -> T:
        """Do something; again after every lost connection.

        Raises:
            DeviceError: The connection stays lost, or is lost again and again without a reply.
        """
        fruitless = 0
        while True:
            before = self._replies
            try:
                return action()
            except LostError as error:
                fruitless = 0 if self._replies > before else fruitless + 1
                if fruitless == _FRUITLESS:
                    raise self._given_up(error, f"broke {_FRUITLESS} times in a row") from error
                self._reconnect(error)

    def _reconnect(self, lost: LostError) -> None:
        """Open the connection again, with pauses that grow."""
        self._say(f"the connection is lost ({last_line(lost.output)}); trying again")
        end, pause = time.monotonic() + self.limits.give_up_s, _FIRST_PAUSE_S
        while True:
            self.connection.wait(pause)
            try:
                self.connection.open()
            except LostError as error:
                if is_final(error.output):
                    raise refused(self.connection.device, error.output) from error
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                if time.monotonic() + pause > end:
                    words = f"did not come back in {self.limits.give_up_s:g} s"
                    raise self._given_up(error, words) from error
            else:
                self._say("connected again")
                return

    def _given_up(self, lost: LostError, what: str) -> DeviceError:
        return DeviceError(
            f"the connection was lost and {what} ({last_line(lost.output)})",
            where=self.connection.device.name,
            remedy="see whether the device still runs and start again; what was sent is kept, and "
            f"what runs there ends by itself after {self.limits.heartbeat_s:g} s without us",
        )
