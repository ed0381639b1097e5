"""What changes while a run lasts, a row of `SENSORS` for each thing, and one look at all of it.

Of the hardware monitors only the CPUs' are read: a disk's temperature says nothing of the figures.
Thermal zones are read all; their names are the system's and seldom tell what they stand on.
Sources: the kernel's Documentation/driver-api/thermal/sysfs-api.rst, Documentation/hwmon/
sysfs-interface.rst, Documentation/admin-guide/thermal/intel_thermal_throttle.rst and
Documentation/filesystems/proc.rst (steal).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ghostedge_runtime.machine import cgroup, firmware
from ghostedge_runtime.machine.facts import clocks
from ghostedge_runtime.machine.system import LIVE, System, thousandth, whole
from ghostedge_runtime.record import Snapshot

_ZONES = "/sys/class/thermal/thermal_zone*"
_MONITORS = "/sys/class/hwmon/hwmon*"
_THROTTLES = "/sys/devices/system/cpu/cpu*/thermal_throttle"
# A CPU's monitor chip → how the labels begin of those of its sensors that stand for the whole.
_CHIPS = {
    "coretemp": "Package",
    "k10temp": "T",
    "zenpower": "T",
    "cpu_thermal": "",
    "soc_thermal": "",
}


def temperatures_c(system: System) -> dict[str, float]:
    """Degrees Celsius by sensor; a name that comes again gets a number."""
    temperatures: dict[str, float] = {}
    seen: Counter[str] = Counter()
    for name, degrees in (*_zones(system), *_monitors(system)):
        seen[name] += 1
        temperatures[name if seen[name] == 1 else f"{name} {seen[name]}"] = degrees
    measured = firmware.temperature_c(system)
    return temperatures if measured is None else {**temperatures, "firmware": measured}


def clocks_mhz(system: System) -> dict[str, float]:
    """By CPU policy; ``arm`` is the firmware's measurement."""
    by_policy, measured = clocks(system, "scaling_cur_freq"), firmware.clock_mhz(system)
    return by_policy if measured is None else {**by_policy, "arm": measured}


def thermal_throttle_count(system: System) -> int | None:
    """Times an x86 core or package was slowed for heat since boot.

    Every core counts for itself, its siblings and those of its package show the same package's
    count: the cores' add up, of the packages' the largest is taken.
    """
    folders = system.glob(_THROTTLES)
    cores = _counts(system, folders, "core_throttle_count")
    packages = _counts(system, folders, "package_throttle_count")
    return sum(cores) + max(packages, default=0) if cores or packages else None


def load_average(system: System) -> float | None:
    """Runnable tasks, mean of the last minute."""
    return system.platform().load_average


def steal_s(system: System) -> float | None:
    """Seconds the hypervisor gave to others, over all CPUs: the eighth time of the first line."""
    fields = (system.text("/proc/stat") or "").partition("\n")[0].split()
    ticks = whole(fields[8]) if len(fields) > 8 and fields[0] == "cpu" else None
    per_second = system.platform().ticks_per_second
    return None if ticks is None or not per_second else ticks / per_second


def _counts(system: System, folders: tuple[str, ...], file: str) -> list[int]:
    read = (whole(system.text(f"{folder}/{file}")) for folder in folders)
    return [count for count in read if count is not None]


def _zones(system: System) -> Iterator[tuple[str, float]]:
    for zone in sorted(system.glob(_ZONES), key=lambda path: (len(path), path)):
        name, degrees = system.text(f"{zone}/type"), thousandth(system.text(f"{zone}/temp"))
        if name and degrees is not None:
            yield name, degrees


def _monitors(system: System) -> Iterator[tuple[str, float]]:
    """The kernel shows a thermal zone again as a monitor, with ``_`` for ``-``: not read twice."""
    zones = {name.replace("-", "_") for name, _ in _zones(system)}
    for folder in system.glob(_MONITORS):
        chip = system.text(f"{folder}/name") or ""
        if chip in zones or chip not in _CHIPS:
            continue
        for path in system.glob(f"{folder}/temp*_input"):
            label = system.text(path.removesuffix("input") + "label") or ""
            degrees = thousandth(system.text(path))
            if degrees is not None and label.startswith(_CHIPS[chip]):
                yield f"{chip} {label}".rstrip(), degrees


@dataclass(frozen=True)
class Sensor:
    """Something of the machine that is read while a run lasts.

    A new sensor is a row of `SENSORS` and the field of `Snapshot` that keeps it.

    Attributes:
        key: The field of `Snapshot`.
        words: What it is called in a report.
        unit: Of its figures; empty for a count.
        read: Reads it; None, or nothing in it, where the machine does not say.
        over_time: It has a figure for each of several places, which are drawn over time: of those,
            and of looks that share a point of the drawing, this end matters. None: it is not drawn.
        change: Puts its first and its last figure into words; None where it is drawn.
    """

    key: str
    words: str
    unit: str
    read: Callable[[System], Any]
    over_time: Literal["highest", "lowest"] | None = None
    change: Callable[[Any, Any], str] | None = None


def _both(form: str) -> Callable[[Any, Any], str]:
    return lambda before, after: f"{form.format(before)} before, {form.format(after)} after"


def _growth(form: str) -> Callable[[Any, Any], str]:
    return lambda before, after: form.format(after - before)


SENSORS = (
    Sensor("temperatures_c", "temperature", "°C", temperatures_c, over_time="highest"),
    Sensor("clocks_mhz", "clock", "MHz", clocks_mhz, over_time="lowest"),
    Sensor("throttle_bits", "throttle bits", "", firmware.throttle_bits, change=_both("{:#x}")),
    Sensor(
        "thermal_throttle_count",
        "slowed for heat",
        "times",
        thermal_throttle_count,
        change=_growth("{:.0f} times"),
    ),
    Sensor(
        "cgroup_throttled_s",
        "waited for the CPU limit",
        "s",
        cgroup.throttled_s,
        change=_growth("{:.2f} s"),
    ),
    Sensor("steal_s", "stolen by other virtual machines", "s", steal_s, change=_growth("{:.2f} s")),
    Sensor("load_average", "load average", "", load_average, change=_both("{:.2f}")),
)


def snapshot(at_s: float, system: System = LIVE) -> Snapshot:
    """Look at a machine now; what it does not say is None or left out, nothing raises.

    Args:
        at_s: Seconds since the run began.
        system: Which machine.
    """
    return Snapshot(at_s, **{sensor.key: sensor.read(system) for sensor in SENSORS})
