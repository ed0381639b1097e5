"""How the guard's search went, as the manifest has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class GuardedLayer:
    """What a layer does in int8, and what it costs to leave it float.

    Attributes:
        layer: Name of the node.
        noise_db: Power of the error of the logits with this layer alone in int8, relative to the
            logits', in dB; None where time ran out before it was measured.
        price_pct: Its share of the estimated cost of leaving every layer float.
        left_float: Whether it was.
    """

    layer: str
    noise_db: float | None
    price_pct: float
    left_float: bool


@dataclass(frozen=True)
class GuardCheck:
    """One choice of layers held against the budget.

    Attributes:
        step: The part of the search that asked: ``int8``, ``ranking``, ``bisection``, ``dropping``.
        layers_float: How many layers it leaves float.
        loss_points: What it loses; of accuracy or of agreement, as the budget.
        images: How many it was scored on; not all where the outcome was clear before.
        holds: Whether the budget does.
    """

    step: str
    layers_float: int
    loss_points: float
    images: int
    holds: bool


@dataclass(frozen=True)
class GuardReport:
    """The guard's search.

    Attributes:
        kind: ``max_drop`` (points of top-1 accuracy) or ``min_agreement`` (percent).
        limit: The budget.
        budget: It in words.
        image_source: The images it was checked on.
        float_top1_pct: Accuracy of the float network on them; None without labels.
        met: Whether the budget holds, in ONNX Runtime and in TFLite.
        stopped: Why the search ended: ``int8 holds``, ``search done``, ``time is up``,
            ``no choice holds``.
        loss_points: What the chosen layers lose, in the format that loses more.
        layers: Every layer that can be left float, most worth it first; empty where full int8
            holds.
        layer_count: How many there are.
        checks: Every choice that was looked at, in order.
        resumed: Measurements taken over from a run that was interrupted.
        seconds: What the search took.
    """

    kind: Literal["max_drop", "min_agreement"]
    limit: float
    budget: str
    image_source: str
    float_top1_pct: float | None
    met: bool
    stopped: str
    loss_points: float
    layers: tuple[GuardedLayer, ...]
    layer_count: int
    checks: tuple[GuardCheck, ...]
    resumed: int
    seconds: float

    @property
    def float_layers(self) -> tuple[str, ...]:
        """Names of the layers left float, most worth it first."""
        return tuple(layer.layer for layer in self.layers if layer.left_float)

    def missed(self) -> tuple[str, ...]:
        """What is to be said where the budget was missed: a sentence, or none."""
        if self.met:
            return ()
        why = {
            "time is up": "time ran out; the same command goes on from here, "
            "--guard-minutes gives it longer",
            "no choice holds": "no choice of layers holds it, short of all of them",
        }
        return (
            f"int8: {loss_words(self.kind, self.loss_points)} with {len(self.float_layers)} of "
            f"{self.layer_count} layers float, the best found; the budget is {self.budget} "
            f"({why[self.stopped]})",
        )


def loss_words(kind: str, loss: float) -> str:
    """Points lost in the words of the budget's kind."""
    return f"drop {loss:.2f} points" if kind == "max_drop" else f"agreement {100 - loss:.2f} %"
