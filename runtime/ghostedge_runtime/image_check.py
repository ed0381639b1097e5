"""Images looked at before any work: those that cannot be decoded, all at once.

Of every file the header is read, and its end is looked at: a cut file lacks what its format ends
with. A file whose end is missing is decoded at once. Of the others as many are decoded as a second
allows, evenly over all of them; on request all are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from ghostedge_runtime.errors import ImageError
from ghostedge_runtime.images import check_header, open_image

DECODE_SECONDS = 1.0
_TAIL = 1 << 12
_NAMED_IN_ERROR = 10
# What a file begins with, and what is near its end when nothing is missing.
_ENDS = ((b"\xff\xd8", b"\xff\xd9"), (b"\x89PNG", b"IEND"))


@dataclass(frozen=True)
class ImageCheck:
    """What was found of a list of images.

    Attributes:
        count: Images looked at.
        decoded: How many of them are sure: decoded in full, or found bad.
        bad: Why an image cannot be used, by path, in the order of the list.
    """

    count: int
    decoded: int
    bad: Mapping[Path, ImageError]

    @property
    def words(self) -> str:
        """One line: how many were looked at and how."""
        whole = "all" if self.decoded == self.count else f"{self.decoded:,}"
        return (
            f"{self.count:,} images looked at: the header and end of all, {whole} decoded in full"
        )

    def refuse(self, where: str | os.PathLike[str], *, can_skip: bool = True) -> None:
        """Name all bad images in one error.

        Args:
            where: The folder or flag they are of.
            can_skip: Whether the command has ``--skip-bad-images``.

        Raises:
            ImageError: There are some.
        """
        if self.bad:
            raise ImageError(
                f"{len(self.bad):,} of {self.count:,} images cannot be used:\n  "
                + "\n  ".join(bad_lines(self.bad.values())),
                where=where,
                remedy="replace or remove them"
                + (", or go on without them: --skip-bad-images" if can_skip else ""),
            )


def bad_lines(bad: Iterable[ImageError]) -> list[str]:
    """The first of the errors, a line each, and how many more there are."""
    lines = [f"{error.where}: {error.what}" for error in bad]
    more = len(lines) - _NAMED_IN_ERROR
    return lines[:_NAMED_IN_ERROR] + ([f"and {more:,} more"] if more > 0 else [])


def check_images(
    paths: Sequence[Path],
    *,
    decode_all: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ImageCheck:
    """Look at images; see the module for how.

    Args:
        paths: The files.
        decode_all: Decode every one, however long that takes.
        progress: Called with the images done and the images in all.
    """
    bad: dict[Path, ImageError] = {}
    unsure: list[Path] = []
    for number, path in enumerate(paths, 1):
        try:
            check_header(path)
            if decode_all or not _ends_well(path):
                open_image(path)
            else:
                unsure.append(path)
        except ImageError as error:
            bad[path] = error
        if progress is not None:
            progress(number, len(paths))
    left = len(unsure)
    end = monotonic() + DECODE_SECONDS
    for path in _spread_out(unsure):
        if monotonic() > end:
            break
        left -= 1
        try:
            open_image(path)
        except ImageError as error:
            bad[path] = error
    in_order = {path: bad[path] for path in paths if path in bad}
    return ImageCheck(len(paths), len(paths) - left, in_order)


def _ends_well(path: Path) -> bool:
    """Whether the last bytes are what the format ends with, as far as that is known."""
    try:
        with path.open("rb") as file:
            start = file.read(12)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            tail = file.read()
    except OSError:
        return False
    if start[:4] == b"RIFF":
        return int.from_bytes(start[4:8], "little") + 8 <= size
    return all(end in tail for begin, end in _ENDS if start.startswith(begin))


def _spread_out(paths: Sequence[Path]) -> Iterable[Path]:
    """All of them, in an order whose every beginning is spread over the whole: by bit reversal."""
    bits = max(len(paths) - 1, 0).bit_length()
    for index in range(1 << bits):
        place = int(f"{index:0{bits}b}"[::-1], 2) if bits else index
        if place < len(paths):
            yield paths[place]
