"""What a pickle wanted to run, read from its opcodes without running any."""

from __future__ import annotations

import contextlib
import io
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ghostedge_convert.wrappers import EMA_WRAPPERS, WRAPPERS
from ghostedge_runtime.errors import CheckpointError

# What every plain state_dict calls; torch allows these under weights_only too.
_HARMLESS = frozenset(
    {
        "collections.OrderedDict",
        "collections.Counter",
        "torch.Size",
        "torch.Tensor",
        "torch.device",
        "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout",
        "_codecs.encode",
        "builtins.set",
        "__builtin__.set",
    }
)
_HARMLESS_PREFIXES = ("torch._utils._rebuild", "torch._tensor._rebuild")
_SHOWN = 8


@dataclass(frozen=True)
class PickleContent:
    """What the opcodes of a pickle mention: importable names and plain strings."""

    globals: tuple[str, ...]
    strings: frozenset[str]


def refuse_pickle(path: Path, data: bytes, error: Exception) -> CheckpointError:
    """The error for a torch file that ``weights_only=True`` would not load.

    Args:
        path: The file.
        data: Its bytes.
        error: What torch raised.
    """
    content = scan_pickle(data)
    wanted = [name for name in content.globals if not _is_harmless(name)]
    if not wanted:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        return CheckpointError(
            f"it cannot be read as a torch checkpoint of {len(data):,} bytes: cut or damaged "
            f"({reason})",
            where=path,
            remedy="copy or download it again",
        )
    shown = ", ".join(wanted[:_SHOWN]) + (
        f" and {len(wanted) - _SHOWN} more" if len(wanted) > _SHOWN else ""
    )
    if any(name.startswith("torch.nn.modules.") for name in wanted):
        what = "it is a whole pickled module, not weights"
        weights = "checkpoint.state_dict()"
    else:
        what = "it holds more than weights"
        weights = f'checkpoint["{_wrapper(content.strings)}"]'
    return CheckpointError(
        f"{what}: loading it would run code of {shown}",
        where=path,
        remedy=_snippet(path, weights),
    )


def scan_pickle(data: bytes) -> PickleContent:
    """Read the opcodes of every pickle at the start of a torch file, as far as they go."""
    stream = io.BytesIO(_pickle_bytes(data))
    names: dict[str, None] = {}
    strings: list[str] = []
    # The reader ends by raising: at the end of the bytes, or wherever damage trips it, in any way.
    # What it has seen until then is what there is to tell.
    with contextlib.suppress(Exception):
        while True:
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name in ("GLOBAL", "INST"):
                    names[str(argument).replace(" ", ".")] = None
                elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
                    names[f"{strings[-2]}.{strings[-1]}"] = None
                elif isinstance(argument, str):
                    strings.append(argument)
    return PickleContent(tuple(names), frozenset(strings))


def _pickle_bytes(data: bytes) -> bytes:
    if data[:2] != b"PK":
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        return archive.read(name)


def _is_harmless(name: str) -> bool:
    if name in _HARMLESS or name.startswith(_HARMLESS_PREFIXES):
        return True
    module, _, leaf = name.rpartition(".")
    return module in ("torch", "torch.storage") and (leaf.endswith("Storage") or leaf.islower())


def _wrapper(strings: frozenset[str]) -> str:
    return next((name for name in (*WRAPPERS, *EMA_WRAPPERS) if name in strings), "state_dict")


def _snippet(path: Path, weights: str) -> str:
    stem = path.name.split(".")[0]
    return (
        "if you trust its author, save the weights alone where its classes are installed:\n"
        f'      checkpoint = torch.load("{path.name}", map_location="cpu", weights_only=False)\n'
        f'      torch.save({weights}, "{stem}_weights.pt")'
    )
