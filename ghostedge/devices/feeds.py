"""What is written to a command's input while it runs."""

from __future__ import annotations

import io
import subprocess
import tarfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

Feed = Callable[[IO[bytes], threading.Event], None]


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
