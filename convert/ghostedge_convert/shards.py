"""Weights in several files, as hubs split large ones: refused by name, with the way to join them.

No network of the family is large enough to be split for a reason, so they are not joined here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from ghostedge_runtime.errors import CheckpointError

_SHARD = re.compile(r"(?P<stem>.+)-(?P<part>\d{3,6})-of-(?P<parts>\d{3,6})(?P<suffix>\.\w+)")
_INDEX_KEY = b'"weight_map"'


def refuse_shard(path: Path, data: bytes) -> None:
    """Raise where the file is one of several that hold the weights, or the index of those.

    Args:
        path: The file; one of several is known by its name, ``…-00001-of-00003.…``.
        data: Its bytes; an index is a JSON text with a ``weight_map``.

    Raises:
        CheckpointError: With the code that joins the parts.
    """
    found = _SHARD.fullmatch(path.name)
    if found and int(found["parts"]) > 1:
        raise CheckpointError(
            f"this is part {int(found['part'])} of {int(found['parts'])} of the weights",
            where=path,
            remedy=_joining(f"{found['stem']}-*-of-{found['parts']}{found['suffix']}"),
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
    found = _SHARD.fullmatch(parts[0]) if parts else None
    pattern = (
        f"{found['stem']}-*-of-{found['parts']}{found['suffix']}" if found else "*.safetensors"
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
