"""Timing a model in a process of its own.

Peak memory is a process's, so only one that holds nothing else tells what a model takes; and a
file that brings its interpreter down brings down that process, not the command. The process is
started afresh, neither forked (it would begin with this one's memory) nor through
``multiprocessing`` (which runs the caller's script again).
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ghostedge_runtime import Benchmark, Model, benchmark
from ghostedge_runtime.errors import GhostEdgeError, ModelFileError

_CHILD = "from ghostedge.timing import child; child()"


@dataclass(frozen=True)
class TimingJob:
    """A model to time; the fields are those of ``ghostedge_runtime.benchmark``."""

    model: Path
    threads: int
    min_seconds: float
    min_runs: int
    max_warmup_seconds: float = 10.0
    images: Sequence[Path] | None = None


def time_alone(job: TimingJob) -> Benchmark:
    """Run the job in a fresh process.

    Raises:
        GhostEdgeError: What the runtime has to say of the file or the images.
        ModelFileError: The interpreter crashed on it.
    """
    done = subprocess.run(
        [sys.executable, "-c", _CHILD], input=pickle.dumps(job), capture_output=True, check=False
    )
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise ModelFileError(
            f"its timing process ended with {done.returncode} ({words[-1] if words else 'silent'})",
            where=job.model,
            remedy="a negative number means that the interpreter crashed: the file is damaged",
        )
    result: Benchmark | GhostEdgeError = pickle.loads(done.stdout)
    if isinstance(result, GhostEdgeError):
        raise result
    return result


def child() -> None:
    """The other end: a job on stdin, its result or the error it ended in on stdout."""
    job: TimingJob = pickle.load(sys.stdin.buffer)
    result: Benchmark | GhostEdgeError
    try:
        with Model(job.model, threads=job.threads) as model:
            result = benchmark(
                model,
                min_seconds=job.min_seconds,
                min_runs=job.min_runs,
                max_warmup_seconds=job.max_warmup_seconds,
                images=job.images,
            )
    except GhostEdgeError as error:
        result = error
    sys.stdout.buffer.write(pickle.dumps(result))
