"""ssh's words, with a remedy, and what is tried again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ghostedge.devices import Limits, parse_device, run
from ghostedge.devices.address import is_final, refused
from ghostedge.devices.connection import LostError, Steady
from ghostedge_runtime.errors import DeviceError

PI = parse_device("ssh://pi@pi4:2222")


@pytest.mark.parametrize(
    ("said", "what", "remedy", "final"),
    [
        (
            "ssh: Could not resolve hostname pi4: Name or service not known",
            "no machine of this name",
            "check the name",
            False,
        ),
        (
            "ssh: connect to host pi4 port 2222: Connection timed out",
            "it does not answer",
            "ping pi4",
            False,
        ),
        (
            "ssh: connect to host pi4 port 2222: No route to host",
            "there is no way to it",
            "ping pi4",
            False,
        ),
        (
            "pi@pi4: Permission denied (publickey,password).",
            "it takes no key",
            "ssh-copy-id -p 2222 pi@pi4",
            True,
        ),
        (
            "No ED25519 host key is known for pi4 and you have requested strict checking.\n"
            "Host key verification failed.",
            "its host key is not known",
            "`ssh -p 2222 pi@pi4`",
            True,
        ),
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            "its host key is another",
            "ssh-keygen -R '[pi4]:2222'",
            True,
        ),
        (
            "something new",
            "ssh cannot connect (something new)",
            "must work without a question",
            False,
        ),
        ("", "ssh does not say why", "must work without a question", False),
    ],
)
def test_what_ssh_says_becomes_a_reason_and_a_remedy(
    said: str, what: str, remedy: str, final: bool
) -> None:
    error = refused(PI, said)
    assert what in error.what
    assert remedy in str(error.remedy)
    assert error.where == PI.name
    assert is_final(said) is final


class Broken:
    """A connection whose commands and attempts to open fail as told."""

    device = PI

    def __init__(self, opens: list[str | None], replies: int = 0) -> None:
        self._opens, self._replies = iter(opens), replies
        self.waited = 0.0

    def talk(self, *_: Any) -> Iterator[dict[str, Any]]:
        yield from ({"reply": number} for number in range(self._replies))
        raise LostError("Connection closed by remote host")

    def open(self) -> None:
        said = next(self._opens)
        if said is not None:
            raise LostError(said)

    def wait(self, seconds: float) -> None:
        self.waited += seconds


def ask(connection: Any, limits: Limits) -> list[str]:
    said: list[str] = []
    with pytest.raises(DeviceError) as caught:
        Steady(connection, limits, said.append).ask(["x"])
    return [*said, str(caught.value)]


def test_a_link_that_breaks_every_time_without_a_reply_is_given_up() -> None:
    said = ask(Broken([None] * 9), Limits())
    assert said.count("connected again") == 4
    assert "the connection was lost and broke 5 times in a row (Connection closed" in said[-1]


def test_a_key_that_changed_meanwhile_is_not_tried_twice() -> None:
    said = ask(Broken(["Connection refused", "Host key verification failed."]), Limits())
    assert "its host key is not known" in said[-1]


def test_pauses_grow_until_the_time_is_up() -> None:
    connection = Broken(["Connection refused"] * 9)
    said = ask(connection, Limits(give_up_s=0.9))
    assert "did not come back in 0.9 s (Connection refused)" in said[-1]
    assert connection.waited == 0.5


def test_a_wait_ends_when_the_user_has_had_enough() -> None:
    from ghostedge.devices.connection import CancelledError, Connection  # noqa: PLC0415  # sockets

    connection = Connection(PI, Limits())
    threading.Timer(0.05, connection.cancel).start()
    with pytest.raises(CancelledError):
        connection.wait(60)
    connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_told_to_end_is_as_good_as_ctrl_c(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        with pytest.raises(KeyboardInterrupt), run._as_interrupts(signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with run._as_interrupts(signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
