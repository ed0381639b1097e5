"""What is wrong with a torch zip that does not open.

torch streams its records (``data.pkl`` first, then one per storage) and writes the archive's
directory last, so a cut file has no directory, and only the pickle at its start knows how many
bytes of weights were to come.
"""

from __future__ import annotations

import io
import pickletools
import shlex
import zipfile
import zlib
from pathlib import Path

from ghostedge_convert.checkpoint.refuse import weights_among
from ghostedge_convert.checkpoint.unwrap import printable
from ghostedge_runtime.errors import CheckpointError

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
    found = next((p for p in inside if (p / "data.pkl").is_file()), None)
    if found is None:
        return
    packed = f"{folder.stem}_packed.pt"
    parent, name = shlex.quote(str(found.parent)), shlex.quote(found.name)
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
    """Bytes of the storages that the pickle in the first record speaks of; 0 where unreadable."""
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
