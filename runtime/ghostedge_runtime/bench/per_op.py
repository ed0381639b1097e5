"""How long every operator of a model takes by itself.

For finding out where the time goes, not for how long the whole takes: each format's ``op_times``
says in what its figures differ from that, so show `total_ms` beside the whole's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ghostedge_runtime.formats.table import ENGINES, resolve
from ghostedge_runtime.record import Case, OpTime


@dataclass(frozen=True)
class KindTime:
    """All operators of one kind.

    Attributes:
        op: The kind, such as ``CONV_2D``.
        count: How many there are, those without a time of their own included.
        total_ms: The sum of their medians, in milliseconds.
        share: Of the sum over all kinds, 0 to 1.
    """

    op: str
    count: int
    total_ms: float
    share: float


def time_ops(
    path: Path, case: Case, *, progress: Callable[[int, int], None] | None = None
) -> tuple[OpTime, ...]:
    """Time every operator of a model file by itself.

    Args:
        path: The file.
        case: Backend, threads and precision mode; the rest of it is not looked at.
        progress: Called with how much is done and how much there is.

    Returns:
        All operators, slowest first, those without a time of their own last.

    Raises:
        ModelFileError: The file is missing, damaged, or cannot be run.
        MissingDependencyError: The interpreter is not installed or, for ``.tflite``, not the
            bindings of its format: tflite-runtime comes without.
        InputError: Half precision is not to be had.
    """
    times: list[OpTime] = resolve(ENGINES[case.backend].times_ops)(path, case, progress)
    return tuple(sorted(times, key=lambda op: (-op.p50_ms, op.note is not None, op.index)))


def total_ms(ops: Iterable[OpTime]) -> float:
    """The sum of the operators' medians, in milliseconds."""
    return sum(op.p50_ms for op in ops)


def by_kind(ops: Iterable[OpTime]) -> tuple[KindTime, ...]:
    """Add up the operators of each kind.

    Returns:
        The kinds, the one that takes most first.
    """
    groups: dict[str, list[OpTime]] = {}
    for op in ops:
        groups.setdefault(op.op, []).append(op)
    whole = sum(total_ms(group) for group in groups.values())
    kinds = [
        KindTime(op, len(group), total_ms(group), total_ms(group) / whole if whole else 0.0)
        for op, group in groups.items()
    ]
    return tuple(sorted(kinds, key=lambda kind: (-kind.total_ms, kind.op)))
