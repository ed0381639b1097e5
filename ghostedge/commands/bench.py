"""``ghostedge bench``: how fast, how small, how right?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ghostedge.commands._common import PATH, integers, json_option, print_json, stderr, stdout
from ghostedge.console import ConsoleReporter, Reporter
from ghostedge.tables import bench_table
from ghostedge.timing import TimingJob, time_alone
from ghostedge_runtime import Benchmark, Evaluation, Model, evaluate, host_facts
from ghostedge_runtime.benchmarking import MAX_IMAGES
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.images import list_images, list_labelled

Row = tuple[str, Benchmark, Evaluation | None]


@click.command("bench")
@click.argument("models", type=PATH, nargs=-1, required=True, metavar="MODEL...")
@click.option("--data", type=PATH, help="Labelled images, a folder per class: score them as well.")
@click.option(
    "--threads", type=integers, metavar="N,N,…", default="1", show_default=True, help="E.g. 1,2,4."
)
@click.option("--min-seconds", type=click.FloatRange(0), default=3.0, show_default=True)
@click.option("--min-runs", type=click.IntRange(1), default=100, show_default=True)
@json_option
def command(
    *,
    models: tuple[Path, ...],
    data: Path | None,
    threads: tuple[int, ...],
    min_seconds: float,
    min_runs: int,
    as_json: bool,
) -> None:
    """Time each MODEL (.tflite or .onnx) on this machine, side by side.

    One inference at a time, preprocessing apart, after a warm-up until the times are steady. With
    --data the timed inputs are real images, and the very same files are scored on them, where they
    score classes.
    """
    reporter = ConsoleReporter(stderr())
    _say_host(reporter)
    scores = {} if data is None else {model: _score(model, data, reporter) for model in models}
    images = None if data is None else list_images(data)[:MAX_IMAGES]
    jobs = [
        TimingJob(model, count, min_seconds, min_runs, images=images)
        for model in models
        for count in threads
    ]
    rows = [
        (str(job.model), time_alone(job), scores.get(job.model))
        for job in reporter.track(jobs, "bench", total=len(jobs))
    ]
    if as_json:
        print_json(_document(rows))
    else:
        stdout().print(bench_table(rows, [Path(name).stat().st_size for name, _, _ in rows]))


def _score(model: Path, data: Path, reporter: Reporter) -> Evaluation:
    with Model(model) as loaded:
        if not loaded.is_classifier:
            raise InputError(
                "it scores no classes: its outputs are "
                + ", ".join(f"{each.name} {each}" for each in loaded.io.outputs),
                where=model,
                remedy="leave --data out to time it; what its outputs are worth is for your own "
                "metric, over ghostedge_runtime.Model(path).values(image)",
            )
        labels = None if loaded.metadata is None else loaded.metadata.labels
        images = list_labelled(data, labels, loaded.num_classes)
        with reporter.counted(f"score {model.name}", total=len(images.paths)) as count:
            return evaluate(loaded, images, progress=count)


def _say_host(reporter: Reporter) -> None:
    host = host_facts()
    name = host.board or host.cpu or host.machine
    reporter.note(f"{name}, {host.cores} cores, {host.os}, {host.kernel}")


def _document(rows: list[Row]) -> dict[str, Any]:
    return {
        "host": asdict(host_facts()),
        "results": [
            {
                "model": name,
                "bytes": Path(name).stat().st_size,
                "benchmark": {k: v for k, v in timed.to_dict().items() if k != "host"},
                "evaluation": None if evaluation is None else evaluation.to_dict(),
            }
            for name, timed, evaluation in rows
        ],
    }
