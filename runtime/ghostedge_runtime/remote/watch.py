"""Tell the other end what happens in a run, and the run that the other end listens.

One process that sleeps in ``select`` and looks twice a second: a poll from outside would start a
Python each time and be measured with the model.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ghostedge_runtime.remote.runs import RunFolder, child_group

_LOOK_S = 0.5
_TAIL = 4000


def watch(run: RunFolder, offset: int) -> Iterator[dict[str, Any]]:
    """Every line of the run's status from a byte offset on, as it comes.

    Yields:
        ``{"next": offset, "said": line}``; last, when nothing will follow, ``{"over": True,
        "result": the measurement's document or None, "log": the end of what it printed}``. Ends
        without that when the other end has gone or is silent.
    """
    patience_s = run.limits().heartbeat_s
    listener = Listener(patience_s)
    while True:
        alive = run.is_alive()  # before reading: what it said last is then there
        lines = _lines(run.status, offset)
        for line in lines:
            offset += len(line)
            yield {"next": offset, "said": json.loads(line)}
        if not alive:
            yield {"over": True, "result": _result(run.result), "log": tail(run.log)}
            return
        if not listener.listens(run.beat):
            return


def _lines(path: Path, offset: int) -> list[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        text = file.read()
    return text[: text.rfind(b"\n") + 1].splitlines(keepends=True)


def _result(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def tail(path: Path) -> str:
    """The end of a text file; nothing where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


class UnheardError(Exception):
    """The other end has gone: there is nobody to answer."""


class Listener:
    """The other end, which sends a byte now and then on this process's input.

    Args:
        patience_s: So long it may be silent.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s, self._heard = patience_s, time.monotonic()

    def listens(self, beat: Path | None = None) -> bool:
        """Wait a moment; pass on what was heard. False when the other end has gone."""
        if select.select([0], [], [], _LOOK_S)[0]:
            if not os.read(0, 4096):
                return False
            self._heard = time.monotonic()
            if beat is not None:
                os.utime(beat)
        return time.monotonic() - self._heard < self._patience_s


def attended(command: list[str], log: Path, listener: Listener) -> int:
    """Run a command for as long as the other end listens.

    Returns:
        Its exit status.

    Raises:
        UnheardError: The other end has gone; the command was ended.
    """
    with log.open("wb") as file, child_group(command, file) as child:
        if child.stdin is not None:
            child.stdin.close()
        while child.poll() is None:
            if not listener.listens():
                raise UnheardError
        return child.returncode
