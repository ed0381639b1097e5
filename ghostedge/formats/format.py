"""What an inspection finds, whatever the kind of file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ghostedge.records.manifest import TensorSignature


@dataclass(frozen=True)
class OpCount:
    """One kind of operator in a graph.

    Attributes:
        op: The format's own name of the operator.
        count: How often it occurs.
        int8: How many of them compute on int8 activations.
        macs: Multiply-accumulates of all of them, for one run of the graph as it is written.
    """

    op: str
    count: int
    int8: int
    macs: int


@dataclass(frozen=True)
class Inspection:
    """What is in a checkpoint, an ``.onnx`` or a ``.tflite``.

    Attributes:
        facts: What does not fit a column, in the order it is shown.
        parameters: Elements of all weights and biases.
        macs: Multiply-accumulates of one run; None where the file does not tell.
        metadata: The ghostedge metadata inside, as its JSON document; None where there is none.
    """

    file: str
    kind: Literal["checkpoint", "onnx", "tflite"]
    bytes: int
    sha256: str
    parameters: int
    macs: int | None
    facts: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[TensorSignature, ...] = ()
    outputs: tuple[TensorSignature, ...] = ()
    ops: tuple[OpCount, ...] = ()
    metadata: Mapping[str, Any] | None = None


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
