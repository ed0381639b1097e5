"""What a Keras model says of itself, in either process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KerasFacts:
    """What the model says of itself.

    Attributes:
        input_size: Height and width of its input, None for one that takes any.
        in_channels: Channels of its input.
        outputs: Names of its outputs.
        notes: What a person should know of how it was read, a line each.
    """

    input_size: tuple[int, int] | None
    in_channels: int
    outputs: tuple[str, ...]
    notes: tuple[str, ...]
