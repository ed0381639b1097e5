"""What is added to a measurement after all timing: accuracy, and every operator by itself.

Either may fail where the timing did not; the result then keeps its times and says so in its notes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ghostedge_runtime.bench.decode import decode
from ghostedge_runtime.bench.lane import Lane
from ghostedge_runtime.bench.process import Worker
from ghostedge_runtime.bench.progress import Stages
from ghostedge_runtime.errors import GhostEdgeError
from ghostedge_runtime.record import BenchJob, Case, OpTime, Score


def score(job: BenchJob, lanes: Sequence[Lane], stages: Stages) -> None:
    """Score every file once for each way of computing it: threads do not change its answers."""
    if job.data is None:
        return
    found: dict[tuple[str, ...], Score | str] = {}
    for number, lane in enumerate(lanes):
        if lane.error is not None:
            continue
        key = (lane.case.sha256, lane.case.backend, lane.case.precision_mode)
        if key not in found:
            tell = stages.part("score", number, len(lanes))
            found[key] = _scored(lane, job.data, job.skipped, tell)
        answer = found[key]
        if isinstance(answer, Score):
            lane.result = replace(lane.result, score=answer)
        else:
            _note(lane, answer)


def _scored(
    lane: Lane, data: str, skipped: tuple[str, ...], tell: Callable[[int, int], None]
) -> Score | str:
    try:
        return Score(**lane.ask("score", tell, data=data, skipped=skipped))
    except GhostEdgeError as error:
        return f"it has no score: {error}"


def time_operators(job: BenchJob, lanes: Sequence[Lane], stages: Stages) -> None:
    """Time the operators of every case, in a process of its own."""
    if not job.per_op:
        return
    for number, lane in enumerate(lanes):
        if lane.error is not None:
            continue
        tell = stages.part("time operators", number, len(lanes))
        try:
            ops = _timed(lane.case, job, tell)
        except GhostEdgeError as error:
            _note(lane, f"its operators have no times: {error}")
        else:
            lane.result = replace(lane.result, ops=ops)


def _timed(case: Case, job: BenchJob, tell: Callable[[int, int], None]) -> tuple[OpTime, ...]:
    worker = Worker(case, job.files[case.sha256], job.settings.cpus)
    try:
        worker.ready()
        ops = worker.ask("time_ops", progress=tell)["ops"]
    finally:
        worker.end()
    places = enumerate(ops)
    return tuple(decode(OpTime, op, where=case.model, place=f"ops[{n}]") for n, op in places)


def _note(lane: Lane, text: str) -> None:
    lane.result = replace(lane.result, notes=(*lane.result.notes, text))
