"""A connection that comes back.

Everything the device is asked can be asked twice, so what a lost connection cut off is simply done
again once there is a new one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ghostedge.devices.connection import Connection, LostError, Reply
from ghostedge.devices.feeds import Feed
from ghostedge.devices.limits import Limits
from ghostedge.devices.refusals import is_final, last_line, refused
from ghostedge_runtime.errors import DeviceError

T = TypeVar("T")
Say = Callable[[str], None]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0
_FRUITLESS = 5


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
        self._say(f"the connection is lost ({last_line(lost.said)}); trying again")
        end, pause = time.monotonic() + self.limits.give_up_s, _FIRST_PAUSE_S
        while True:
            self.connection.wait(pause)
            try:
                self.connection.open()
            except LostError as error:
                if is_final(error.said):
                    raise refused(self.connection.device, error.said) from error
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                if time.monotonic() + pause > end:
                    words = f"did not come back in {self.limits.give_up_s:g} s"
                    raise self._given_up(error, words) from error
            else:
                self._say("connected again")
                return

    def _given_up(self, lost: LostError, what: str) -> DeviceError:
        return DeviceError(
            f"the connection was lost and {what} ({last_line(lost.said)})",
            where=self.connection.device.name,
            remedy="see whether the device still runs and start again; what was sent is kept, and "
            f"what runs there ends by itself after {self.limits.heartbeat_s:g} s without us",
        )
