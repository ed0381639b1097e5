"""What a worker does with its model: open, warm up, run bursts, score, time the operators.

Each public method is a request of the coordinator and returns plain values that JSON takes.
"""

from __future__ import annotations

import gc
from dataclasses import asdict, replace
from itertools import cycle
from pathlib import Path
from time import monotonic, perf_counter_ns
from typing import Any

from ghostedge_runtime.bench.inference import random_input, real_inputs, timed, warm_up
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.evaluation import Progress, evaluate, score_corrupted
from ghostedge_runtime.folders import LabelledImages, list_labelled
from ghostedge_runtime.machine.facts import peak_rss_mb
from ghostedge_runtime.model import Model
from ghostedge_runtime.record import Case

# After the first inference the peak grew by less than 0.1 MB in 300 (float and int8 files on both
# interpreters); a few more are to be on the safe side.
_RUNS_TO_FULL_MEMORY = 5


class Session:
    """One model file in a process of its own.

    Args:
        path: The file.
        case: How to run it.
    """

    def __init__(self, path: str, case: Case) -> None:
        self._path, self._case = Path(path), case

    def open(self, progress: Progress) -> dict[str, Any]:  # noqa: ARG002 - every request has it
        """Load the file and run it for the first time, on random numbers.

        Peak memory is looked at here, before real images are decoded and kept in this process.
        """
        case = self._case
        self._model = model = Model(
            self._path,
            threads=case.threads,
            backend=case.backend,
            precision_mode=case.precision_mode,
        )
        self._inputs = [random_input(model)]
        self._turn = cycle(self._inputs)
        for _ in range(_RUNS_TO_FULL_MEMORY):
            self._run()
        peak = peak_rss_mb()
        delegation = model.delegation
        return {
            "runtime": model.runtime[0],
            "runtime_version": model.runtime[1],
            "batch": len(self._inputs[0]),
            "load_ms": model.load_ms,
            "first_inference_ms": model.first_inference_ms,
            "peak_rss_mb": peak,
            "delegation": None if delegation is None else asdict(delegation),
        }

    def check_data(
        self,
        progress: Progress,  # noqa: ARG002 - every request has it
        data: str,
        skipped: list[str],
    ) -> dict[str, Any]:
        """Whether the model can be scored on a folder of labelled images."""
        return {"images": len(self._labelled(data, skipped).paths)}

    def prepare(self, progress: Progress, images: list[str]) -> dict[str, Any]:  # noqa: ARG002 - every request has it
        """Make inputs of images; from here on they are run in turn."""
        self._inputs, timing = real_inputs(self._model, images)
        self._turn = cycle(self._inputs)
        return {"preprocessing": asdict(timing)}

    def warm_up(self, progress: Progress, max_seconds: float) -> dict[str, Any]:  # noqa: ARG002 - every request has it
        """Run until the times are steady."""
        gc.collect()
        runs, steady = warm_up(self._run, max_seconds)
        return {"runs": runs, "steady": steady}

    def burst(
        self,
        progress: Progress,  # noqa: ARG002 - every request has it
        lead_ns: int,
        min_ns: int,
        min_runs: int,
    ) -> dict[str, Any]:
        """Run uncounted, at least once and ``lead_ns`` long; then counted, by both bounds."""
        timed(self._run, lead_ns, 1)
        start = monotonic()
        samples = timed(self._run, min_ns, min_runs)
        return {"start": start, "samples_ns": samples.tolist()}

    def score(self, progress: Progress, data: str, skipped: list[str]) -> dict[str, Any]:
        """Accuracy on a folder of labelled images, but for those that are to be skipped."""
        score = evaluate(self._model, self._labelled(data, skipped), progress=progress)
        return {"images": score.count, "top1_pct": score.top1, "top5_pct": score.top5}

    def score_corrupted(
        self,
        progress: Progress,
        data: str,
        skipped: list[str],
        corruptions: list[str],
        images: int,
    ) -> dict[str, Any]:
        """Accuracy on at most so many of these images, corrupted in each way at each strength."""
        labelled = self._labelled(data, skipped)
        some = labelled.spread(images)
        (scores,) = score_corrupted([self._model], some, corruptions, progress=progress)
        return asdict(replace(scores, of_images=len(labelled.paths)))

    def time_ops(self, progress: Progress) -> dict[str, Any]:
        """Every operator by itself; needs no `open` before."""
        from ghostedge_runtime.bench.per_op import time_ops  # noqa: PLC0415 - it takes graphs apart

        return {"ops": [asdict(op) for op in time_ops(self._path, self._case, progress=progress)]}

    def _run(self) -> int:
        batch = next(self._turn)
        start = perf_counter_ns()
        self._model.predict(batch)
        return perf_counter_ns() - start

    def _labelled(self, data: str, skipped: list[str]) -> LabelledImages:
        model = self._model
        if not model.is_classifier:
            raise InputError(
                "it scores no classes: its outputs are "
                + ", ".join(f"{output.name} {output}" for output in model.io.outputs),
                where=self._path,
                remedy="leave --data out to time it; what its outputs are worth is for your own "
                "metric, over ghostedge_runtime.Model(path).values(image)",
            )
        labels = None if model.metadata is None else model.metadata.labels
        listed = list_labelled(data, labels, model.num_classes)
        return listed.without({Path(data, name) for name in skipped})
