"""A measurement: every case in a process of its own, all of them in turn.

1. Each worker loads its file and runs it for the first time, one worker after the other.
2. Each is warmed up until its times are steady (`inference.warm_up`).
3. **Rounds**: each case gets one burst of inferences a round, until all have ``min_seconds`` and
   ``min_runs``. A machine that gets hot or busy meanwhile does so for all cases alike. The order
   turns by one place a round and is reversed every other one, so that no case is always first or
   always runs after the same one.
4. Accuracy and the times of operators, where asked for, come after all timing. Either may fail
   where the timing did not; the result then keeps its times and says so in its notes.

A **burst** is `BURST_SECONDS` long, or shorter where ``min_seconds`` is, so that there are about
`MIN_ROUNDS` of them: intervals are made of rounds, and fewer tell little. It begins with
`LEAD_SECONDS` of inferences, one at least, that are not counted: the first brings the weights back
to the caches that the other cases took (without it a burst's first inference took 1.3 to 1.7 times
as long as the rest, with it 1.1), the others bring back the clock, which the frequency governors
of Linux raise within about 10 ms. Idle workers sleep in a read; they hold memory, but no core. So
several cases take a tenth more than their counted time.

The machine is looked at before, between rounds (at most once in `LOOK_SECONDS`, while no worker
runs) and after. Progress is reported by stages, weighed by the seconds they are likely to take.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from time import monotonic
from typing import Any

from ghostedge_runtime import __version__
from ghostedge_runtime.bench.case_run import Burst, CaseRun, Worker
from ghostedge_runtime.bench.inference import check_settings
from ghostedge_runtime.corruptions import form_count
from ghostedge_runtime.decode import decode
from ghostedge_runtime.errors import GhostEdgeError, InputError
from ghostedge_runtime.machine.doubts import find_marks
from ghostedge_runtime.machine.facts import machine_facts
from ghostedge_runtime.machine.sensors import snapshot
from ghostedge_runtime.record import (
    BenchJob,
    BenchRun,
    Case,
    CorruptionScores,
    OpTime,
    Score,
    Settings,
    Snapshot,
)

ReportShare = Callable[[str, float], None]
BURST_SECONDS = 0.1
MIN_ROUNDS = 20
LEAD_SECONDS = 0.01
LOOK_SECONDS = 1.0
_OPEN_SECONDS = 0.5
_WARMUP_SECONDS = 1.0
_SCORE_SECONDS = 5.0
_OPERATORS_SECONDS = 10.0
_CORRUPTED = "score corrupted images"


class Stages:
    """Reports how far a run is.

    Args:
        job: Which.
        report: Called with what is being done and the share done so far, 0 to 1; None: nobody asks.
    """

    def __init__(self, job: BenchJob, report: ReportShare | None) -> None:
        self._report = report
        self._seconds = {
            "open": _OPEN_SECONDS,
            "warm up": min(_WARMUP_SECONDS, job.settings.max_warmup_seconds),
            "measure": job.settings.min_seconds,
            "score": 0.0 if job.data is None else _SCORE_SECONDS,
            _CORRUPTED: _SCORE_SECONDS * form_count(job.corruptions) if job.corruptions else 0.0,
            "time operators": _OPERATORS_SECONDS if job.per_op else 0.0,
        }

    def at(self, stage: str, share: float) -> None:
        """Say that so much of a stage is done."""
        if self._report is None:
            return
        names = list(self._seconds)
        before = sum(self._seconds[name] for name in names[: names.index(stage)])
        done = before + share * self._seconds[stage]
        self._report(stage, min(1.0, done / sum(self._seconds.values())))

    def over(self, stage: str, case_runs: Sequence[CaseRun]) -> Iterator[CaseRun]:
        """The cases in order, with a report of each."""
        for number, case_run in enumerate(case_runs):
            self.at(stage, number / len(case_runs))
            yield case_run
        self.at(stage, 1.0)

    def part(self, stage: str, number: int, count: int) -> Callable[[int, int], None]:
        """A callback (done, total) for the part ``number`` of ``count``."""
        return lambda done, total: self.at(stage, (number + done / max(total, 1)) / count)


def run_bench(job: BenchJob, *, progress: ReportShare | None = None) -> BenchRun:
    """Measure a job's cases on this machine.

    Args:
        job: What to measure; `job.make_job` makes one.
        progress: Called with what is being done, in words, and the share done so far, 0 to 1.

    Returns:
        The run. A case whose file does not load, or takes its interpreter down, says so in
        ``Result.error``; the others are complete.

    Raises:
        InputError: The bounds make no sense, a CPU to pin to is not there, or a model scores no
            classes though images with labels are given.
        ImageError: An image cannot be used.
        GhostEdgeError: No case could be measured: the first one's error.
    """
    check_settings(job.settings)
    check_cpus(job.settings.cpus)
    stages = Stages(job, progress)
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    watch = Watch()
    facts = machine_facts()
    with _case_runs(job) as case_runs:
        _open(job, case_runs, stages)
        _warm_up(job.settings, case_runs, stages)
        _measure(job.settings, case_runs, stages, watch)
        _summarize(case_runs)
        score(job, case_runs, stages)
    time_operators(job, case_runs, stages)
    results = tuple(case_run.result for case_run in case_runs)
    return BenchRun(
        id=secrets.token_hex(8),
        created=created,
        device=job.device,
        command=job.command,
        ghostedge_version=__version__,
        settings=job.settings,
        machine=facts,
        trace=watch.trace,
        results=results,
        marks=find_marks(facts, job.settings, watch.trace, results),
    )


def check_cpus(cpus: Sequence[int] | None) -> None:
    """Refuse CPUs that this process may not run on.

    Raises:
        InputError: A CPU does not exist or is not allowed, or this system pins no process.
    """
    if cpus is None:
        return
    if not hasattr(os, "sched_getaffinity"):
        raise InputError("this system does not let a process choose its CPUs")
    allowed = sorted(os.sched_getaffinity(0))
    if wrong := sorted(set(cpus) - set(allowed)):
        raise InputError(
            f"there is no CPU {', '.join(map(str, wrong))} that this process may use",
            where="cpus",
            remedy=f"choose among {', '.join(map(str, allowed))}",
        )


class Watch:
    """Looks at the machine, not too often, and keeps what it saw.

    Attributes:
        began: When the run began, on `time.monotonic`'s clock.
    """

    def __init__(self) -> None:
        self.began = monotonic()
        self._trace: list[Snapshot] = []
        self.look()

    @property
    def trace(self) -> tuple[Snapshot, ...]:
        """What was seen, in order."""
        return tuple(self._trace)

    def look(self, at_least: float = 0.0) -> None:
        """Look at the machine, if so many seconds have gone by since the last time."""
        now = monotonic() - self.began
        if not self._trace or now - self._trace[-1].at_s >= at_least:
            self._trace.append(snapshot(now))


@contextmanager
def _case_runs(job: BenchJob) -> Iterator[list[CaseRun]]:
    """A worker for every case, all ended at the end, however it comes."""
    case_runs: list[CaseRun] = []
    try:
        for case in job.cases:
            worker = Worker(case, job.files[case.sha256], job.settings.cpus)
            case_runs.append(CaseRun(case, worker))
        yield case_runs
    finally:
        for case_run in case_runs:
            case_run.end()


def _open(job: BenchJob, case_runs: Sequence[CaseRun], stages: Stages) -> None:
    for case_run in stages.over("open", case_runs):
        case_run.attempt(CaseRun.open)
    for case_run in _running(case_runs):
        # What is wrong with the images is not this one case's fault: nothing is measured then.
        if job.data is not None:
            case_run.check_data(job.data, job.skipped)
        if job.inputs:
            case_run.prepare(job.inputs)


def _warm_up(settings: Settings, case_runs: Sequence[CaseRun], stages: Stages) -> None:
    for case_run in stages.over("warm up", _running(case_runs)):
        case_run.attempt(lambda case: case.warm_up(settings.max_warmup_seconds))


def _measure(
    settings: Settings, case_runs: Sequence[CaseRun], stages: Stages, watch: Watch
) -> None:
    burst = burst_of(settings)
    turn = 0
    while share := _unfinished(settings, running := _running(case_runs)):
        stages.at("measure", 1 - share)
        watch.look(LOOK_SECONDS)
        for case_run in in_turn(running, turn):
            case_run.attempt(lambda case: case.burst(burst, watch.began))
        turn += 1
    stages.at("measure", 1.0)
    watch.look()


def burst_of(settings: Settings) -> Burst:
    """How long a burst is: both bounds divided by the number of rounds (see the module)."""
    rounds = max(MIN_ROUNDS, math.ceil(settings.min_seconds / BURST_SECONDS))
    return Burst(
        lead_ns=round(LEAD_SECONDS * 1e9),
        min_ns=math.ceil(settings.min_seconds * 1e9 / rounds),
        min_runs=math.ceil(settings.min_runs / rounds),
    )


def in_turn(case_runs: Sequence[CaseRun], turn: int) -> list[CaseRun]:
    """The order of a round."""
    first = turn % len(case_runs)
    order = [*case_runs[first:], *case_runs[:first]]
    return order[::-1] if turn % 2 else order


def _unfinished(settings: Settings, case_runs: Sequence[CaseRun]) -> float:
    """The share that is still to be done by the slowest case; 0 is done."""
    least = min(
        min(
            case_run.result.runs / settings.min_runs,
            case_run.result.seconds / settings.min_seconds if settings.min_seconds else 1.0,
        )
        for case_run in case_runs
    )
    return max(0.0, 1 - least)


def _running(case_runs: Sequence[CaseRun]) -> list[CaseRun]:
    """Those that have not failed.

    Raises:
        GhostEdgeError: All have; the first one's error.
    """
    running = [case_run for case_run in case_runs if case_run.error is None]
    if not running:
        raise next(case_run.error for case_run in case_runs if case_run.error is not None)
    return running


def _summarize(case_runs: Sequence[CaseRun]) -> None:
    for case_run in _running(case_runs):
        case_run.summarize(case_runs[0])


@dataclass(frozen=True)
class Scoring:
    """A way to score a file on the images of ``--data``.

    Attributes:
        stage: The stage of the run that it is.
        request: What a worker is asked for.
        arguments: Of the request.
        kind: The record that it answers.
    """

    stage: str
    request: str
    arguments: Mapping[str, Any]
    kind: type[Score | CorruptionScores]


def score(job: BenchJob, case_runs: Sequence[CaseRun], stages: Stages) -> None:
    """Score every file once for each way of computing it: threads do not change its answers."""
    for scoring in _scorings(job):
        scores: dict[tuple[str, ...], Score | CorruptionScores | str] = {}
        for number, case_run in enumerate(case_runs):
            if case_run.error is not None:
                continue
            key = (case_run.case.sha256, case_run.case.backend, case_run.case.precision_mode)
            if key not in scores:
                progress = stages.part(scoring.stage, number, len(case_runs))
                scores[key] = _scored(case_run, scoring, progress)
            _keep_score(case_run, scores[key])


def _scorings(job: BenchJob) -> Iterator[Scoring]:
    if job.data is None:
        return
    folder = {"data": job.data, "skipped": job.skipped}
    yield Scoring("score", "score", folder, Score)
    if job.corruptions:
        chosen = {"corruptions": job.corruptions, "images": job.corruption_images}
        yield Scoring(_CORRUPTED, "score_corrupted", folder | chosen, CorruptionScores)


def _keep_score(case_run: CaseRun, answer: Score | CorruptionScores | str) -> None:
    if isinstance(answer, str):
        _note(case_run, answer)
    elif isinstance(answer, Score):
        case_run.result = replace(case_run.result, score=answer)
    else:
        case_run.result = replace(case_run.result, corrupted=answer)


def _scored(
    case_run: CaseRun, scoring: Scoring, progress: Callable[[int, int], None]
) -> Score | CorruptionScores | str:
    try:
        answer = case_run.ask(scoring.request, progress, **scoring.arguments)
    except GhostEdgeError as error:
        return f"it has no score: {error}"
    return decode(scoring.kind, answer, where=case_run.case.model, place=scoring.request)


def time_operators(job: BenchJob, case_runs: Sequence[CaseRun], stages: Stages) -> None:
    """Time the operators of every case, in a process of its own."""
    if not job.per_op:
        return
    for number, case_run in enumerate(case_runs):
        if case_run.error is not None:
            continue
        progress = stages.part("time operators", number, len(case_runs))
        try:
            ops = _timed(case_run.case, job, progress)
        except GhostEdgeError as error:
            _note(case_run, f"its operators have no times: {error}")
        else:
            case_run.result = replace(case_run.result, ops=ops)


def _timed(case: Case, job: BenchJob, progress: Callable[[int, int], None]) -> tuple[OpTime, ...]:
    worker = Worker(case, job.files[case.sha256], job.settings.cpus)
    try:
        worker.ready()
        ops = worker.ask("time_ops", progress=progress)["ops"]
    finally:
        worker.end()
    places = enumerate(ops)
    return tuple(decode(OpTime, op, where=case.model, place=f"ops[{n}]") for n, op in places)


def _note(case_run: CaseRun, text: str) -> None:
    case_run.result = replace(case_run.result, notes=(*case_run.result.notes, text))
