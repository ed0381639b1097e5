"""The other end of :mod:`.process`: loads the model and answers until its input closes.

Standard output carries the answers, so whatever the frameworks print goes to standard error.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import onnx

from ghostedge_convert.sources.keras.files import Kind
from ghostedge_convert.sources.keras.wire import Array, Frame, KerasFacts, receive, send
from ghostedge_runtime.errors import GhostEdgeError


class Opened(Protocol):
    """A model in this process; the methods are those of ``RemoteKeras``."""

    facts: KerasFacts

    def export(self, *, input_size: tuple[int, int], batch: int) -> onnx.ModelProto:
        """The model as ONNX."""

    def answers(self, images: Array) -> tuple[Array, ...]:
        """The model's own outputs."""


def main() -> None:
    """Answer requests from standard input until it closes."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    warnings.simplefilter("ignore")
    model: Opened | None = None
    while (request := receive(sys.stdin.buffer)) is not None:
        model = _answer(model, request, answers)


def _answer(model: Opened | None, request: Frame, answers: IO[bytes]) -> Opened | None:
    """Answer one request; errors that say what to do are an answer, too."""
    try:
        if request.head["do"] == "open":
            model = _open(request.head)
            send(answers, _facts(model.facts))
        elif model is not None:
            head, arrays = _reply(model, request)
            send(answers, head, arrays)
    except GhostEdgeError as error:
        parts = {"what": error.what, "where": error.where, "remedy": error.remedy}
        send(answers, {"error": {"kind": type(error).__name__, **parts}})
    return model


def _open(head: dict[str, Any]) -> Opened:
    """Load with the framework that the kind needs, and only that."""
    path, custom = Path(head["path"]), head["custom_objects"]
    if Kind(head["kind"]) is Kind.SAVED_MODEL:
        from ghostedge_convert.sources.keras.saved_model import SavedModel

        return SavedModel(path)
    from ghostedge_convert.sources.keras.layers import LayeredModel

    return LayeredModel(
        path, Kind(head["kind"]), custom_objects=None if custom is None else Path(custom)
    )


def _facts(facts: KerasFacts) -> dict[str, Any]:
    return {
        "input_size": facts.input_size,
        "in_channels": facts.in_channels,
        "outputs": facts.outputs,
        "notes": facts.notes,
    }


def _reply(model: Opened, request: Frame) -> tuple[dict[str, Any], list[Array]]:
    if request.head["do"] == "export":
        height, width = request.head["input_size"]
        exported = model.export(input_size=(height, width), batch=request.head["batch"])
        return {}, [np.frombuffer(exported.SerializeToString(), np.uint8)]
    return {}, list(model.answers(request.arrays[0]))
