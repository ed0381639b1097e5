"""Figures and facts of a measurement in words, the same in every form of the report."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from ghostedge_runtime.bench.record import (
    BenchRun,
    Delegation,
    Estimate,
    MachineFacts,
    Result,
    Settings,
    Snapshot,
)

BACKENDS: Mapping[str, str] = {
    "litert": "LiteRT with XNNPACK",
    "litert-reference": "LiteRT reference kernels",
    "onnxruntime": "ONNX Runtime",
}
DASH = "–"
WARNING = "⚠"


def printable(text: str) -> str:
    """The text on one line: what does not print, or would turn the rest around, is escaped."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text
    )


def elided(text: str, most: int) -> str:
    """The text with its middle left out where it is longer than ``most`` characters."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def threads_words(count: int) -> str:
    """``1 thread``, ``4 threads``."""
    return plural(count, "thread")


def plural(count: int, word: str) -> str:
    """``1 image``, ``5,000 images``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def ms(value: float) -> str:
    """Milliseconds with three significant digits, two decimals at least below a hundred."""
    if value >= 100:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def interval(found: Estimate) -> str:
    """The 95 % interval of milliseconds."""
    return f"{ms(found.low)}–{ms(found.high)}"


def ratio(found: Estimate) -> str:
    """``0.52× (0.51–0.53)``."""
    return f"{found.value:.3f}× ({found.low:.3f}–{found.high:.3f})"


def size(count: int) -> str:
    """Bytes as people read them, in powers of ten."""
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def machine_name(machine: MachineFacts) -> str:
    """What a person calls it: the board, else the processor."""
    return printable(machine.board or machine.soc or machine.cpu or machine.machine)


def delegation_words(found: Delegation) -> str:
    """How much of the graph was taken, and what was left."""
    pieces = plural(found.partitions, "piece")
    left = ", ".join(f"{count} {printable(name)}" for name, count in sorted(found.left.items()))
    words = f"{printable(found.delegate)} took {found.ops} of {found.ops_total} operators"
    return f"{words} in {pieces}" + (f"; left {left}" if left else "")


def runtime_words(result: Result) -> str:
    """The interpreter and its version."""
    known = " ".join(part for part in (result.runtime, result.runtime_version) if part)
    return printable(known) or DASH


def case_facts(result: Result) -> Iterator[tuple[str, str]]:
    """The lesser figures of a case, name by words, those that are known."""
    yield "counted", f"{plural(result.runs, 'inference')} in {result.seconds:.1f} s"
    steady = "steady" if result.steady else "not steady when it ended"
    yield "warm-up", f"{plural(result.warmup_runs, 'inference')}, {steady}"
    if result.load_ms is not None:
        yield "load", f"{ms(result.load_ms)} ms"
    if result.first_inference_ms is not None:
        yield "first inference", f"{ms(result.first_inference_ms)} ms"
    if result.preprocessing is not None:
        yield "preprocessing, apart", f"{ms(result.preprocessing.p50_ms)} ms (p50)"
    if result.peak_rss_mb is not None:
        yield "peak memory", f"{result.peak_rss_mb:.0f} MB"
    if result.batch is not None and result.batch != 1:
        yield "batch", plural(result.batch, "image")
    if result.drift is not None:
        yield "last third over first", ratio(result.drift)
    if result.delegation is not None:
        yield "delegate", delegation_words(result.delegation)


def machine_facts(machine: MachineFacts) -> Iterator[tuple[str, str]]:
    """The machine's story, name by words, what the system told."""
    total = f" of {machine.cores_total}" if machine.cores_total else ""
    memory = f"{machine.memory_mb / 1000:.1f} GB" if machine.memory_mb else None
    quota = None if machine.cpu_quota is None else f"{machine.cpu_quota:g} CPUs at a time"
    told = (
        ("board", machine.board),
        ("system on chip", machine.soc),
        ("processor", machine.cpu),
        ("instruction set", machine.machine),
        ("instructions that matter", ", ".join(machine.features) or None),
        ("CPUs", f"{machine.cores}{total}"),
        ("memory", memory),
        ("governor", _by_policy(machine.governors)),
        ("highest clock", _by_policy({k: f"{v:g} MHz" for k, v in machine.max_mhz.items()})),
        ("virtual", machine.virtual),
        ("CPU limit", quota),
        ("operating system", machine.os),
        ("kernel", machine.kernel),
        ("firmware", machine.firmware),
        ("Python", machine.python),
    )
    return ((name, printable(value)) for name, value in told if value)


def _by_policy(values: Mapping[str, str]) -> str | None:
    """One value where all policies agree, else each."""
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return ", ".join(f"{policy}: {value}" for policy, value in sorted(values.items())) or None


def changes(trace: Sequence[Snapshot]) -> Iterator[tuple[str, str]]:
    """What the machine's counters say of the time between the first look and the last."""
    if not trace:
        return
    first, last = trace[0], trace[-1]
    if first.throttle_bits is not None and last.throttle_bits is not None:
        yield "throttle bits", f"{first.throttle_bits:#x} before, {last.throttle_bits:#x} after"
    counters = (
        ("slowed for heat", "thermal_throttle_count", "{:.0f} times"),
        ("waited for the CPU limit", "cgroup_throttled_s", "{:.2f} s"),
        ("stolen by other virtual machines", "steal_s", "{:.2f} s"),
    )
    for name, field, form in counters:
        before, after = getattr(first, field), getattr(last, field)
        if before is not None and after is not None:
            yield name, form.format(after - before)
    loads = [look.load_average for look in trace if look.load_average is not None]
    if loads:
        yield "load average", f"{loads[0]:.2f} before, {loads[-1]:.2f} after"


def settings_facts(settings: Settings) -> Iterator[tuple[str, str]]:
    """The protocol's bounds."""
    if settings.preset:
        yield "preset", printable(settings.preset)
    counted = f"{settings.min_seconds:g} s and {plural(settings.min_runs, 'inference')}"
    yield "counted, at least", counted
    yield "warm-up, at most", f"{settings.max_warmup_seconds:g} s"
    pinned = "not pinned" if settings.cpus is None else ", ".join(map(str, settings.cpus))
    yield "CPUs pinned to", pinned
    given = plural(settings.images, "real image") if settings.images else "random numbers"
    yield "input", given


def command_line(run: BenchRun) -> str | None:
    """What a shell takes to run it again; None where the record does not say."""
    return shlex.join(printable(word) for word in run.command) if run.command else None


def score_words(results: Sequence[Result]) -> str:
    """``top-1 on 5,000 images``; a span where the cases were not scored on as many."""
    counts = sorted({result.score.images for result in results if result.score})
    if len(counts) == 1:
        return f"top-1 on {plural(counts[0], 'image')}"
    return f"top-1 on {counts[0]:,} to {counts[-1]:,} images"
