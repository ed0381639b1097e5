"""Archives that people pass for the weights inside: refused by name, with the command that unpacks.

Only their directories are read, and of compressed ones only the beginning; nothing is unpacked.
"""

from __future__ import annotations

import io
import shlex
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ghostedge_runtime.errors import CheckpointError

_WEIGHTS = (
    ".safetensors",
    ".pt",
    ".pth",
    ".tar",
    ".bin",
    ".ckpt",
    ".pkl",
    ".h5",
    ".keras",
    ".onnx",
)
_LISTED = 200
_BEGINNING = 1 << 12
# First bytes, what it is, what unpacks FILE.
_COMPRESSED: tuple[tuple[bytes, str, str], ...] = (
    (b"BZh", "bzip2", "bzip2 -dc"),
    (b"\xfd7zXZ\x00", "xz", "xz -dc"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -dc"),
)
_PACKERS: tuple[tuple[bytes, str, str], ...] = (
    (b"7z\xbc\xaf\x27\x1c", "7-Zip", "7z x"),
    (b"Rar!\x1a\x07", "RAR", "unrar x"),
)


def refuse_archive(path: Path, data: bytes) -> None:
    """Raise where the bytes are an archive or a compressed file; else return.

    A zip is not among them: torch's own files are zips, see ``zips``.

    Raises:
        CheckpointError: With what is inside, where that can be seen, and the command.
    """
    name = shlex.quote(path.name)
    if data[:2] == b"\x1f\x8b":
        _refuse_gzip(path, data, name)
    if data[257:262] == b"ustar":
        inside = weights_among(_tar_names(data))
        what = f"a tar archive{_holding(inside)}"
        _refuse(path, what, f"unpack it first: tar -xf {name}", inside)
    for magic, what, command in _COMPRESSED:
        if data.startswith(magic):
            remedy = f"unpack it first: {command} {name} > {_unpacked(path)}"
            _refuse(path, f"a file compressed with {what}", remedy)
    for magic, what, command in _PACKERS:
        if data.startswith(magic):
            _refuse(path, f"a {what} archive", f"unpack it first: {command} {name}")


def weights_among(names: Sequence[str]) -> list[str]:
    """The names that look like weights files."""
    return [
        name
        for name in names
        if PurePosixPath(name).suffix.lower() in _WEIGHTS and name.isprintable()
    ]


def _refuse_gzip(path: Path, data: bytes, name: str) -> None:
    beginning = _inflated(data)
    if beginning[257:262] == b"ustar":
        inside = weights_among(_tar_names(beginning))
        what = f"a gzip-compressed tar archive{_holding(inside)}"
        _refuse(path, what, f"unpack it first: tar -xzf {name}", inside)
    what = "a gzip archive" + (" of a torch file" if beginning[:2] in (b"PK", b"\x80\x02") else "")
    _refuse(path, what, f"unpack it first: gzip -dc {name} > {_unpacked(path)}")


def _refuse(path: Path, what: str, remedy: str, inside: Sequence[str] = ()) -> None:
    then = f", and pass {inside[0]}" if inside else ""
    raise CheckpointError(f"this is {what}, not weights", where=path, remedy=remedy + then)


def _holding(inside: Sequence[str]) -> str:
    return f" that holds {', '.join(inside[:3])}" if inside else ""


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(data[: _BEGINNING * 4], _BEGINNING)
    except zlib.error:
        return b""


def _tar_names(data: bytes) -> list[str]:
    """The members' names, as far as the bytes go."""
    names: list[str] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            while len(names) < _LISTED and (member := archive.next()) is not None:
                names.append(member.name)
    except (tarfile.TarError, EOFError, ValueError, OSError, OverflowError):
        pass  # cut: those seen so far are what there is to tell
    return names


def _unpacked(path: Path) -> str:
    """A name for the file without its compression: ``model.pth`` of ``model.pth.gz``."""
    stem, dot, suffix = path.name.rpartition(".")
    if dot and suffix.lower() in ("gz", "bz2", "xz", "zst"):
        return shlex.quote(stem)
    return shlex.quote(f"unpacked_{path.name}")
