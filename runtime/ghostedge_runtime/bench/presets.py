"""Bounds of the protocol by name, and the check that bounds make sense.

``mlperf-mobile`` has the bounds of MLPerf Mobile's single-stream scenario: at least 1,024 samples
and 60 s, of which the 90th percentile counts. Its other rules (an application on a phone at default
settings, five tries five minutes apart) are the user's to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ghostedge_runtime.errors import InputError
from ghostedge_runtime.record import Settings

PRESETS: Mapping[str, Settings] = {
    "quick": Settings(min_seconds=1.0, min_runs=30, max_warmup_seconds=3.0, preset="quick"),
    "mlperf-mobile": Settings(min_seconds=60.0, min_runs=1024, preset="mlperf-mobile"),
}


def preset_settings(
    preset: str | None = None,
    *,
    min_seconds: float | None = None,
    min_runs: int | None = None,
    max_warmup_seconds: float | None = None,
    cpus: tuple[int, ...] | None = None,
) -> Settings:
    """The bounds of a preset, or the defaults, with what is given put in their place.

    Where a bound of the preset changes, the settings no longer carry its name.

    Raises:
        InputError: No preset of that name, or bounds that make no sense.
    """
    if preset is not None and preset not in PRESETS:
        raise InputError(
            f"there is no preset {preset!r}", where="preset", remedy="one of " + ", ".join(PRESETS)
        )
    base = Settings() if preset is None else PRESETS[preset]
    found = replace(
        base,
        min_seconds=base.min_seconds if min_seconds is None else min_seconds,
        min_runs=base.min_runs if min_runs is None else min_runs,
        max_warmup_seconds=(
            base.max_warmup_seconds if max_warmup_seconds is None else max_warmup_seconds
        ),
    )
    check_settings(found)
    return replace(found, preset=preset if found == base else None, cpus=cpus)


def check_settings(settings: Settings) -> None:
    """Refuse bounds that no measurement can keep.

    Raises:
        InputError: ``min_runs`` below 1, a negative number of seconds, or no CPU to run on.
    """
    if settings.min_runs < 1 or settings.min_seconds < 0 or settings.max_warmup_seconds < 0:
        raise InputError(
            "min_runs must be at least 1, min_seconds and max_warmup_seconds at least 0, got "
            f"{settings.min_runs}, {settings.min_seconds} and {settings.max_warmup_seconds}"
        )
    if settings.cpus is not None and not settings.cpus:
        raise InputError("no CPU is named to pin to", remedy="leave it out to use all of them")
