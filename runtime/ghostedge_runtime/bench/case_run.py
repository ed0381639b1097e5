"""A case while it is measured, and the coordinator's end of its worker process.

`Worker` starts the process, asks it, notices when it dies or hangs, and ends it; `CaseRun` keeps
what is known of the case so far. A worker is started afresh, neither forked (it would begin with
this process's memory, and peak memory is to be the model's own) nor through ``multiprocessing``
(which runs the caller's script again). It has a session of its own, so that Ctrl-C reaches the
coordinator alone, which then ends its workers.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from time import monotonic
from typing import Any

from ghostedge_runtime.bench.statistics import Rounds, drift_estimate, ratio_estimate
from ghostedge_runtime.bench.worker import error_from_json
from ghostedge_runtime.decode import decode
from ghostedge_runtime.errors import GhostEdgeError, ModelFileError
from ghostedge_runtime.latency import Timing
from ghostedge_runtime.record import Case, Delegation, Result, Round

PATIENCE_S = 300.0
"""How long a worker may be silent beyond what its request should take."""

_CHILD = (
    "import sys; sys.path[:] = {path!r}; from ghostedge_runtime.bench.worker import main; main()"
)
_REMEDIES: Mapping[int, str] = {
    signal.SIGKILL: "the system ended it, most likely for want of memory: measure fewer cases "
    "at a time, or smaller ones",
    signal.SIGILL: "the interpreter uses instructions that this processor lacks: install a build "
    "for it",
}
_CRASHED = "the interpreter crashed on it: the file may be damaged"


class Worker:
    """A process with one case in it.

    Args:
        case: The case.
        path: Where its file is.
        cpus: The CPUs it may use; None for all.

    Attributes:
        case: As given.
        pid: Of the process.
    """

    def __init__(self, case: Case, path: str, cpus: Sequence[int] | None) -> None:
        self.case, self._path = case, path
        self._pending = b""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._send({"case": asdict(case), "path": path, "cpus": None if cpus is None else [*cpus]})

    def ready(self) -> None:
        """Wait until it has started.

        Raises:
            GhostEdgeError: It did not.
        """
        self._receive(PATIENCE_S)

    def ask(
        self,
        what: str,
        *,
        seconds: float = 0.0,
        progress: Callable[[int, int], None] | None = None,
        **arguments: Any,
    ) -> dict[str, Any]:
        """Have one of `session.Session`'s methods done.

        Args:
            what: The method's name.
            seconds: How long it should take.
            progress: Called with what is done and what there is in all.
            arguments: The method's.

        Raises:
            GhostEdgeError: What the worker has to say, or that it crashed or hangs.
        """
        self._send({"do": what, **arguments})
        while True:
            answer = self._receive(PATIENCE_S + seconds)
            if "done" in answer:
                done: dict[str, Any] = answer["done"]
                return done
            if "error" in answer:
                raise self._named(error_from_json(answer["error"]))
            if progress is not None:
                progress(*answer["progress"])

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            if pipe is not None:
                pipe.close()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None  # it was asked to be a pipe
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:  # it is gone: reading its answer tells why
            return

    def _receive(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None  # it was asked to be a pipe
        pipe = self._process.stdout.fileno()
        end = monotonic() + seconds
        while b"\n" not in self._pending:
            if not select.select([pipe], [], [], max(0.0, end - monotonic()))[0]:
                raise self._hangs(seconds)
            data = os.read(pipe, 1 << 16)
            if not data:
                raise self._crashed()
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _named(self, error: GhostEdgeError) -> GhostEdgeError:
        """The error with the file as it was named, wherever its copy lies."""
        if error.where == self._path:
            error.where = self.case.model
        return error

    def _hangs(self, seconds: float) -> ModelFileError:
        return ModelFileError(
            f"its process has said nothing for {seconds:.0f} s",
            where=self.case.model,
            remedy="the interpreter hangs on it, or the machine is too slow for it",
        )

    def _crashed(self) -> ModelFileError:
        code = self._process.wait()
        self._stderr.seek(0)
        words = self._stderr.read().decode(errors="replace").strip().splitlines()
        last_words = words[-1] if words else "silent"
        return ModelFileError(
            f"its process ended with {_code_words(code)} ({last_words})",
            where=self.case.model,
            remedy=_REMEDIES.get(-code, _CRASHED),
        )


def _code_words(code: int) -> str:
    """A return code for people: a signal's name where it is one."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # a real-time signal has no name
        return f"signal {-code}"


@dataclass(frozen=True)
class Burst:
    """One case's turn in a round, in nanoseconds: uncounted first, then counted by both bounds."""

    lead_ns: int
    min_ns: int
    min_runs: int


class CaseRun:
    """A case, its worker and its result in the making.

    Attributes:
        case: The case.
        result: What is known so far.
        error: Why it fell out; None while it is in the running.
    """

    def __init__(self, case: Case, worker: Worker) -> None:
        self.case = case
        self.result = Result(case)
        self.error: GhostEdgeError | None = None
        self._worker = worker
        self._rounds: list[Round] = []
        self._spent_ns = 0

    def attempt(self, step: Callable[[CaseRun], None]) -> None:
        """Take a step; if it fails, the case falls out and the others go on."""
        try:
            step(self)
        except GhostEdgeError as error:
            self.error = error
            self.result = Result(self.case, error=str(error))
            self.end()

    def open(self) -> None:
        """Load the file and run it for the first time."""
        self._worker.ready()
        reply = self._worker.ask("open")
        delegation = reply.pop("delegation")
        if delegation is not None:
            delegation = decode(Delegation, delegation, where=self.case.model, place="delegation")
        self.result = replace(self.result, **reply, delegation=delegation)

    def check_data(self, data: str, skipped: tuple[str, ...]) -> None:
        """Refuse a model that cannot be scored on this folder."""
        self._worker.ask("check_data", data=data, skipped=skipped)

    def prepare(self, images: tuple[str, ...]) -> None:
        """Make the inputs of images."""
        reply = self._worker.ask("prepare", images=images)
        self.result = replace(self.result, preprocessing=Timing(**reply["preprocessing"]))

    def warm_up(self, max_seconds: float) -> None:
        """Run until the times are steady."""
        reply = self._worker.ask("warm_up", seconds=max_seconds, max_seconds=max_seconds)
        self.result = replace(self.result, warmup_runs=reply["runs"], steady=reply["steady"])

    def burst(self, burst: Burst, began: float) -> None:
        """Take this case's turn in a round.

        Args:
            burst: How long.
            began: When the run began, on `time.monotonic`'s clock, which all processes share.
        """
        first_ms = self.result.first_inference_ms or 0.0
        expected = (burst.lead_ns + burst.min_ns) / 1e9 + (burst.min_runs + 2) * first_ms / 1e3
        reply = self._worker.ask("burst", seconds=10 * expected, **vars(burst))
        self._rounds.append(Round(reply["start"] - began, tuple(reply["samples_ns"])))
        self._spent_ns += sum(reply["samples_ns"])
        runs = self.result.runs + len(reply["samples_ns"])
        self.result = replace(self.result, runs=runs, seconds=self._spent_ns / 1e9)

    def ask(self, what: str, progress: Callable[[int, int], None], **arguments: Any) -> Any:
        """Have the worker do something else, see `Worker.ask`."""
        return self._worker.ask(what, progress=progress, **arguments)

    def end(self) -> None:
        """End the worker."""
        self._worker.end()

    def summarize(self, base: CaseRun) -> None:
        """Make figures of the samples.

        Args:
            base: The case that ratios are to, measured in turn with this one.
        """
        rounds = self._drawn()
        self.result = replace(
            self.result,
            p50_ms=rounds.percentile(50),
            p90_ms=rounds.percentile(90),
            p99_ms=rounds.percentile(99),
            mean_ms=rounds.mean(),
            min_ms=float(rounds.samples_ms.min()),
            ratio=None if base.error else ratio_estimate(rounds, base._drawn()),
            drift=drift_estimate([round_.samples_ns for round_ in self._rounds]),
            rounds=tuple(self._rounds),
        )

    def _drawn(self) -> Rounds:
        return Rounds([round_.samples_ns for round_ in self._rounds])
