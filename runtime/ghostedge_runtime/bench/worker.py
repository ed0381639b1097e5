"""The process a case runs in: the worker's end of the pipes.

Lines of JSON: requests on stdin, answers on what was stdout. Between requests the process sleeps in
a read and uses no CPU. When stdin closes, the coordinator is gone, and a thread that waits for
nothing else ends the process at once, also in the middle of an inference.

Nothing heavy is imported and no thread started before the CPUs to run on are set, because a thread
keeps those that it was started with.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

from ghostedge_runtime import errors

Message = dict[str, Any]


def main() -> None:
    """Serve until stdin closes; the first line is the case and where it is to run."""
    answers = _take_stdout()
    start = json.loads(sys.stdin.buffer.readline())
    if start["cpus"] is not None:
        os.sched_setaffinity(0, start["cpus"])
    requests = _listen()
    session = _session(start)
    _send(answers, {"ready": os.getpid()})
    for request in requests:
        _send(answers, _answer(session, request, answers))


def _answer(session: Any, request: Message, answers: int) -> Message:
    def progress(done: int, total: int) -> None:
        _send(answers, {"progress": [done, total]})

    try:
        result: Message = getattr(session, request.pop("do"))(progress, **request)
    except errors.GhostEdgeError as error:
        return {"error": error_to_json(error)}
    return {"done": result}


def _session(start: Message) -> Any:
    from ghostedge_runtime.bench.session import Session  # noqa: PLC0415 - imports NumPy
    from ghostedge_runtime.record import Case  # noqa: PLC0415 - see the module's docstring

    return Session(start["path"], Case(**start["case"]))


def _take_stdout() -> int:
    """Keep stdout for answers alone: what interpreters print goes to stderr."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _send(answers: int, message: Message) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(answers, data) :]


def _listen() -> Iterator[Message]:
    lines: SimpleQueue[bytes] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin.buffer:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield json.loads(lines.get())


def error_to_json(error: errors.GhostEdgeError) -> Message:
    """An error of ours as plain values."""
    return {
        "kind": type(error).__name__,
        "what": error.what,
        "where": error.where,
        "remedy": error.remedy,
    }


def error_from_json(message: Message) -> errors.GhostEdgeError:
    """The same error again."""
    kind: type[errors.GhostEdgeError] = getattr(errors, message["kind"])
    return kind(message["what"], where=message["where"], remedy=message["remedy"])
