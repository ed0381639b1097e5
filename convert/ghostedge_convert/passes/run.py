"""What a pass is, and how passes run one after another.

A pass is a function that edits an ``onnx_ir.Model`` in place and returns a note of what it did. It
must leave the function that the graph computes unchanged; where its pattern does not fit, it leaves
the graph alone and says so in the note. Passes edit ``onnx_ir`` rather than the protobuf: replacing
a value and finding its consumers are one call there, and every edit keeps the graph consistent.

`run_passes` checks after each pass what is cheap to check: the graph has the inputs and outputs
that it had, by name, type and shape, and the note is of the pass that ran. Whether the function is
unchanged is the tests' to check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from ghostedge_convert.passes.graph import static_shape
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
    """A pass raised, or left a graph that breaks the contract: a fault of ours."""


def run_passes(model: ir.Model, passes: Sequence[Pass]) -> tuple[PassNote, ...]:
    """Run the passes in order over one model, in place.

    Raises:
        PassFailedError: A pass failed or broke the contract; the message names it and those that
            ran before it.
        GhostEdgeError: A pass refused the model; its message is for the user and kept as it is.
    """
    notes: list[PassNote] = []
    interface = _interface(model)
    for step in passes:
        try:
            note = step(model)
            _check(model, step, note, interface)
        except GhostEdgeError:
            raise
        except Exception as error:  # whatever a pass raises, the user must learn which one it was
            before = ", ".join(note.name for note in notes) or "none"
            raise PassFailedError(
                f"the graph pass {_name(step)} failed: {error!r} (passes before it: {before})",
                where=model.graph.name,
                remedy="please report this with the model that causes it",
            ) from error
        notes.append(note)
    return tuple(notes)


Interface = tuple[tuple[str | None, ir.DataType | None, tuple[int, ...] | None], ...]
"""Name, type and, where it is static, shape of each input and output of a graph."""


def _interface(model: ir.Model) -> Interface:
    values = (*model.graph.inputs, *model.graph.outputs)
    return tuple((value.name, value.dtype, static_shape(value)) for value in values)


def _check(model: ir.Model, step: Pass, note: PassNote, before: Interface) -> None:
    """Hold a pass to what it must keep.

    Raises:
        RuntimeError: An input or output is another, or the note names another pass.
    """
    after = _interface(model)
    unknown = (None,)  # a type or shape that one side does not state
    same = len(after) == len(before) and all(
        old == new or old in unknown or new in unknown
        for values in zip(before, after, strict=True)
        for old, new in zip(*values, strict=True)
    )
    if not same:
        raise RuntimeError(f"it changed the graph's inputs and outputs from {before} to {after}")
    if note.name != _name(step):
        raise RuntimeError(f"its note is of {note.name!r}")


def _name(step: Pass) -> str:
    return getattr(step, "__name__", repr(step))
