"""What the three forms of the report say of the whole, in the same words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ghostedge.records.quantization import QuantizationFindings
from ghostedge.show.contents import Contents
from ghostedge.show.figures import Lines
from ghostedge.show.words import WARNING, elided, ms, percent, plural
from ghostedge.terminal import printable
from ghostedge_runtime.machine.sensors import Sensor
from ghostedge_runtime.record import BenchRun, Result

DOUBTFUL = "These figures are doubtful"
MISSED = "What the conversion missed"
INTERVALS = (
    "p50, p90 and p99: that share of the inferences took no longer. Beside a figure its 95 % "
    "interval, from resampling the rounds. To the first: its p50 over the first case’s, below 1 is "
    "faster."
)
DISTRIBUTIONS = (
    "Above, how often which latency occurred; below, over time: a dot is the median of a round, "
    "the band its middle 80 %."
)


def title(contents: Contents) -> str:
    """How many cases on which machines."""
    machines = ", ".join(contents.series)
    return f"{plural(len(contents.entries), 'case')} on {elided(machines, 120)}"


def mark_sentences(contents: Contents) -> Iterator[str]:
    """Every mark of every run, with the case and the machine it is about."""
    for index, run in enumerate(contents.runs):
        entries = contents.entries_of(index)
        where = "" if len(contents.runs) == 1 else f" ({contents.machines[index]})"
        for mark in run.marks:
            about = [] if mark.case is None else entries[mark.case : mark.case + 1]
            name = "".join(f"{entry.name}: " for entry in about)
            yield f"{mark.kind}: {name}{printable(mark.text)}{where}"


def missed_sentences(contents: Contents) -> Iterator[str]:
    """What conversions did not keep or find out, a line each."""
    yield from map(printable, contents.missed)


def created_words(runs: Sequence[BenchRun]) -> str:
    """When, as far as the records say, and with what."""
    days = sorted({printable(run.created[:16].replace("T", " ")) for run in runs if run.created})
    span = " to ".join(dict.fromkeys((*days[:1], *days[-1:])))
    versions = sorted({printable(run.ghostedge_version) for run in runs})
    return f"Measured {f'{span} UTC ' if span else ''}with GhostEdge {', '.join(versions)}"


def front_words(machines: int, *, doubtful: bool) -> str:
    """How to read the chart."""
    of_each = " of each machine" if machines > 1 else ""
    hollow = f" Hollow points are doubtful ({WARNING})." if doubtful else ""
    return (
        f"Better is up and to the left. The stair is the Pareto front{of_each}: the best accuracy "
        f"to be had within a latency. Lines through points are the 95 % interval of p50.{hollow}"
    )


def latency_only_words(timed: int, scored: int) -> str:
    """Why there is no accuracy beside the latency."""
    if not scored:
        return (
            "None of the files was scored, so this is latency alone; "
            "`ghostedge bench … --data FOLDER` scores them on labelled images."
        )
    missing = plural(timed - scored, "case")
    return f"{missing} without an accuracy cannot be in the chart above; this one holds all."


def operator_words(result: Result) -> str:
    """The operators' sum beside the whole."""
    total = sum(op.p50_ms for op in result.ops)
    whole = f"; the whole graph takes {ms(result.p50_ms.value)} ms" if result.p50_ms else ""
    return f"{plural(len(result.ops), 'operator')}, each by itself, {ms(total)} ms in sum{whole}"


def sensor_words(sensor: Lines | None, unit: str) -> str:
    """The span of each sensor over the run."""
    if sensor is None:
        return "not told"
    spans = []
    for line in sensor.lines:
        values = [value for value in line.values if value is not None]
        spans.append(f"{printable(line.name)} {min(values):.4g} to {max(values):.4g} {unit}")
    return ", ".join(spans)


def lines_words(lines: Lines, sensor: Sensor) -> str:
    """What is left out of a chart of sensors."""
    parts = []
    if len(lines.lines) < lines.all:
        parts.append(f"{len(lines.lines)} of {lines.all} drawn: those with the {sensor.over_time}")
    if lines.each > 1:
        parts.append(f"a dot is the {sensor.over_time} of {lines.each} looks")
    return "; ".join(parts)


IMAGE_FITS = (
    "A batch norm remembers the mean and variance that it saw in training. The first chart shows "
    "how far the images are from that at each: near 0 where they are like training's, 0.5 where "
    "the means are a standard deviation apart. The second shows what share of the images' numbers "
    "each int8 range clips; red is where one image alone makes it twice as wide, or more."
)


def quantization_words(findings: QuantizationFindings) -> Iterator[str]:
    """On what it was measured, the whole, and what had to be assumed."""
    total = findings.analysis.total
    ratio = "exact" if total.sqnr_db is None else f"{total.sqnr_db:.1f} dB above its noise"
    images = plural(findings.analysis.images, "image")
    yield (
        f"On {images} of {printable(findings.calib)} the output is {ratio}; "
        f"{percent(1 - total.changed)} keep their top-1. 6 dB more is half the error."
    )
    yield from map(printable, findings.notes)
