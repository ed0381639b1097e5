"""Axis permutations as the layout passes speak of them.

A permutation is ONNX's ``perm``: axis ``i`` of the result is axis ``perm[i]`` of the source.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ghostedge_convert.passes.graph import static_shape

Perm = tuple[int, ...]


def perm_of(transpose: ir.Node) -> Perm | None:
    """The permutation of a Transpose; None where it is not stated and the rank is unknown."""
    stated = transpose.attributes.get("perm")
    if stated is not None:
        return tuple(int(axis) for axis in stated.as_ints())
    shape = static_shape(transpose.inputs[0])
    return None if shape is None else tuple(reversed(range(len(shape))))


def inverse(perm: Perm) -> Perm:
    """The permutation that undoes this one."""
    return tuple(perm.index(axis) for axis in range(len(perm)))


def compose(first: Perm, second: Perm) -> Perm:
    """One permutation for ``second`` after ``first``."""
    return tuple(first[axis] for axis in second)


def is_identity(perm: Sequence[int]) -> bool:
    """Whether every axis stays."""
    return list(perm) == list(range(len(perm)))


def moves_nothing(shape: Sequence[int], perm: Perm) -> bool:
    """Whether the elements stay in order: only axes of size 1 change places with others."""
    kept = [axis for axis in perm if shape[axis] != 1]
    return kept == sorted(kept)


def ranks(axes: Sequence[int]) -> Perm:
    """The order of some axes among themselves, as a permutation: (3, 0, 2) → (2, 0, 1)."""
    ordered = sorted(axes)
    return tuple(ordered.index(axis) for axis in axes)
