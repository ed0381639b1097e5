"""Text on a terminal, or in the file or pipe that stands in for one, whatever it can show.

Two rules, kept here and nowhere else. What comes from files, devices and people is text: its
control characters are escaped and nothing in it is markup. And every character is written in some
form: where standard output or error is not UTF-8, in ASCII as far as our own words go
(``->`` for an arrow), and as an escape where the encoding has no such character.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeGuard

from rich.console import Console
from rich.text import Text

from ghostedge_runtime.errors import InputError

_ASCII = str.maketrans(
    {
        "→": "->",
        "–": "-",
        "—": "-",
        "─": "-",
        "━": "-",
        "…": "...",
        "×": "x",
        "·": "*",
        "±": "+/-",
        "✓": "ok",
        "✗": "MISSED",
        "⚠": "!",
        "█": "#",
        "°": "",
        "²": "^2",
        "⁶": "^6",
        "≥": ">=",
        "≤": "<=",
        "µ": "u",
        "’": "'",
    }
)
_C_LOCALES = ("C", "POSIX")


def printable(text: str) -> str:
    """The text on one line: what does not print, or would turn the rest around, is escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def narrowed(text: str, codec: str) -> str:
    """The text in characters that an encoding other than UTF-8 has."""
    if text.isascii():
        return text
    return text.translate(_ASCII).encode(codec, "backslashreplace").decode(codec)


class TextConsole(Console):
    """A console on which strings are text, in tables, titles and lines alike; lines stay whole.

    Args:
        stderr: Whether it is standard error.
        width: In characters; the terminal's when None.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **style: Any) -> Text:
        """A string as rich shows it, every character of it to be seen."""
        shown = "\n".join(map(printable, text.split("\n")))
        codec = getattr(self.file, "codec", None)
        return super().render_str(shown if codec is None else narrowed(shown, codec), **style)

    def on_broken_pipe(self) -> None:
        """Rich would end with exit code 1 where the reader has gone, as that of ``| head`` does.

        Raises:
            BrokenPipeError: Always; the command line takes it for the end.
        """
        raise BrokenPipeError

    def say(self, text: str) -> None:
        """Print text as it is, however long its lines."""
        self.print(text, soft_wrap=True)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Make standard output and error take any text, for as long as the block runs."""
    before = sys.stdout, sys.stderr
    streams = []
    for name, stream in zip(("stdout", "stderr"), before, strict=True):
        if stream is None:  # closed by whoever started this
            setattr(sys, name, io.StringIO())
        elif isinstance(stream, io.TextIOWrapper):
            streams.append(_Stream(stream, is_results=name == "stdout"))
            setattr(sys, name, streams[-1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in streams:
            stream.let_go()


class _Stream(io.TextIOWrapper):
    """A standard stream that takes any text, and raises our errors where it cannot be written.

    Attributes:
        codec: What its characters have to fit into; None where all do.
    """

    def __init__(self, below: io.TextIOWrapper, *, is_results: bool) -> None:
        below.flush()
        self.codec = _codec(below.encoding, os.environ)
        self._is_results = is_results
        # Unbuffered (PYTHONUNBUFFERED), Python takes a write that was cut short for a whole one.
        self._whole = io.BufferedWriter(below.buffer) if _is_raw(below.buffer) else None
        super().__init__(
            self._whole or below.buffer,
            # click takes a stream called ASCII for a mistake and writes UTF-8 to it.
            encoding="latin-1" if self.codec == "ascii" else below.encoding,
            errors="backslashreplace",  # of UTF-8 too: a file's name need not be valid
            line_buffering=below.line_buffering or self._whole is not None,
        )

    def write(self, text: str) -> int:
        """Write, in characters that the stream has."""
        with self._write_errors():
            super().write(text if self.codec is None else narrowed(text, self.codec))
        return len(text)

    def flush(self) -> None:
        """Let go of what is held back."""
        with self._write_errors():
            super().flush()

    def let_go(self) -> None:
        """Leave the file below open, which would be closed with this."""
        self.detach()
        if self._whole is not None:
            self._whole.detach()

    @contextmanager
    def _write_errors(self) -> Iterator[None]:
        """Results that cannot be written are an error; progress that cannot stops no work.

        Raises:
            InputError: The results could not be written.
            BrokenPipeError: Their reader has gone.
        """
        try:
            yield
        except OSError as error:
            # What is still held back goes nowhere, else Python would try again at exit and fail.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if not self._is_results:
                return
            if isinstance(error, BrokenPipeError):
                raise BrokenPipeError from error  # at one with an errno click ends with code 1
            raise InputError(
                f"it cannot be written ({error.strerror or error})",
                where="standard output",
                remedy="send it to another place",
            ) from error


def _is_raw(buffer: object) -> TypeGuard[io.RawIOBase]:
    return isinstance(buffer, io.RawIOBase)


def _codec(encoding: str, environ: Mapping[str, str]) -> str | None:
    """What a stream can show, None where it is everything.

    Python writes UTF-8 where the locale is C (PEP 540), which says nothing of the terminal; who
    says C in so many words gets ASCII, as from other programs.
    """
    stated = environ.get("PYTHONIOENCODING") or environ.get("PYTHONUTF8")
    locale = environ.get("LC_ALL") or environ.get("LANG")
    if sys.flags.utf8_mode and not stated and locale in _C_LOCALES:
        return "ascii"
    name = codecs.lookup(encoding).name
    return None if name.startswith("utf") else name
