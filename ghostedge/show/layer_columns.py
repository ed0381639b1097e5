"""The columns of a network's parts: operators that were timed, layers whose error was measured."""

from __future__ import annotations

from dataclasses import dataclass

from ghostedge.records.quantization import LayerError
from ghostedge.show.columns import LEFT, RIGHT, Column
from ghostedge.show.words import decibel_words, op_time, percent, sizes_words
from ghostedge_runtime.record import OpTime, Result


@dataclass(frozen=True)
class OpShare:
    """An operator, its share of all operators' time, and its time over the slowest one's."""

    op: OpTime
    share: float
    of_longest: float


def op_shares(result: Result) -> list[OpShare]:
    """A result's operators, slowest first."""
    ops = sorted(result.ops, key=lambda op: -op.p50_ms)
    total = sum(op.p50_ms for op in ops) or 1.0
    longest = (ops[0].p50_ms if ops else 0.0) or 1.0
    return [OpShare(op, op.p50_ms / total, op.p50_ms / longest) for op in ops]


OPERATOR = Column[OpShare]("operator", LEFT, lambda row: row.op.op, code=True)
OUTPUT = Column[OpShare]("output", LEFT, lambda row: row.op.name, code=True)
SHAPE = Column[OpShare]("shape", RIGHT, lambda row: row.op.output_shape, sizes_words)
OPERATOR_P50 = Column[OpShare]("p50", RIGHT, lambda row: row.op, op_time)
OPERATOR_SHARE = Column[OpShare]("share", RIGHT, lambda row: row.share, percent)


LAYER = Column[LayerError]("layer", LEFT, lambda layer: layer.name, code=True)
LAYER_OPERATOR = Column[LayerError]("operator", LEFT, lambda layer: layer.op, code=True)
LAYER_FIGURES: tuple[Column[LayerError], ...] = (
    Column(
        "its output’s codes",
        RIGHT,
        lambda layer: layer.activation and decibel_words(layer.activation.sqnr_db),
    ),
    Column(
        "with all before",
        RIGHT,
        lambda layer: layer.activation and decibel_words(layer.activation.accumulated_db),
    ),
    Column(
        "its weights", RIGHT, lambda layer: layer.weights and decibel_words(layer.weights.sqnr_db)
    ),
)
"""Signal over error."""
LAYER_SHARE = Column[LayerError]("share of the noise", RIGHT, lambda layer: layer.share, percent)
