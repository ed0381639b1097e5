"""The measurement itself, in the process that the supervisor started for it."""

from __future__ import annotations

import json
import signal
import time
import traceback
from dataclasses import replace
from types import FrameType
from typing import Any, NoReturn

from ghostedge_runtime.bench.run import run_bench
from ghostedge_runtime.decode import decode
from ghostedge_runtime.errors import GhostEdgeError
from ghostedge_runtime.record import BenchJob, document
from ghostedge_runtime.remote.runs import RunFolder, end_with_parent, write_whole

_REPORT_S = 0.5


def measure(run: RunFolder) -> None:
    """Run the plan's job here; leave ``result.json``, or ``error.json`` with the reason."""
    end_with_parent()
    signal.signal(signal.SIGTERM, _stopped)
    try:
        result = run_bench(_job(run), progress=_Progress(run))
        write_whole(run.result, json.dumps(document([result])))
    except GhostEdgeError as error:
        what = error.what if error.where is None else f"{error.where}: {error.what}"
        _fail(run, {"what": what, "remedy": error.remedy, "ours": error.exit_code == 1})
    except Exception as error:  # whatever it was, the other end is told and shows the log
        traceback.print_exc()
        _fail(run, {"what": f"{type(error).__name__}: {error}", "ours": True})


def _stopped(_number: int, _frame: FrameType | None) -> NoReturn:
    """Leave as from an error, so that `run_bench` ends its workers."""
    raise SystemExit(1)


def _job(run: RunFolder) -> BenchJob:
    """The job with its paths in this run's folder."""
    job = decode(BenchJob, run.read_plan()["job"], where=run.plan, place="job")
    return replace(
        job,
        files={sha256: str(run.path / name) for sha256, name in job.files.items()},
        inputs=tuple(str(run.path / name) for name in job.inputs),
        data=None if job.data is None else str(run.path / job.data),
    )


def _fail(run: RunFolder, error: dict[str, Any]) -> None:
    write_whole(run.error, json.dumps(error))


class _Progress:
    """Passes progress on, seldom enough not to be measured itself."""

    def __init__(self, run: RunFolder) -> None:
        self._run, self._last = run, 0.0

    def __call__(self, words: str, share: float) -> None:
        now = time.monotonic()
        if now - self._last >= _REPORT_S:
            self._last = now
            self._run.add_status(words=words, share=share)
