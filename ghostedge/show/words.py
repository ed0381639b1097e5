"""Figures and facts of a measurement in words, the same in every table and form of the report."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from ghostedge.show.columns import DASH
from ghostedge.terminal import printable
from ghostedge_runtime.machine.sensors import SENSORS
from ghostedge_runtime.machine.words import cpu_words
from ghostedge_runtime.record import (
    BenchRun,
    Delegation,
    Estimate,
    MachineFacts,
    OpTime,
    Result,
    Settings,
    Snapshot,
)

NO_NOISE = "exact"
"""Where a signal-to-noise ratio would be infinite."""
WARNING = "⚠"


def size_words(size: int) -> str:
    """Bytes as people read them: kB and MB of powers of ten."""
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def sizes_words(sizes: Sequence[int | None]) -> str:
    """A shape: ``1×3×224×224``, with a question mark for a size that is open."""
    return "×".join("?" if size is None else str(size) for size in sizes)


def decibel_words(value: float | None, unit: str = " dB") -> str:
    """A signal-to-noise ratio with one decimal, or that there is no noise."""
    return NO_NOISE if value is None else f"{value:.1f}{unit}"


def or_dash(value: float | None, form: str) -> str:
    """The value in that form, a dash for None."""
    return DASH if value is None else form.format(value)


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


def percent(share: float) -> str:
    """A share of 0 to 1 in percent."""
    return f"{100 * share:.1f} %"


def ms(value: float) -> str:
    """Milliseconds with about three significant digits."""
    if value >= 100:
        return f"{value:.1f}"
    if value >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}" if value >= 0.1 else f"{value:.4f}"


def interval(estimate: Estimate) -> str:
    """The 95 % interval of milliseconds; nothing where none is known."""
    low, high = estimate.low, estimate.high
    return "" if low == high else f"{ms(low)}–{ms(high)}"


def ratio(estimate: Estimate) -> str:
    """``0.52× (0.51–0.53)``."""
    return f"{estimate.value:.3f}× ({estimate.low:.3f}–{estimate.high:.3f})"


def machine_name(machine: MachineFacts) -> str:
    """What a person calls it: the board, else the processor."""
    return printable(machine.board or cpu_words(machine))


def delegation_words(delegation: Delegation) -> str:
    """How much of the graph was taken, and what was left."""
    pieces = plural(delegation.partitions, "piece")
    left = ", ".join(
        f"{count} {printable(name)}" for name, count in sorted(delegation.left.items())
    )
    taken = f"{delegation.ops} of {delegation.ops_total} operators in {pieces}"
    words = f"{printable(delegation.delegate)} took {taken}"
    return words + (f"; left {left}" if left else "")


def runtime_words(result: Result) -> str:
    """The interpreter and its version."""
    words = " ".join(part for part in (result.runtime, result.runtime_version) if part)
    return printable(words) or DASH


def case_facts(result: Result) -> Iterator[tuple[str, str]]:
    """The lesser figures of a case, name by words, those that are known."""
    steady = "steady" if result.steady else "not steady when it ended"
    counted = plural(result.runs, "inference")
    if result.seconds:
        yield "counted", f"{counted} in {result.seconds:.1f} s"
        yield "warm-up", f"{plural(result.warmup_runs, 'inference')}, {steady}"
    else:  # a manifest of version 1 says no more
        yield "counted", counted
        yield "warm-up", steady
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
    if result.notes:
        yield "notes", "; ".join(map(printable, result.notes))


def changes(trace: Sequence[Snapshot]) -> Iterator[tuple[str, str]]:
    """What the machine's sensors say of the time between the first look and the last."""
    if not trace:
        return
    first, last = trace[0], trace[-1]
    for sensor in SENSORS:
        before, after = getattr(first, sensor.key), getattr(last, sensor.key)
        if sensor.change is not None and before is not None and after is not None:
            yield sensor.words, sensor.change(before, after)


def settings_facts(settings: Settings) -> Iterator[tuple[str, str]]:
    """The protocol's bounds."""
    if settings.preset:
        yield "preset", printable(settings.preset)
    counted = f"{settings.min_seconds:g} s and {plural(settings.min_runs, 'inference')}"
    yield "counted, at least", counted
    yield "warm-up, at most", f"{settings.max_warmup_seconds:g} s"
    pinned = "not pinned" if settings.cpus is None else ", ".join(map(str, settings.cpus))
    yield "CPUs pinned to", pinned
    source = plural(settings.images, "real image") if settings.images else "random numbers"
    yield "input", source


def op_time(op: OpTime) -> str:
    """Its median, or why it has none of its own."""
    return f"{ms(op.p50_ms)} ms" if op.note is None else printable(op.note)


def command_line(run: BenchRun) -> str | None:
    """What a shell takes to run it again; None where the record does not say."""
    return shlex.join(printable(word) for word in run.command) if run.command else None


def score_words(results: Sequence[Result]) -> str:
    """``top-1 on 5,000 images``; a span where the cases were not scored on as many."""
    counts = sorted({result.score.images for result in results if result.score})
    if len(counts) == 1:
        return f"top-1 on {plural(counts[0], 'image')}"
    return f"top-1 on {counts[0]:,} to {counts[-1]:,} images"
