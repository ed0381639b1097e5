"""Work on one image, or one variant of a graph, on each core at a time.

Networks this small gain more from two images at a time than from two threads on one: a session's
threads wait for each other by spinning, on the cores that the counting of values is to run on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, TypeVar

import onnx
import onnxruntime

from ghostedge_runtime.machine.facts import host_facts

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[str, float], None]
"""Told what is being done, and which share of all is done, 0 to 1."""

MOST_WORKERS = 4
"""Each holds the activations of an image."""


def workers() -> int:
    """How many threads work at a time."""
    return max(1, min(MOST_WORKERS, host_facts().cores))


def untold(words: str, share: float) -> None:
    """Tell nobody of the progress."""


def share_of(progress: Progress, first: float, last: float) -> Progress:
    """The progress of a step that takes the work from one share to another."""
    return lambda words, share: progress(words, first + share * (last - first))


def in_parallel(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """What ``work`` returns for each item, in the items' order.

    Items are taken by the calling thread, as many ahead as there are workers.

    Raises:
        Exception: What ``work`` raised for the first item that it raised for.
    """
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers()) as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > workers():
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Pass the items on, making the next in a thread while the caller works on the present one."""
    with ThreadPoolExecutor(max_workers=1) as worker:
        pending = worker.submit(next, items, None)
        while (item := pending.result()) is not None:
            pending = worker.submit(next, items, None)
            yield item


class PerWorker(Generic[T]):
    """Something for each worker alone to write to, put together when all are done.

    Attributes:
        all: What there is.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self.all: Sequence[T] = [make() for _ in range(workers())]
        self._free: SimpleQueue[T] = SimpleQueue()
        for one in self.all:
            self._free.put(one)

    @contextmanager
    def one(self) -> Iterator[T]:
        """Lend one that nobody else has at the time."""
        lent = self._free.get()
        try:
            yield lent
        finally:
            self._free.put(lent)


def session_of_one_thread(model: onnx.ModelProto, **entries: str) -> onnxruntime.InferenceSession:
    """A session for one of several workers.

    Args:
        model: Any graph.
        entries: Of the session's configuration; ``_`` stands for a full stop in their names.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for name, value in entries.items():
        options.add_session_config_entry(f"session.{name}", value)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
