"""How long a measurement on a device waits for what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds, in seconds but for the last.

    Attributes:
        connect_s: To open a connection.
        beat_s: Between two signs of life to the device.
        heartbeat_s: A run without a sign of life for so long ends itself.
        give_up_s: A connection that stays lost for so long is given up.
        lock_wait_s: So long a run waits for others on the same device.
        cache_bytes: Files that stay on the device for later runs.
    """

    connect_s: int = 15
    beat_s: float = 5.0
    heartbeat_s: float = 180.0
    give_up_s: float = 180.0
    lock_wait_s: float = 3600.0
    cache_bytes: int = 4_000_000_000
