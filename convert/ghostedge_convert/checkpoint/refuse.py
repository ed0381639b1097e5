"""Files that people pass for weights and that are none: refused by name, with what to do about it.

- Archives and compressed files: the remedy is the command that unpacks them. Only the directories
  of archives are read, and of compressed files only the beginning.
- A torch zip that does not open. torch streams its records (``data.pkl`` first, then one per
  storage) and writes the archive's directory last, so a cut file has no directory, and only the
  pickle at its start holds how many bytes of weights were to come.
- Weights in several files, as hubs split large ones: the remedy is the code that joins them. No
  network of the family needs to be split, so they are not joined here.
"""

from __future__ import annotations

import io
import json
import pickletools
import re
import shlex
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ghostedge_convert.checkpoint.unwrap import printable
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
_END_OF_DIRECTORY = b"PK\x05\x06"
_RECORD = b"PK\x03\x04"
_ITEM_BYTES = {
    "DoubleStorage": 8,
    "LongStorage": 8,
    "FloatStorage": 4,
    "IntStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}
_SHARD = re.compile(r"(?P<stem>.+)-(?P<part>\d{3,6})-of-(?P<parts>\d{3,6})(?P<suffix>\.\w+)")
_INDEX_KEY = b'"weight_map"'


def refuse_archive(path: Path, data: bytes) -> None:
    """Raise where the bytes are an archive or a compressed file; else return.

    A zip is not among them: torch's own files are zips, see `refuse_broken_zip`.

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
        pass  # cut: those read so far are returned
    return names


def _unpacked(path: Path) -> str:
    """A name for the file without its compression: ``model.pth`` of ``model.pth.gz``."""
    stem, dot, suffix = path.name.rpartition(".")
    if dot and suffix.lower() in ("gz", "bz2", "xz", "zst"):
        return shlex.quote(stem)
    return shlex.quote(f"unpacked_{path.name}")


def refuse_broken_zip(path: Path, data: bytes) -> None:
    """Raise where the bytes are a zip that is cut, damaged, or no checkpoint; else return.

    Raises:
        CheckpointError: With the byte where the file ended, or the record that is damaged.
    """
    if data[:4] != _RECORD:
        return
    if _END_OF_DIRECTORY not in data[-(1 << 16) - 22 :]:
        least = _least_length(data)
        of = f", though its weights alone take {least:,}" if least > len(data) else ""
        raise CheckpointError(
            f"the file is cut: it ends at byte {len(data):,}{of}; the archive's directory, which "
            "comes last, is missing",
            where=path,
            remedy="copy or download it again",
        )
    names = _checked_names(path, data)
    if any("/code/" in name or name.endswith("constants.pkl") for name in names):
        raise CheckpointError(
            "this is a TorchScript program, not weights",
            where=path,
            remedy="convert it as it is, without --factory; or save its weights: "
            f"torch.save(torch.jit.load({path.name!r}).state_dict(), "
            "'weights.pt')",
        )
    if not any(name.endswith("data.pkl") for name in names):
        inside = weights_among(names)
        shown = ", ".join(printable(name) for name in (inside or names)[:3])
        raise CheckpointError(
            f"this is a zip of other files ({shown or 'none'}), not a checkpoint",
            where=path,
            remedy=f"unpack it first: unzip {shlex.quote(path.name)}, and pass "
            f"{inside[0] if inside else 'the weights file inside'}",
        )


def refuse_unpacked(folder: Path) -> None:
    """Raise where a folder is a torch file that was unpacked, as some systems do on download.

    Raises:
        CheckpointError: With the command that packs it again.
    """
    inside = [folder, *(p for p in sorted(folder.iterdir()) if p.is_dir())]
    archive = next((p for p in inside if (p / "data.pkl").is_file()), None)
    if archive is None:
        return
    packed = f"{folder.stem}_packed.pt"
    parent, name = shlex.quote(str(archive.parent)), shlex.quote(archive.name)
    raise CheckpointError(
        "this is a torch file that was unpacked into a folder",
        where=folder,
        remedy=f"pack it again: (cd {parent} && zip -0 -r - {name}) > {shlex.quote(packed)}",
    )


def _checked_names(path: Path, data: bytes) -> list[str]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            damaged = archive.testzip()
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError, EOFError,
            zlib.error, IndexError) as error:  # fmt: skip
        raise CheckpointError(
            f"its zip archive is damaged ({error})",
            where=path,
            remedy="copy or download it again",
        ) from error
    if damaged is not None:
        raise CheckpointError(
            f"the record {damaged} is damaged (its checksum differs)",
            where=path,
            remedy="copy or download it again",
        )
    return names


def _least_length(data: bytes) -> int:
    """Bytes of the storages that the pickle in the first record names; 0 where unreadable."""
    name_length, extra_length = (int.from_bytes(data[i : i + 2], "little") for i in (26, 28))
    start = 30 + name_length + extra_length
    total, storage, number = 0, "", 0
    memo: dict[object, str] = {}
    last = ""
    try:
        for opcode, argument, _ in pickletools.genops(data[start:]):
            if opcode.name == "GLOBAL":
                last = str(argument).partition(" ")[2]
            elif opcode.name in ("BINPUT", "LONG_BINPUT"):
                memo[argument] = last
            elif opcode.name in ("BINGET", "LONG_BINGET"):
                last = memo.get(argument, "")
            elif opcode.name in ("BININT", "BININT1", "BININT2"):
                number = int(argument or 0)
            elif opcode.name == "BINPERSID":
                total += number * _ITEM_BYTES.get(storage, 0)
            else:
                last = ""
            storage = last if last in _ITEM_BYTES else storage
    except (ValueError, EOFError, IndexError, UnicodeError):
        return 0  # the pickle itself is cut: nothing is known of the rest
    return total


def refuse_shard(path: Path, data: bytes) -> None:
    """Raise where the file is one of several that hold the weights, or the index of those.

    Args:
        path: The file; one of several is known by its name, ``…-00001-of-00003.…``.
        data: Its bytes; an index is a JSON text with a ``weight_map``.

    Raises:
        CheckpointError: With the code that joins the parts.
    """
    match = _SHARD.fullmatch(path.name)
    if match and int(match["parts"]) > 1:
        raise CheckpointError(
            f"this is part {int(match['part'])} of {int(match['parts'])} of the weights",
            where=path,
            remedy=_joining(f"{match['stem']}-*-of-{match['parts']}{match['suffix']}"),
        )
    if data[:1] == b"{" and _INDEX_KEY in data:
        parts = _parts(data)
        raise CheckpointError(
            f"this is the index of weights in {len(parts)} files ({', '.join(parts[:3])}"
            f"{', …' if len(parts) > 3 else ''}), not the weights",
            where=path,
            remedy=_remedy(parts),
        )


def _remedy(parts: list[str]) -> str:
    if len(parts) == 1:
        return f"pass {parts[0]}"
    match = _SHARD.fullmatch(parts[0]) if parts else None
    pattern = (
        f"{match['stem']}-*-of-{match['parts']}{match['suffix']}" if match else "*.safetensors"
    )
    return _joining(pattern)


def _parts(data: bytes) -> list[str]:
    try:
        names = set(json.loads(data)["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    return sorted(name for name in names if isinstance(name, str) and name.isprintable())


def _joining(pattern: str) -> str:
    stem, _, suffix = pattern.partition("-*-of-")
    safe = suffix.endswith(".safetensors") or pattern == "*.safetensors"
    load = "load_file(part)" if safe else 'torch.load(part, map_location="cpu", weights_only=True)'
    name = "joined" if pattern == "*.safetensors" else f"{stem}_joined"
    return (
        "join the parts first, where they lie together:\n"
        "      import glob, torch\n"
        "      from safetensors.torch import load_file, save_file\n"
        "      weights = {}\n"
        f'      for part in sorted(glob.glob("{pattern}")): weights.update({load})\n'
        f'      save_file(weights, "{name}.safetensors")'
    )
