"""What a Raspberry Pi's firmware reports through ``vcgencmd``.

The kernel's ``scaling_cur_freq`` is the clock it asked for; the firmware lowers it unseen when the
board is hot or its supply is weak. ``vcgencmd measure_clock arm`` counts what really runs, and
``get_throttled`` says why. Source: the Raspberry Pi documentation, "vcgencmd" and "Frequency
management and thermal control"; what it prints without access to its device, from
raspberrypi/utils' ``vcgencmd.c``.
"""

from __future__ import annotations

import re

from ghostedge_runtime.machine.system import System, whole

# The second is where Raspberry Pi OS kept it before Bullseye.
_NAMES = ("vcgencmd", "/opt/vc/bin/vcgencmd")
_CLOCK = re.compile(r"frequency\(\d+\)=(\d+)", re.ASCII)
_TEMPERATURE = re.compile(r"temp=(-?\d{1,3}(?:\.\d{1,3})?)'C", re.ASCII)
_THROTTLED = re.compile(r"throttled=0x([0-9a-fA-F]{1,8})\b")
_VERSION = re.compile(r"^(.+)\nCopyright.*\nversion (\S{1,12})", re.ASCII)
_ACCESS = "vcgencmd may not open /dev/vcio: `sudo usermod -aG video $USER`, then log in again"
_MISSING = "there is no vcgencmd: `sudo apt install raspi-utils` (before 2024: libraspberrypi-bin)"


def version(system: System) -> str | None:
    """Day and start of the hash of the firmware."""
    match = _VERSION.search(_ask(system, "version") or "")
    return None if match is None else f"{match[1].strip()}, {match[2]}"


def clock_mhz(system: System) -> float | None:
    """The clock that the ARM cores really run at."""
    match = _CLOCK.search(_ask(system, "measure_clock", "arm") or "")
    hertz = whole(match[1]) if match else None
    return None if hertz is None else hertz / 1e6


def temperature_c(system: System) -> float | None:
    """Of the system on chip, in degrees Celsius."""
    match = _TEMPERATURE.search(_ask(system, "measure_temp") or "")
    return None if match is None else float(match[1])


def throttle_bits(system: System) -> int | None:
    """What `doubts.FIRMWARE_BITS` names, as a number."""
    match = _THROTTLED.search(_ask(system, "get_throttled") or "")
    return None if match is None else int(match[1], 16)


def why_silent(system: System) -> str | None:
    """Why a Raspberry Pi's throttle bits cannot be read and what to do; None where they can."""
    if throttle_bits(system) is not None:
        return None
    answers = [system.run(name, "get_throttled") for name in _NAMES]
    reason = _MISSING if answers == [None] * len(answers) else _ACCESS
    return f"the firmware's throttling cannot be seen, {reason}"


def _ask(system: System, *words: str) -> str | None:
    """What the firmware, or an error in its place, says; None without the command."""
    answers = (system.run(name, *words) for name in _NAMES)
    return next((answer.text for answer in answers if answer is not None), None)
