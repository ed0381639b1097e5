"""What a pass is, and how passes run in a row.

A pass is a function that edits an ``onnx_ir.Model`` in place and returns a note of what it did. It
must leave the function that the graph computes unchanged; where its pattern does not fit it leaves
the graph alone and the note says so. ``onnx_ir`` rather than the protobuf, because replacing a
value and finding its consumers are one call there and every edit keeps the graph consistent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from ghostedge_runtime.errors import GhostEdgeError


@dataclass(frozen=True)
class PassNote:
    """What one pass did.

    Attributes:
        name: The pass's function name.
        edits: How many places it changed.
        note: One line for a person: what was changed, and what was left and why.
    """

    name: str
    edits: int
    note: str


Pass = Callable[[ir.Model], PassNote]


class PassFailedError(GhostEdgeError):
    """A pass raised, or left a graph that breaks a rule: a fault of ours."""


def run_passes(model: ir.Model, passes: Sequence[Pass]) -> tuple[PassNote, ...]:
    """Run the passes in order over one model, in place.

    Raises:
        PassFailedError: A pass failed; the message names it and those that ran before it.
    """
    notes: list[PassNote] = []
    for step in passes:
        notes.append(_run(model, step, [note.name for note in notes]))
    return tuple(notes)


def _run(model: ir.Model, step: Pass, done: list[str]) -> PassNote:
    try:
        return step(model)
    except Exception as error:  # whatever a pass raises, the user must learn which one it was
        name, before = getattr(step, "__name__", repr(step)), ", ".join(done) or "none"
        raise PassFailedError(
            f"the graph pass {name} failed: {error!r} (passes before it: {before})",
            where=model.graph.name,
            remedy="please report this with the model that causes it",
        ) from error
