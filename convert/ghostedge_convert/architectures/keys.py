"""What is wrong with weights that do not fit a network, the likeliest slips first."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence

from ghostedge_runtime.errors import CheckpointError

_SHOWN = 6
# Closest matches are sought for so many keys, among so many: each pair costs a comparison.
_COMPARED = 24
_AMONG = 256
_OPTIONAL = "num_batches_tracked"


def refuse_keys(found: Collection[str], expected: Collection[str], title: str, where: str) -> None:
    """Raise where keys are missing or surplus; counters of batches may be missing.

    Raises:
        CheckpointError: Pairs each missing key with the surplus key most like it.
    """
    missing = [key for key in expected if key not in found and not key.endswith(_OPTIONAL)]
    surplus = [key for key in found if key not in expected]
    if not missing and not surplus:
        return
    prefix = _shared_prefix(surplus, missing)
    if prefix:
        raise CheckpointError(
            f"every key of the {title} has {prefix!r} before it: {listed(surplus)}",
            where=where,
            remedy=f"remove the prefix {prefix!r} from the keys",
        )
    matching = len(found) - len(surplus)
    if matching < len(expected) / 2:
        raise CheckpointError(
            f"these are not the weights of a {title}: {matching} of {len(found)} keys are its own; "
            f"the file has {listed(surplus)}; missing are {_pairs(missing, surplus)}",
            where=where,
            remedy=f"pass a {title} checkpoint",
        )
    parts = []
    if missing:
        parts.append(f"{len(missing)} weights are missing: {_pairs(missing, surplus)}")
    if surplus:
        parts.append(f"{len(surplus)} are surplus: {listed(surplus)}")
    raise CheckpointError(
        f"these are not quite the weights of a {title}; {'; '.join(parts)}",
        where=where,
        remedy="rename or remove the keys, or save the checkpoint from an unchanged network",
    )


def refuse_shapes(
    found: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
    member: str,
    where: str,
    *,
    title: str,
    remedy: str | None = None,
) -> None:
    """Raise where a weight is not of the shape that the network needs.

    Raises:
        CheckpointError: Shows the shapes in the file and those needed.
    """
    wrong = [key for key in expected if key in found and found[key] != expected[key]]
    if not wrong:
        return
    shown = "; ".join(f"{k} is {found[k]}, needs {expected[k]}" for k in wrong[:_SHOWN])
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    raise CheckpointError(
        f"{len(wrong)} weights have other shapes than {member}'s: {shown}{more}",
        where=where,
        remedy=remedy or f"pass a checkpoint of an unchanged {title}",
    )


def _shared_prefix(surplus: Sequence[str], missing: Sequence[str]) -> str:
    """What stands before every surplus key and would make each of them a missing one."""
    if not surplus or not missing:
        return ""
    for key in missing:
        if surplus[0].endswith(f".{key}"):
            prefix = surplus[0].removesuffix(key)
            rest = {k.removeprefix(prefix) for k in surplus}
            if rest.issuperset(missing):
                return prefix
    return ""


def _pairs(missing: Sequence[str], surplus: Sequence[str]) -> str:
    """The missing keys, each with its closest surplus key, the closest pairs first."""
    ranked = []
    for key in missing[:_COMPARED]:
        close = difflib.get_close_matches(key, surplus[:_AMONG], n=1, cutoff=0.7)
        score = difflib.SequenceMatcher(None, key, close[0]).ratio() if close else 0.0
        ranked.append((score, f"{key} (the file has {close[0]})" if close else key))
    ranked.sort(key=lambda pair: -pair[0])
    return listed([text for _, text in ranked], of=len(missing))


def listed(items: Sequence[str], *, of: int | None = None) -> str:
    """The first of the items, and how many more there are, of these or of ``of`` in all."""
    total = len(items) if of is None else of
    shown = ", ".join(items[:_SHOWN]) or "none"
    return f"{shown} and {total - _SHOWN} more" if total > _SHOWN else shown
