"""One look at what changes while a run lasts."""

from __future__ import annotations

from ghostedge_runtime.bench.record import Snapshot
from ghostedge_runtime.machine import cgroup, firmware
from ghostedge_runtime.machine.facts import kilo, policies
from ghostedge_runtime.machine.system import LIVE, Platform, System


def snapshot(at_s: float, system: System = LIVE) -> Snapshot:
    """Look at a machine now; what it does not tell is None or left out, nothing raises.

    Args:
        at_s: Seconds since the run began.
        system: Which machine.
    """
    words = system.platform()
    return Snapshot(
        at_s=at_s,
        temperatures_c=temperatures_c(system),
        clocks_mhz=clocks_mhz(system),
        throttle_bits=firmware.throttle_bits(system),
        thermal_throttle_count=thermal_throttle_count(system),
        cgroup_throttled_s=cgroup.throttled_s(system),
        steal_s=steal_s(system, words),
        load_average=words.load_average,
    )


def temperatures_c(system: System) -> dict[str, float]:
    """By sensor."""
    found: dict[str, float] = {}
    for zone in system.glob("/sys/class/thermal/thermal_zone*"):
        name, degrees = system.text(f"{zone}/type"), kilo(system.text(f"{zone}/temp"))
        if name and degrees is not None:
            found[name] = degrees
    degrees = firmware.temperature_c(system)
    return found if degrees is None else {**found, "firmware": degrees}


def clocks_mhz(system: System) -> dict[str, float]:
    """By CPU policy; ``arm`` is the firmware's measurement."""
    read = {name: kilo(system.text(f"{path}/scaling_cur_freq")) for name, path in policies(system)}
    found = {name: mhz for name, mhz in read.items() if mhz is not None}
    measured = firmware.clock_mhz(system)
    return found if measured is None else {**found, "arm": measured}


def thermal_throttle_count(system: System) -> int | None:
    """Times an x86 core or package was slowed for heat since boot."""
    counts = [
        int(text)
        for path in system.glob("/sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count")
        if (text := system.text(path)) is not None and text.isdecimal()
    ]
    return sum(counts) if counts else None


def steal_s(system: System, words: Platform) -> float | None:
    """Seconds the hypervisor gave to others, over all CPUs."""
    fields = (system.text("/proc/stat") or "").partition("\n")[0].split()
    if len(fields) < 9 or fields[0] != "cpu" or not words.ticks_per_second:
        return None
    return int(fields[8]) / words.ticks_per_second if fields[8].isdecimal() else None
