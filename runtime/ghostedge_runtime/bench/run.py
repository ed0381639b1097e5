"""The measuring itself: every case in a process of its own, all of them in turn.

1. Each worker loads its file and runs it for the first time, one worker after the other.
2. Each is warmed up until its times are steady (`benchmarking.warm_up`).
3. **Rounds**: each case gets one burst of inferences a round, until all have ``min_seconds`` and
   ``min_runs``. A machine that gets hot or busy meanwhile does so for all cases alike. The order
   turns by one place a round and is reversed every other one, so that no case is always first or
   always runs after the same one.
4. Accuracy and the times of operators, where asked for, come after all timing.

A **burst** is `BURST_SECONDS` long, or shorter where ``min_seconds`` is, so that there are about
`MIN_ROUNDS` of them: intervals are made of rounds, and fewer tell little. It begins with
`LEAD_SECONDS` of inferences, one at least, that are not counted: the first brings the weights back
to the caches that the other cases took (without it a burst's first inference took 1.3 to 1.7 times
as long as the rest, with it 1.1), the others bring back the clock, which the frequency governors
of Linux raise within about 10 ms. Idle workers sleep in a read; they hold memory, but no core. So
several cases take a tenth more than their counted time.

The machine is looked at before, between rounds (at most once in `LOOK_SECONDS`, while no worker
runs) and after.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from time import monotonic

from ghostedge_runtime import __version__
from ghostedge_runtime.bench.extras import score, time_operators
from ghostedge_runtime.bench.lane import Burst, Lane
from ghostedge_runtime.bench.presets import check_settings
from ghostedge_runtime.bench.process import Worker
from ghostedge_runtime.bench.progress import Stages, Tell
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.machine.doubts import find_marks
from ghostedge_runtime.machine.facts import machine_facts
from ghostedge_runtime.machine.sensors import snapshot
from ghostedge_runtime.record import BenchJob, BenchRun, Settings, Snapshot

BURST_SECONDS = 0.1
MIN_ROUNDS = 20
LEAD_SECONDS = 0.01
LOOK_SECONDS = 1.0


def run_bench(job: BenchJob, *, progress: Tell | None = None) -> BenchRun:
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
    with _lanes(job) as lanes:
        _open(job, lanes, stages)
        _warm_up(job.settings, lanes, stages)
        _measure(job.settings, lanes, stages, watch)
        _summarize(lanes)
        score(job, lanes, stages)
    time_operators(job, lanes, stages)
    results = tuple(lane.result for lane in lanes)
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
def _lanes(job: BenchJob) -> Iterator[list[Lane]]:
    """A worker for every case, all ended at the end, however it comes."""
    lanes: list[Lane] = []
    try:
        for case in job.cases:
            worker = Worker(case, job.files[case.sha256], job.settings.cpus)
            lanes.append(Lane(case, worker))
        yield lanes
    finally:
        for lane in lanes:
            lane.end()


def _open(job: BenchJob, lanes: Sequence[Lane], stages: Stages) -> None:
    for lane in stages.over("open", lanes):
        lane.attempt(Lane.open)
    for lane in _running(lanes):
        # What is wrong with the images is not this one case's fault: nothing is measured then.
        if job.data is not None:
            lane.check_data(job.data, job.skipped)
        if job.inputs:
            lane.prepare(job.inputs)


def _warm_up(settings: Settings, lanes: Sequence[Lane], stages: Stages) -> None:
    for lane in stages.over("warm up", _running(lanes)):
        lane.attempt(lambda each: each.warm_up(settings.max_warmup_seconds))


def _measure(settings: Settings, lanes: Sequence[Lane], stages: Stages, watch: Watch) -> None:
    burst = burst_of(settings)
    turn = 0
    while share := _unfinished(settings, running := _running(lanes)):
        stages.at("measure", 1 - share)
        watch.look(LOOK_SECONDS)
        for lane in in_turn(running, turn):
            lane.attempt(lambda each: each.burst(burst, watch.began))
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


def in_turn(lanes: Sequence[Lane], turn: int) -> list[Lane]:
    """The order of a round."""
    first = turn % len(lanes)
    order = [*lanes[first:], *lanes[:first]]
    return order[::-1] if turn % 2 else order


def _unfinished(settings: Settings, lanes: Sequence[Lane]) -> float:
    """The share that is still to be done by the slowest case; 0 is done."""
    least = min(
        min(
            lane.result.runs / settings.min_runs,
            lane.result.seconds / settings.min_seconds if settings.min_seconds else 1.0,
        )
        for lane in lanes
    )
    return max(0.0, 1 - least)


def _running(lanes: Sequence[Lane]) -> list[Lane]:
    """Those that have not failed.

    Raises:
        GhostEdgeError: All have; the first one's error.
    """
    found = [lane for lane in lanes if lane.error is None]
    if not found:
        raise next(lane.error for lane in lanes if lane.error is not None)
    return found


def _summarize(lanes: Sequence[Lane]) -> None:
    for lane in _running(lanes):
        lane.summarize(lanes[0])
