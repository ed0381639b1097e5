"""What makes a run's figures doubtful: the machine slowed, was shared, or the times moved.

``throttled``, ``under-voltage`` and ``drifted`` fail ``--strict``: the figures are then not those
of the machine as it is. The others say what to keep in mind.
"""

from __future__ import annotations

from collections.abc import Sequence

from ghostedge_runtime.machine.cpu import X86
from ghostedge_runtime.machine.pinning import pinning_marks
from ghostedge_runtime.machine.throttling import LOST_SHARE, duration_s, growth, throttle_marks
from ghostedge_runtime.record import MachineFacts, Mark, Result, Settings, Snapshot

DRIFT = 0.05
"""Of a result's median, first third against last. MLPerf Mobile asks that a result comes again
within 5 %; one whose own thirds differ by more, interval included, cannot."""
BUSY = 0.5
"""Tasks, on the last minute's mean, that a machine may run beside ours: below it, system services
alone explain them."""


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
    stolen, time = growth(trace, lambda each: each.steal_s), duration_s(trace) * threads
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
    return max((each.case.threads for each in results if each.error is None), default=1)


def _words(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"
