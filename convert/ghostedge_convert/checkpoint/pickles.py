"""What a pickle wanted to run, read from its opcodes without running any.

A pickle's names are not those of its classes alone: it calls what it names. So it is loaded by
torch's own restricted reader, and a refusal lists the names that are not allowed.
"""

from __future__ import annotations

import contextlib
import io
import pickletools
import zipfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from pickle import HIGHEST_PROTOCOL

from ghostedge_convert.checkpoint.stand_ins import HARMLESS
from ghostedge_convert.checkpoint.unwrap import EMA_WRAPPERS, WRAPPERS, listed, printable
from ghostedge_runtime.errors import CheckpointError

# What every plain state_dict calls; torch allows these under weights_only too.
_PLAIN = frozenset(
    {
        "collections.OrderedDict",
        "collections.Counter",
        "torch.Size",
        "torch.Tensor",
        "torch.device",
        "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout",
        "_codecs.encode",
        "builtins.bytearray",
        "builtins.complex",
        "builtins.set",
    }
)
_PLAIN_PREFIXES = ("torch._utils._rebuild", "torch._tensor._rebuild")
_SHOWN = 8
# The newest that torch's restricted reader knows; torch.save writes it unless told otherwise.
_PROTOCOL = 2
# torch.save's format before 1.6 begins with this number: pickles of it, the format's version, the
# machine, the object and the storages' names, then the storages' bytes, which are no opcodes.
_OLD_FORMAT, _OLD_PICKLES = 0x1950A86A20F9469CFC6C, 5


@dataclass(frozen=True)
class PickleContent:
    """What the opcodes of a pickle mention.

    Attributes:
        globals: Importable names, which loading it would call.
        strings: Plain strings.
        protocol: The newest pickle protocol that it states.
    """

    globals: tuple[str, ...]
    strings: frozenset[str]
    protocol: int

    @property
    def wanted(self) -> tuple[str, ...]:
        """The names that are neither torch's own for tensors nor on the list of harmless types."""
        return tuple(name for name in self.globals if not _is_harmless(name))

    @property
    def is_refused(self) -> bool:
        """Whether it is one that no restricted reader loads, however whole the file is."""
        return bool(self.wanted) or self.protocol > _PROTOCOL


def refuse_pickle(
    path: Path, data: bytes, content: PickleContent, error: Exception
) -> CheckpointError:
    """The error for a torch file that ``weights_only=True`` would not load.

    Args:
        path: The file.
        data: Its bytes.
        content: What is in its pickle.
        error: What torch raised.
    """
    if not content.is_refused:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        return CheckpointError(
            f"it cannot be read as a torch checkpoint of {len(data):,} bytes: cut or damaged "
            f"({printable(reason, 300)})",
            where=path,
            remedy="copy or download it again",
        )
    weights = f'checkpoint["{_wrapper(content.strings)}"]'
    if not content.wanted:
        return CheckpointError(
            f"it is a pickle of protocol {content.protocol}, of which torch's restricted reader "
            f"knows those up to {_PROTOCOL} only",
            where=path,
            remedy=_snippet(path, weights),
        )
    if any(name.startswith("torch.nn.modules.") for name in content.wanted):
        what = "it is a whole pickled module, not weights"
        weights = "checkpoint.state_dict()"
    else:
        what = "it holds more than weights"
    return CheckpointError(
        f"{what}: loading it would run code of {listed(content.wanted, _SHOWN)}",
        where=path,
        remedy=_snippet(path, weights),
    )


def scan_pickle(data: bytes) -> PickleContent:
    """Read the opcodes of every pickle at the start of a torch file, as far as they go."""
    stream = io.BytesIO(_pickle_bytes(data))
    seen = _Seen()
    # The reader ends by raising, at the end of the bytes or at any damage; what it has read until
    # then is kept.
    first: object = None
    with contextlib.suppress(Exception):
        for number in count(1):
            for opcode, argument, _ in pickletools.genops(stream):
                seen.add(opcode.name, argument)
                first = argument if number == 1 and opcode.name == "LONG1" else first
            if first == _OLD_FORMAT and number == _OLD_PICKLES:
                break
    return PickleContent(tuple(seen.names), frozenset(seen.strings), seen.protocol)


class _Seen:
    """What one opcode after the other has mentioned."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.strings: list[str] = []
        self.protocol = 0
        # From protocol 4 on a name is put together from two strings, which may be remembered ones.
        self._memo: list[str | None] = []
        self._last: str | None = None

    def add(self, opcode: str, argument: object) -> None:
        if opcode == "MEMOIZE":
            self._memo.append(self._last)
            return
        self._last = None
        if opcode in ("GLOBAL", "INST"):
            self.names[str(argument).replace(" ", ".")] = None
        elif opcode == "STACK_GLOBAL" and len(self.strings) > 1:
            self.names[".".join(self.strings[-2:])] = None
        elif opcode == "PROTO" and isinstance(argument, int) and argument <= HIGHEST_PROTOCOL:
            self.protocol = max(self.protocol, argument)
        elif opcode in ("BINGET", "LONG_BINGET") and isinstance(argument, int):
            self._push(self._memo[argument] if argument < len(self._memo) else None)
        elif isinstance(argument, str):
            self._push(argument)

    def _push(self, text: str | None) -> None:
        self._last = text
        if text is not None:
            self.strings.append(text)


def _pickle_bytes(data: bytes) -> bytes:
    if data[:2] != b"PK":
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        return archive.read(name)


def _is_harmless(name: str) -> bool:
    # Pickles of protocol 2 write Python 2's name of the module.
    name = name.replace("__builtin__.", "builtins.")
    if name in _PLAIN or name in HARMLESS or name.startswith(_PLAIN_PREFIXES):
        return True
    module, _, leaf = name.rpartition(".")
    return module in ("torch", "torch.storage") and (leaf.endswith("Storage") or leaf.islower())


def _wrapper(strings: frozenset[str]) -> str:
    return next((name for name in (*WRAPPERS, *EMA_WRAPPERS) if name in strings), "state_dict")


def _snippet(path: Path, weights: str) -> str:
    stem = path.name.split(".")[0]
    return (
        "add --unsafe-pickle, which runs that code in a confined process (Linux); or, if you trust "
        "its author, save the weights alone where its classes are installed:\n"
        f'      checkpoint = torch.load("{path.name}", map_location="cpu", weights_only=False)\n'
        f'      torch.save({weights}, "{stem}_weights.pt")'
    )
