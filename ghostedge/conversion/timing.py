"""The files of a conversion timed, each in a process of its own."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import ghostedge
from ghostedge.console import Reporter
from ghostedge_runtime.bench.job import Variants, make_job
from ghostedge_runtime.bench.run import run_bench
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.machine.facts import machine_facts
from ghostedge_runtime.record import BenchRun, Settings

# A conversion closes with a look at the speed; `ghostedge bench` takes its time.
TIMING = Settings(min_seconds=0.5, min_runs=50, max_warmup_seconds=2.0)


def time_all(files: Sequence[Path], threads: int, reporter: Reporter) -> BenchRun:
    """Time all files in turn, each in a process of its own; the results are in their order.

    Raises:
        ModelFileError: One of them does not run.
    """
    job = make_job(files, Variants(threads=(threads,)), settings=TIMING)
    with reporter.shares("time") as report_progress:
        run = run_bench(job, progress=report_progress)
    for result in run.results:
        if result.error is not None:
            raise ModelFileError(result.error)
    return run


def untimed_run() -> BenchRun:
    """The run of files of which none could be timed: the machine alone."""
    return BenchRun(
        id=secrets.token_hex(8),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        device="local",
        command=(),
        ghostedge_version=ghostedge.__version__,
        settings=TIMING,
        machine=machine_facts(),
        trace=(),
        results=(),
    )
