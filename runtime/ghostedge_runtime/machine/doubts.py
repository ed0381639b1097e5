"""What makes a run's figures doubtful, a `Mark` for each reason.

The machine slowed the CPU (heat, supply voltage, a container's limit), was shared, ran the work on
CPUs of different kinds, or the times moved. ``throttled``, ``under-voltage`` and ``drifted`` fail
``--strict``: the figures are then not those of the machine as it is. The others say what to keep in
mind. What happened before the run is not the run's, though worth saying: a board that throttled
since boot will again.

On a processor with fast and slow cores the scheduler moves an unpinned run between them, and its
figures are a mixture. The kernel numbers a frequency policy after its first CPU; the CPUs of one
policy share a clock and follow each other on every chip that has few policies.

Sources: the Raspberry Pi documentation ("vcgencmd get_throttled", "Frequency management and
thermal control"); the kernel's Documentation/admin-guide/thermal/intel_thermal_throttle.rst and
Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ghostedge_runtime.machine.cpu import ARM, X86
from ghostedge_runtime.machine.system import whole
from ghostedge_runtime.record import MachineFacts, Mark, MarkKind, Result, Settings, Snapshot

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
ALIKE = 0.9
"""Cores whose highest clocks are closer than this ratio are of one kind: favoured cores of x86
boost a few percent higher than their like, kinds of cores differ by a quarter or more."""
DRIFT = 0.05
"""Of a result's median, first third against last. MLPerf Mobile asks that a result comes again
within 5 %; one whose own thirds differ by more, interval included, cannot."""
BUSY = 0.5
"""Tasks, on the last minute's mean, that a machine may run beside ours: below it, system services
alone explain them."""
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
    values = [value for look in trace if (value := counter(look)) is not None]
    return max(values[-1] - values[0], 0.0) if values else 0.0


def duration_s(trace: Sequence[Snapshot]) -> float:
    """From the first look to the last, in seconds."""
    return trace[-1].at_s - trace[0].at_s if trace else 0.0


def bit_words(bits: int) -> str:
    """The names of the set bits of 0 to 3, such as ``throttled, soft temperature limit``."""
    return ", ".join(name for bit, name in FIRMWARE_BITS.items() if bits >> bit & 1)


def _firmware(trace: Sequence[Snapshot]) -> list[Mark]:
    """A bit is the run's if it is set at any look, or was set since boot only after the first."""
    seen = [look.throttle_bits for look in trace if look.throttle_bits is not None]
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
    times = growth(trace, lambda look: look.thermal_throttle_count)
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
    hot = [(_clock_share(facts, look), look) for look in trace if _heat(look) >= HOT_C]
    slow = [(share, look) for share, look in hot if share is not None and share < SLOW_CLOCK]
    if not slow:
        return []
    share, look = min(slow, key=lambda pair: pair[0])
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
    lost, whole = growth(trace, lambda look: look.cgroup_throttled_s), duration_s(trace)
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
    most = max((_heat(look) for look in trace), default=0.0)
    return f", {most:.1f} °C at most" if most else ""


def pinning_marks(facts: MachineFacts, settings: Settings, results: Sequence[Result]) -> list[Mark]:
    """Too few CPUs for a case's threads, or CPUs of different kinds."""
    marks = []
    if settings.cpus is not None:
        where = f"CPU{'s' if len(settings.cpus) > 1 else ''} {_list(settings.cpus)}"
        marks += [
            Mark(
                "pinning",
                f"its {result.case.threads} threads were pinned to {where}: "
                "pin to as many CPUs as there are threads",
                case=index,
            )
            for index, result in enumerate(results)
            if result.error is None and result.case.threads > len(settings.cpus)
        ]
    return [*marks, *_mixed(facts, settings)]


def _mixed(facts: MachineFacts, settings: Settings) -> list[Mark]:
    clocks = _highest_clocks(facts)
    used = {
        cpu: mhz for cpu, mhz in clocks.items() if settings.cpus is None or cpu in settings.cpus
    }
    if not used or min(used.values()) >= ALIKE * max(used.values()):
        return []
    fastest = [cpu for cpu, mhz in used.items() if mhz >= ALIKE * max(used.values())]
    text = (
        f"it ran on cores of different kinds (highest clocks {min(used.values()):.0f} to "
        f"{max(used.values()):.0f} MHz), and which of them the system chose: "
        f"pin it to one kind, such as --cpus {_list(fastest)}"
    )
    return [Mark("pinning", text)]


def _highest_clocks(facts: MachineFacts) -> dict[int, float]:
    """Highest clock by CPU, in MHz, of the policies that are numbered; see the module."""
    firsts = {
        number: mhz
        for name, mhz in facts.max_mhz.items()
        if (number := whole(name.removeprefix("policy"))) is not None
    }
    last = (facts.cores_total or facts.cores) - 1
    highest: dict[int, float] = {}
    for first in sorted(firsts):
        highest.update(dict.fromkeys(range(first, last + 1), firsts[first]))
    return highest


def _list(cpus: Iterable[int]) -> str:
    return ",".join(map(str, sorted(cpus)))


def find_marks(
    facts: MachineFacts,
    settings: Settings,
    trace: Sequence[Snapshot],
    results: Sequence[Result],
) -> tuple[Mark, ...]:
    """Every doubt about a run, those that fail ``--strict`` first.

    Args:
        facts: The machine.
        settings: What the run was asked to do.
        trace: Looks at the machine, in order; the first before the run's inferences, the last
            after them. Without two looks nothing that counts can be told.
        results: One for each case; a mark's ``case`` is an index into them.
    """
    marks = [
        *throttle_marks(facts, trace),
        *_drifted(results),
        *_stolen(trace, results),
        *_limited(facts, settings, results),
        *_powersave(facts),
        *_busy(facts, trace, results),
        *pinning_marks(facts, settings, results),
        *_unsteady(results),
    ]
    return tuple(sorted(marks, key=lambda mark: not mark.fails_strict))


def _drifted(results: Sequence[Result]) -> list[Mark]:
    """Its whole interval lies beyond `DRIFT`: a change that chance does not explain."""
    marks = []
    for index, result in enumerate(results):
        drift = result.drift
        if drift is None or (drift.high >= 1 - DRIFT and drift.low <= 1 + DRIFT):
            continue
        moved = "slower" if drift.value > 1 else "faster"
        text = (
            f"its last third ran {abs(drift.value - 1):.1%} {moved} than its first "
            f"({drift.low - 1:+.1%} to {drift.high - 1:+.1%}): let the machine reach a steady "
            "state (cooling, nothing else running) and measure again"
        )
        marks.append(Mark("drifted", text, case=index, fails_strict=True))
    return marks


def _stolen(trace: Sequence[Snapshot], results: Sequence[Result]) -> list[Mark]:
    """Against the time of as many CPUs as the largest case used: others' loss is not the run's."""
    threads = _most_threads(results)
    stolen, time = growth(trace, lambda look: look.steal_s), duration_s(trace) * threads
    if stolen <= LOST_SHARE * time:
        return []
    text = (
        f"the hypervisor gave {stolen:.2f} s to others, of {time:.1f} s that {_words(threads)} "
        "could use: measure on a machine of your own, or when its neighbours are quiet"
    )
    return [Mark("stolen", text)]


def _limited(facts: MachineFacts, settings: Settings, results: Sequence[Result]) -> list[Mark]:
    """More threads than CPUs: they wait for each other, and latency says so."""
    limit, whose = float(facts.cores), "the process may use"
    if facts.cpu_quota is not None and facts.cpu_quota < limit:
        limit, whose = facts.cpu_quota, "the container may use"
    if settings.cpus is not None and len(settings.cpus) < limit:
        return []  # then pinning is what limits
    return [
        Mark(
            "limited",
            f"its {result.case.threads} threads share the {limit:g} CPUs that {whose}: "
            "use no more threads than CPUs",
            case=index,
        )
        for index, result in enumerate(results)
        if result.error is None and result.case.threads > limit
    ]


def _powersave(facts: MachineFacts) -> list[Mark]:
    """Outside x86 this governor holds the lowest clock (the kernel's admin-guide/pm/cpufreq.rst).

    x86's own drivers call a governor so that does raise the clock (admin-guide/pm/
    intel_pstate.rst).
    """
    if facts.machine in X86 or "powersave" not in facts.governors.values():
        return []
    text = (
        "the governor powersave holds the CPU at its lowest clock: "
        "`echo performance | sudo tee /sys/devices/system/cpu/cpufreq/policy*/scaling_governor`"
    )
    return [Mark("limited", text)]


def _busy(facts: MachineFacts, trace: Sequence[Snapshot], results: Sequence[Result]) -> list[Mark]:
    """Something ran before the first inference, and with ours it is more than the CPUs can take."""
    load = trace[0].load_average if trace else None
    cpus = facts.cores_total or facts.cores
    threads = _most_threads(results)
    if load is None or load <= BUSY or load + threads <= cpus + BUSY:
        return []
    text = (
        f"something else was running when the run began: {load:.1f} tasks on the last minute's "
        f"mean, and {_words(threads)} of the run, on {cpus} CPUs: stop it or wait, "
        "and measure again"
    )
    return [Mark("busy", text)]


def _unsteady(results: Sequence[Result]) -> list[Mark]:
    return [
        Mark(
            "unsteady",
            f"its times had not settled after {result.warmup_runs} inferences of warm-up: "
            "look at the intervals, and give it a longer warm-up",
            case=index,
        )
        for index, result in enumerate(results)
        if result.runs and not result.steady
    ]


def _most_threads(results: Sequence[Result]) -> int:
    return max((result.case.threads for result in results if result.error is None), default=1)


def _words(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"
