"""What a Raspberry Pi's firmware tells through ``vcgencmd``.

The kernel's ``scaling_cur_freq`` is the clock it asked for; the firmware lowers it unseen when the
board is hot or its supply is weak. ``vcgencmd measure_clock arm`` counts what really runs, and
``get_throttled`` says why. Source: the Raspberry Pi documentation, "vcgencmd" and "Frequency
management and thermal control".
"""

from __future__ import annotations

import re

from ghostedge_runtime.machine.system import System

# The second is where Raspberry Pi OS kept it before Bullseye.
_NAMES = ("vcgencmd", "/opt/vc/bin/vcgencmd")
_CLOCK = re.compile(r"frequency\(\d+\)=(\d+)", re.ASCII)
_TEMPERATURE = re.compile(r"temp=(-?\d+(?:\.\d+)?)", re.ASCII)
_THROTTLED = re.compile(r"throttled=(0x[0-9a-fA-F]{1,8})\b")
_VERSION = re.compile(r"^version (\S+)", re.MULTILINE)


def ask(system: System, *words: str) -> str | None:
    """What the firmware answers, None where it cannot be asked."""
    for name in _NAMES:
        answer = system.run(name, *words)
        if answer is not None:
            return answer.text if answer.code == 0 else None
    return None


def version(system: System) -> str | None:
    """Day and hash of the firmware."""
    text = ask(system, "version") or ""
    found = _VERSION.search(text)
    if found is None:
        return None
    day = text.splitlines()[0].strip()
    return found[1] if day.startswith("version") else f"{day}, {found[1][:12]}"


def clock_mhz(system: System) -> float | None:
    """The clock that the ARM cores really run at."""
    found = _CLOCK.search(ask(system, "measure_clock", "arm") or "")
    return None if found is None else int(found[1]) / 1e6


def temperature_c(system: System) -> float | None:
    """Of the system on chip."""
    found = _TEMPERATURE.search(ask(system, "measure_temp") or "")
    return None if found is None else float(found[1])


def throttle_bits(system: System) -> int | None:
    """See `marks.BITS`."""
    found = _THROTTLED.search(ask(system, "get_throttled") or "")
    return None if found is None else int(found[1], 16)
