"""A search's outcome in words and figures, for the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ghostedge.records.tuning import Trial, TunedFile
from ghostedge.tuning.bench import FileBench, Writer
from ghostedge.tuning.search import INT8, Choice, Outcome
from ghostedge.tuning.segments import Segment
from ghostedge_runtime.record import Estimate

_NAMED = 4


@dataclass(frozen=True)
class Searched:
    """A finished search in one format.

    Attributes:
        segments: What a choice's indices are of.
        bench: With everything that was tried.
        outcome: The choice.
        backend: The engine.
        threads: The best number.
    """

    segments: Sequence[Segment]
    bench: FileBench
    outcome: Outcome
    backend: str
    threads: int

    @property
    def everything(self) -> Choice:
        """All parts float: the conversion's own float32 file."""
        return frozenset(range(len(self.segments)))


def choice_words(choice: Choice, segments: Sequence[Segment]) -> str:
    """Which parts are float: ``int8``, ``float32``, ``float up to blocks.3.0``, or runs of them."""
    if not choice:
        return "int8"
    if len(choice) == len(segments):
        return "float32"
    runs = [_run_words(run, segments) for run in _runs(choice)]
    more = "" if len(runs) <= _NAMED else f" and {len(runs) - _NAMED} more"
    return f"float {', '.join(runs[:_NAMED])}{more}"


def _runs(choice: Choice) -> Iterator[tuple[int, int]]:
    """First and last of the neighbouring parts that are float together."""
    for part in sorted(choice):
        if part - 1 not in choice:
            first = part
        if part + 1 not in choice:
            yield first, part


def _run_words(run: tuple[int, int], segments: Sequence[Segment]) -> str:
    first, last = (segments[part].name for part in run)
    if run[0] == run[1]:
        return last
    return f"up to {last}" if run[0] == 0 else f"{first} to {last}"


def tuned_file(searched: Searched, file: str, format_: str, write: Writer) -> TunedFile:
    """The record of the file that a search chose."""
    bench, choice = searched.bench, searched.outcome.choice
    keep = write.keep_float(choice)
    last = [
        None if choice == default else bench.ratio(choice, default, "last word")
        for default in (INT8, searched.everything)
    ]
    return TunedFile(
        file=file,
        format=format_,
        backend=searched.backend,
        threads=searched.threads,
        choice=choice_words(choice, searched.segments),
        float_layers=keep,
        layer_count=sum(len(segment.layers) for segment in searched.segments),
        sha256=bench.candidates[choice].sha256,
        verdict=_verdict(searched, file, last),
        stopped=searched.outcome.stopped,
        to_int8=last[0],
        to_float=last[1],
        trials=_trials(searched, write),
    )


def _verdict(searched: Searched, file: str, last: Sequence[Estimate | None]) -> str:
    choice, bench = searched.outcome.choice, searched.bench
    words = choice_words(choice, searched.segments)
    if searched.outcome.stopped == "nothing holds":
        return f"{file}: no choice keeps the budget; the nearest is {words}"
    if choice in (INT8, searched.everything):
        times = {
            choice_words(c, searched.segments): bench.p50_ms(c) for c in (INT8, searched.everything)
        }
        both = ", ".join(f"{name} {time:.3f} ms" for name, time in times.items() if time)
        return (
            f"{file}: no mixture that keeps the budget is surely faster than both defaults "
            f"({both}); it is a copy of the {words} file, the faster of those that keep it"
        )
    speeds = [
        f"{_speed(ratio)} times as fast as {name}"
        for ratio, name in zip(last, ("int8", "float32"), strict=True)
        if ratio is not None
    ]
    return f"{file}: {words}, {' and '.join(speeds)}"


def _speed(ratio: Estimate) -> str:
    return f"{1 / ratio.value:.2f} ({1 / ratio.high:.2f}–{1 / ratio.low:.2f})"


def _trials(searched: Searched, write: Writer) -> tuple[Trial, ...]:
    bench = searched.bench
    int8_ms = bench.p50_ms(INT8)
    trials = [
        Trial(
            choice=choice_words(choice, searched.segments),
            float_layers=len(write.keep_float(choice)),
            sha256=candidate.sha256,
            bytes=candidate.quality.bytes,
            agreement_pct=candidate.quality.agreement_pct,
            top1_pct=candidate.quality.top1_pct,
            holds=candidate.quality.holds,
            p50_ms=ratio.value * int8_ms if ratio and int8_ms else None,
            to_int8=ratio,
        )
        for choice, candidate in bench.candidates.items()
        for ratio in [Estimate(1, 1, 1) if choice == INT8 else bench.ratio(choice, INT8)]
    ]
    return tuple(replace(trial, on_front=on_front(trial, trials)) for trial in trials)


def on_front(trial: Trial, trials: Sequence[Trial]) -> bool:
    """Whether no other timed choice is as good in latency, answers and size and better in one."""
    mine = _costs(trial)
    if mine is None:
        return False
    others = (costs for other in trials if (costs := _costs(other)) is not None)
    return not any(
        costs != mine and all(a <= b for a, b in zip(costs, mine, strict=True)) for costs in others
    )


def _costs(trial: Trial) -> tuple[float, float, int] | None:
    """What is to be small: time to int8's, answers lost, bytes."""
    if trial.to_int8 is None:
        return None
    return trial.to_int8.value, -trial.answers_pct, trial.bytes
