"""What happens to a run when one of its ends, or what is between, goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ghostedge.devices import DevicesFailedError, Limits, run_on
from ghostedge_runtime.bench.job import make_job
from ghostedge_runtime.record import BenchJob, BenchRun, Settings

Until = Callable[..., Any]

# A client that says "measures" when the device does.
CLIENT = """
import signal
import sys
# What a shell starts in the background ignores Ctrl-C, and so would this.
signal.signal(signal.SIGINT, signal.default_int_handler)
from ghostedge.console import SilentReporter
from ghostedge.devices import Limits, run_on
from ghostedge_runtime.bench.job import make_job
from ghostedge_runtime.record import Settings

class Loud(SilentReporter):
    def note(self, text):
        print(text, flush=True)

settings = Settings(min_seconds=600.0, min_runs=3, max_warmup_seconds=0.05)
job = make_job([sys.argv[2]], settings=settings)
run_on([sys.argv[1]], job, Loud(), Limits(beat_s=0.5, heartbeat_s=float(sys.argv[3])))
"""


class Measuring(threading.Thread):
    """`run_on` in a thread."""

    def __init__(self, word: str, job: BenchJob, listener: Any, limits: Limits) -> None:
        super().__init__(daemon=True)
        self._arguments = ([word], job, listener, limits)
        self.runs: tuple[BenchRun, ...] = ()
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.runs = run_on(*self._arguments)
        except DevicesFailedError as error:
            self.error = error


def test_a_connection_that_is_cut_in_mid_run_comes_back_and_the_run_was_not_disturbed(
    there: Any, quick: BenchJob, short: Limits, listener: Any, until: Until
) -> None:
    settings = Settings(min_seconds=3.0, min_runs=3, max_warmup_seconds=0.05)
    client = Measuring(there.word, replace(quick, settings=settings), listener, short)
    client.start()
    until("it is said to measure", lambda: "measures" in listener.text)
    there.sshd.drop()
    client.join(60)
    assert client.error is None
    (run,) = client.runs
    assert run.results[0].seconds >= 3.0  # one measurement, not two halves
    assert "the connection is lost" in listener.text
    assert [line.rpartition(": ")[2] for line in listener.lines[-1:]] == ["connected again"]
    assert listener.text.count("measures") == 1


def test_an_upload_that_is_cut_goes_on_where_it_was(
    there: Any, short: Limits, listener: Any, until: Until, tmp_path: Path
) -> None:
    model = tmp_path / "broken.tflite"  # so that the upload is all that happens
    model.write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    folder = tmp_path / "data" / "noise"
    folder.mkdir(parents=True)
    for number in range(400):
        (folder / f"{number}.png").write_bytes(os.urandom(50_000))
    job = make_job([model], data=folder.parent)
    client = Measuring(there.word, job, listener, short)
    client.start()
    arrived = until("some arrived", lambda: there.files() if len(there.files()) > 20 else None)
    there.sshd.drop()
    client.join(60)
    assert "refuses it" in str(client.error)
    uploads = [line for line in listener.lines if " sends " in line]
    assert uploads[0].endswith("sends 401 of 401 files, 20.0 MB")
    assert arrived.items() <= there.files().items()  # kept, not sent again
    assert len(there.files()) == 401
    assert len(uploads) == 2
    assert "connected again" in listener.text


def test_a_connection_that_stays_lost_is_given_up_and_the_run_ends_itself(
    there: Any, long: BenchJob, short: Limits, listener: Any, until: Until
) -> None:
    limits = replace(short, heartbeat_s=6.0, give_up_s=2.0)
    client = Measuring(there.word, long, listener, limits)
    client.start()
    until("it measures", there.is_measuring)
    there.sshd.drop()
    there.sshd.stop()
    client.join(60)
    said = str(client.error)
    assert said.startswith(f"{there.word}: the connection was lost and did not come back in 2 s")
    assert "Connection refused" in said
    assert "what runs there ends by itself after 6 s without us" in said
    until("the run ended itself", lambda: not there.processes())
    (left,) = there.runs()
    assert '"unheard"' in (left / "status").read_text()


def start_client(there: Any, model: Path, heartbeat_s: float) -> subprocess.Popen[str]:
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, there.word, str(model), str(heartbeat_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert client.stdout is not None
    for line in client.stdout:
        if line.endswith("measures\n"):
            return client
    pytest.fail(str(client.communicate()[1]))


def test_a_client_that_is_killed_leaves_nothing_running_after_the_heartbeat(
    there: Any, model: Path, until: Until
) -> None:
    client = start_client(there, model, heartbeat_s=6.0)
    client.kill()
    client.communicate()
    until("the run ended itself", lambda: not there.processes())
    there.sshd.drop()  # the shared connection would stay a minute, in case of another command
    until("ssh ended", lambda: not there.clients())


def test_ctrl_c_ends_the_run_before_the_client_goes(there: Any, model: Path) -> None:
    client = start_client(there, model, heartbeat_s=600.0)
    os.killpg(client.pid, signal.SIGINT)  # as a terminal does: to all of the client's group
    _, said = client.communicate(timeout=60)
    assert said.splitlines()[-1] == "KeyboardInterrupt"
    assert there.processes() == []
    assert there.runs() == []


def test_a_supervisor_that_is_killed_takes_the_measurement_along_and_it_is_said(
    there: Any, long: BenchJob, short: Limits, listener: Any, until: Until
) -> None:
    client = Measuring(there.word, long, listener, short)
    client.start()
    until("it measures", there.is_measuring)
    (run,) = there.runs()
    os.kill(int((run / "alive").read_text()), signal.SIGKILL)
    client.join(60)
    assert "the measurement was killed on the device" in str(client.error)
    until("its workers ended", lambda: not there.processes())
