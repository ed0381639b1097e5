"""Einsum of one or two operands: sums, permutations, products and matrix products."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Node

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Part = tuple[int, str]
"""A tensor and the letters of its axes."""


def einsum(e: Emitter, node: Node) -> None:
    """Einsum as sums, then a product of matrices or, where nothing is summed over, a plain one.

    Raises:
        UnsupportedOpError: A diagonal, more than two operands, or an axis that is repeated.
    """
    terms, out = _terms(e, node)
    sizes: dict[str, int] = {}
    for name, term in zip(node.inputs, terms, strict=True):
        for letter, size in zip(term, e.value(name).shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                node.refuse(f"an axis of size 1 that is repeated ({letter})", "Expand it before")
    parts = [_summed(e, node, terms, position, out) for position in range(len(terms))]
    if len(parts) == 1:
        x, letters = parts[0]
    elif any(letter in parts[1][1] and letter not in out for letter in parts[0][1]):
        x, letters = _as_matrices(e, parts[0], parts[1], out, sizes)
    else:
        x, letters = _as_they_stand(e, parts[0], parts[1], out, sizes)
    e.bind(node, e.transposed(x, tuple(letters.index(out[a]) for a in e.order(node.outputs[0]))))


def _terms(e: Emitter, node: Node) -> tuple[list[str], str]:
    """The letters of each operand and of the output, the axes of an ellipsis named too."""
    left, arrow, out = str(node.attributes["equation"]).replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) > 2:
        node.refuse(f"{len(terms)} operands", "multiply two at a time")
    if not arrow:
        out = "..." * ("..." in left) + "".join(
            sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1)
        )
    free = "".join(letter for letter in _LETTERS if letter not in left)
    hidden = [
        e.value(name).rank - len(term.replace("...", ""))
        for name, term in zip(node.inputs, terms, strict=True)
    ]
    wide = max(hidden)
    named = [
        term.replace("...", free[wide - count : wide])
        for term, count in zip(terms, hidden, strict=True)
    ]
    for term in named:
        if len(set(term)) != len(term):
            node.refuse(f"a diagonal ({term})", "take the diagonal before")
    return named, out.replace("...", free[:wide])


def _summed(e: Emitter, node: Node, terms: list[str], position: int, out: str) -> Part:
    """An operand, summed over the axes that neither the other one nor the output has."""
    term = terms[position]
    others = out + "".join(terms[:position] + terms[position + 1 :])
    x = e.operand(node, position, tuple(range(len(term))))
    gone = [axis for axis, letter in enumerate(term) if letter not in others]
    if not gone:
        return x, term
    letters = "".join(letter for letter in term if letter in others)
    shape = [size for axis, size in enumerate(e.tensor(x).shape) if axis not in gone]
    target = e.temporary(f"{node.outputs[0]}/sum", shape, x)
    return e.op("SUM", [x, e.int32(gone, "axes")], [target], keepDims=False), letters


def _as_matrices(e: Emitter, a: Part, b: Part, out: str, sizes: Mapping[str, int]) -> Part:
    """A product of matrices: rows, what is summed over, columns; a batch of what all three have."""
    batch = "".join(c for c in a[1] if c in b[1] and c in out)
    inner = "".join(c for c in a[1] if c in b[1] and c not in out)
    rows = "".join(c for c in a[1] if c not in b[1])
    columns = "".join(c for c in b[1] if c not in a[1])
    many, height, depth, width = (
        math.prod(sizes[c] for c in letters) for letters in (batch, rows, inner, columns)
    )
    left = _laid_out(e, a, batch + rows + inner, (many, height, depth))
    right = _laid_out(e, b, batch + inner + columns, (many, depth, width))
    target = e.temporary("product", (many, height, width), left)
    letters = batch + rows + columns
    product = e.op("BATCH_MATMUL", [left, right], [target])
    return e.shaped(product, [sizes[c] for c in letters]), letters


def _as_they_stand(e: Emitter, a: Part, b: Part, out: str, sizes: Mapping[str, int]) -> Part:
    """An elementwise product of what is broadcast to the output's axes."""
    parts = []
    for part in (a, b):
        letters = "".join(c for c in out if c in part[1])
        shape = [sizes[c] if c in part[1] else 1 for c in out]
        parts.append(_laid_out(e, part, letters, shape))
    target = e.temporary("product", [sizes[c] for c in out], parts[0])
    return e.op("MUL", parts, [target], fusedActivationFunction="NONE"), out


def _laid_out(e: Emitter, part: Part, letters: str, shape: Sequence[int]) -> int:
    """A tensor with its axes in another order, then seen in another shape."""
    x, own = part
    return e.shaped(e.transposed(x, tuple(own.index(c) for c in letters)), shape)
