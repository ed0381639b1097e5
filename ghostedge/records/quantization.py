"""What ``ghostedge inspect --quantization … --json`` printed, without what it takes to measure it.

The measuring needs onnx and onnxruntime; a report of it does not, so the part of its document that
is shown is described here once more. Fields that are not named here are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ghostedge_runtime.decode import decode, read_json
from ghostedge_runtime.errors import InputError

_REMEDY = (
    "write it with `ghostedge inspect --quantization MODEL_int8.onnx --calib DIR --json > FILE`"
)


@dataclass(frozen=True)
class ActivationError:
    """A layer's output: signal over the error of its own codes, and with all before it too."""

    sqnr_db: float | None
    accumulated_db: float | None


@dataclass(frozen=True)
class WeightError:
    """A layer's weights: signal over the error of rounding them."""

    sqnr_db: float | None


@dataclass(frozen=True)
class OutputEffect:
    """What it does to the model's output: its signal over the change, images that change class."""

    sqnr_db: float | None
    changed: float


@dataclass(frozen=True)
class LayerError:
    """One layer; ``share`` is its part of the sum of what all layers do to the output, 0 to 1."""

    name: str
    op: str
    activation: ActivationError | None
    weights: WeightError | None
    share: float


@dataclass(frozen=True)
class Cause:
    """Why one of the worst layers is bad, and what can be done."""

    name: str
    cause: str
    remedy: str


@dataclass(frozen=True)
class LayerErrors:
    """All layers in graph order; ``worst`` are the three that harm most, worst first."""

    images: int
    total: OutputEffect
    layers: tuple[LayerError, ...]
    worst: tuple[Cause, ...]


@dataclass(frozen=True)
class QuantizationFindings:
    """One measured file: which, on which images, what was assumed, and the findings."""

    file: str
    calib: str
    notes: tuple[str, ...]
    analysis: LayerErrors


def read_quantization(path: Path) -> QuantizationFindings:
    """Read one such document.

    Raises:
        InputError: No such file, or not such a document.
    """
    document = read_json(path, _REMEDY)
    if not isinstance(document, dict) or not isinstance(document.get("analysis"), dict):
        raise InputError(
            "it is no analysis of a quantization: it has no 'analysis'", where=path, remedy=_REMEDY
        )
    return decode(QuantizationFindings, document, where=path, place="the document")
