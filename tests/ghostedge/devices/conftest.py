"""A real sshd on loopback, and a device behind it whose cache is a temporary folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ghostedge.console import SilentReporter
from ghostedge.devices import Limits
from ghostedge_runtime.bench.job import make_job
from ghostedge_runtime.record import BenchJob, Settings

REPO = Path(__file__).resolve().parents[3]
SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
PRIVILEGES = Path("/run/sshd")  # where sshd, run by root, wants an empty folder
SHORT = Limits(
    connect_s=15, beat_s=0.5, heartbeat_s=60.0, give_up_s=30.0, lock_wait_s=60.0, cache_bytes=10**9
)
QUICK = Settings(min_seconds=0.05, min_runs=3, max_warmup_seconds=0.05)
LONG = Settings(min_seconds=600.0, min_runs=3, max_warmup_seconds=0.05)


class Listener(SilentReporter):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@dataclass
class Sshd:
    """A server on loopback, its keys, and a client's configuration for it."""

    folder: Path
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def make_key(self, name: str) -> str:
        """A key pair, made anew; the public half."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
        return path.with_suffix(".pub").read_text()

    def know(self, public: str) -> None:
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public}")

    def start(self) -> None:
        settings = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": self.folder / "host",
            "AuthorizedKeysFile": self.folder / "user.pub",
            "PidFile": "none",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "StrictModes": "no",  # its files lie in a temporary folder
            "PrintMotd": "no",
            "SetEnv": " ".join(f'"{key}={value}"' for key, value in self.environment.items()),
        }
        (self.folder / "sshd_config").write_text(
            "".join(f"{key} {value}\n" for key, value in settings.items() if value != "")
        )
        command = [str(SSHD), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        pytest.fail("sshd did not start:\n" + (self.folder / "log").read_text())

    def sessions(self) -> list[int]:
        """The server's processes that serve a connection."""
        return [] if self.process is None else children_of(self.process.pid)

    def drop(self) -> None:
        """End every connection, as a cable that is pulled does."""
        for number in self.sessions():
            for child in children_of(number):
                os.kill(child, signal.SIGKILL)
            os.kill(number, signal.SIGKILL)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None


@dataclass(frozen=True)
class There:
    """The device: its server, its cache folder, its word for the command line."""

    sshd: Sshd
    cache: Path
    word: str

    def restart(self, **environment: str) -> None:
        """The server anew, with more in the sessions' environment."""
        self.sshd.stop()
        self.sshd.environment |= environment
        self.sshd.start()

    def runs(self) -> list[Path]:
        folder = self.cache / "ghostedge" / "runs"
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def files(self) -> dict[str, int]:
        """Names and inodes of the files that arrived whole."""
        folder = self.cache / "ghostedge" / "files"
        with os.scandir(folder) if folder.is_dir() else nullcontext(()) as entries:
            return {e.name: e.inode() for e in entries if not e.name.startswith(".")}

    def processes(self) -> list[str]:
        """Command lines of what runs on the device for us, workers and all."""
        return [text for text in command_lines() if f"XDG_CACHE_HOME={self.cache}" in text]

    def clients(self) -> list[str]:
        """Command lines of the ssh processes on this end."""
        return [text for text in command_lines() if f"ssh -F {self.sshd.config}" in text]

    def is_measuring(self) -> bool:
        return any("bench.worker" in text for text in self.processes())


def command_lines() -> Iterator[str]:
    """The command line and environment of every process, as far as they may be read."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            except OSError:  # it has ended
                continue
            yield text.replace(b"\0", b" ").decode(errors="replace")


def children_of(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == parent:
                found.append(int(folder.name))
    return found


def wait_until(what: str, holds: Callable[[], Any], seconds: float = 40.0) -> Any:
    """Wait for something that another process does; its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.2)
    return pytest.fail(f"not within {seconds:g} s: {what}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """A server with its keys made, not yet started."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("needs OpenSSH's ssh and sshd (sudo apt install openssh-server)")
    if not Path("/proc/self/environ").exists():
        pytest.skip("needs Linux's /proc to see what is left running")
    if os.geteuid() == 0:
        PRIVILEGES.mkdir(mode=0o755, exist_ok=True)
    folder = tmp_path / "ssh"
    folder.mkdir(mode=0o700)
    server = Sshd(folder, _free_port())
    server.make_key("user")
    server.know(server.make_key("host"))
    server.config.write_text(
        f"IdentityFile {folder / 'user'}\nIdentitiesOnly yes\n"
        f"UserKnownHostsFile {server.known_hosts}\nGlobalKnownHostsFile none\n"
    )
    yield server
    server.stop()


@pytest.fixture
def there(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[There]:
    """A device that is on; when the test ends nothing of ours runs on it."""
    cache = tmp_path / "device"
    sshd.environment |= {"XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    sshd.start()
    monkeypatch.setenv("GHOSTEDGE_SSH_CONFIG", str(sshd.config))
    device = There(sshd, cache, f"ssh://127.0.0.1:{sshd.port}?python={sys.executable}")
    yield device
    left = [*device.processes(), *device.clients()]
    sshd.drop()
    assert left == []


@pytest.fixture(scope="session")
def model() -> Path:
    """An int8 GhostNet of ten glyphs."""
    return REPO / "examples" / "glyphs" / "ghostnet_050_glyphs_int8.tflite"


@pytest.fixture
def quick(model: Path) -> BenchJob:
    return replace(make_job([model], settings=QUICK), command=("ghostedge", "bench"))


@pytest.fixture
def long(model: Path) -> BenchJob:
    """Longer than any test."""
    return make_job([model], settings=LONG)


@pytest.fixture
def short() -> Limits:
    """Limits for a device that is near and tests that are not to wait."""
    return SHORT


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_until
