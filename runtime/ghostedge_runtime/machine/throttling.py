"""Whether the machine slowed the CPU while a run lasted: heat, supply voltage, a container's limit.

What happened before the run is not the run's, though worth saying: a board that throttled since
boot will again.

Sources: the Raspberry Pi documentation ("vcgencmd get_throttled", "Frequency management and
thermal control"); the kernel's Documentation/admin-guide/thermal/intel_thermal_throttle.rst and
Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ghostedge_runtime.machine.cpu import ARM
from ghostedge_runtime.record import MachineFacts, Mark, MarkKind, Snapshot

# Of `get_throttled`, now; the same since boot sixteen bits higher.
FIRMWARE_BITS = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
_SINCE_BOOT = 16
_NOW = 0b1111
_VOLTAGE = 0b0001

HOT_C = 80.0
"""From here a Raspberry Pi's firmware slows the ARM cores, from 85 °C the GPU with them."""
SLOW_CLOCK = 0.9
"""Of the highest clock. A clock that is held is measured to a fraction of a percent (2400.02 of
2400 MHz on a Pi 5), one slowed for heat far below (1141 of 1400 MHz on a Pi 3 B+ at 80.6 °C)."""
LOST_SHARE = 0.01
"""Of the run's time. Less cannot move a median or p90, and a p99 only where all of it fell on
one result's inferences."""

_COOL = "cool the machine (a fan, a heat sink, a pause) and measure again"


def throttle_marks(facts: MachineFacts, trace: Sequence[Snapshot]) -> list[Mark]:
    """What slowed the CPU, by every way the machine has of telling."""
    return [
        *_firmware(trace),
        *_counted(trace),
        *_slow_and_hot(facts, trace),
        *_kept_waiting(trace),
    ]


def growth(trace: Sequence[Snapshot], counter: Callable[[Snapshot], float | None]) -> float:
    """How much a counter grew from the first look that has it to the last; 0 without two."""
    values = [value for each in trace if (value := counter(each)) is not None]
    return max(values[-1] - values[0], 0.0) if values else 0.0


def duration_s(trace: Sequence[Snapshot]) -> float:
    """From the first look to the last, in seconds."""
    return trace[-1].at_s - trace[0].at_s if trace else 0.0


def bit_words(bits: int) -> str:
    """The names of the set bits of 0 to 3, such as ``throttled, soft temperature limit``."""
    return ", ".join(name for bit, name in FIRMWARE_BITS.items() if bits >> bit & 1)


def _firmware(trace: Sequence[Snapshot]) -> list[Mark]:
    """A bit is the run's if it is set at any look, or was set since boot only after the first."""
    seen = [each.throttle_bits for each in trace if each.throttle_bits is not None]
    if not seen:
        return []
    before, during = seen[0] >> _SINCE_BOOT & _NOW, 0
    for bits in seen:
        during |= bits & _NOW | (bits >> _SINCE_BOOT & _NOW & ~before)
    read = f"get_throttled {seen[-1]:#x}"
    marks = []
    if during & _VOLTAGE:
        text = (
            f"the supply voltage fell too low during the run ({read}): "
            "use the board's own power supply and a short cable, and measure again"
        )
        marks.append(Mark("under-voltage", text, fails_strict=True))
    if slowed := during & ~_VOLTAGE:
        text = (
            f"the firmware slowed the CPU: {bit_words(slowed)} ({read}{_hottest(trace)}): {_COOL}"
        )
        marks.append(Mark("throttled", text, fails_strict=True))
    if earlier := before & ~during:
        kind: MarkKind = "throttled" if earlier & ~_VOLTAGE else "under-voltage"
        text = f"before this run, since boot: {bit_words(earlier)} ({read}); not during it"
        marks.append(Mark(kind, text))
    return marks


def _counted(trace: Sequence[Snapshot]) -> list[Mark]:
    times = growth(trace, lambda each: each.thermal_throttle_count)
    if not times:
        return []
    text = f"heat slowed the CPU {times:.0f} times during the run{_hottest(trace)}: {_COOL}"
    return [Mark("throttled", text, fails_strict=True)]


def _slow_and_hot(facts: MachineFacts, trace: Sequence[Snapshot]) -> list[Mark]:
    """The lowest clock at a hot look, of the fastest policy then.

    Only ARM: there the highest clock is meant to be held by all cores. That of an x86 is a boost
    for one, which several cores never reach; it has its own counter.
    """
    if facts.machine not in ARM:
        return []
    looks = [(_clock_share(facts, each), each) for each in trace if _heat(each) >= HOT_C]
    slow = [(share, each) for share, each in looks if share is not None and share < SLOW_CLOCK]
    if not slow:
        return []
    share, look = min(slow, key=lambda each: each[0])
    text = f"the CPU ran at {share:.0%} of its highest clock at {_heat(look):.1f} °C: {_COOL}"
    return [Mark("throttled", text, fails_strict=True)]


def _clock_share(facts: MachineFacts, look: Snapshot) -> float | None:
    """The highest of the policies' clocks over their maximum; what the firmware measured first.

    Of several policies one is enough that is not slow: an idle cluster's clock is low and means
    nothing.
    """
    if "arm" in look.clocks_mhz and facts.max_mhz:
        return look.clocks_mhz["arm"] / max(facts.max_mhz.values())
    shares = [
        look.clocks_mhz[policy] / most
        for policy, most in facts.max_mhz.items()
        if policy in look.clocks_mhz and most > 0
    ]
    return max(shares, default=None)


def _kept_waiting(trace: Sequence[Snapshot]) -> list[Mark]:
    lost, whole = growth(trace, lambda each: each.cgroup_throttled_s), duration_s(trace)
    if lost <= LOST_SHARE * whole:
        return []
    text = (
        f"the container's CPU limit kept the run waiting for {lost:.2f} s of {whole:.1f} s: "
        "use fewer threads than the limit or raise it (docker run --cpus)"
    )
    return [Mark("throttled", text, fails_strict=True)]


def _heat(look: Snapshot) -> float:
    return max(look.temperatures_c.values(), default=0.0)


def _hottest(trace: Sequence[Snapshot]) -> str:
    """The highest temperature, as a part of a sentence; empty without a sensor."""
    most = max((_heat(each) for each in trace), default=0.0)
    return f", {most:.1f} °C at most" if most else ""
