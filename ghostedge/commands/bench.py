"""``ghostedge bench``: how fast, how small, how right?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ghostedge.commands._common import PATH, integers, json_option, print_json, stderr, stdout
from ghostedge.console import ConsoleReporter, Reporter
from ghostedge.tables import bench_table
from ghostedge_runtime import Benchmark, Evaluation, Model, benchmark, evaluate, host_facts
from ghostedge_runtime.images import list_images

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
    --data the timed inputs are real images, and the very same files are scored on them.
    """
    reporter = ConsoleReporter(stderr())
    _say_host(reporter)
    jobs = [(model, count) for model in models for count in threads]
    scores: dict[Path, Evaluation] = {}
    rows: list[Row] = []
    for model, count in reporter.track(jobs, "bench", total=len(jobs)):
        with Model(model, threads=count) as loaded:
            images = None if data is None else list_images(data)
            timed = benchmark(loaded, min_seconds=min_seconds, min_runs=min_runs, images=images)
            if data is not None and model not in scores:
                scores[model] = evaluate(loaded, data)
        rows.append((str(model), timed, scores.get(model)))
    if as_json:
        print_json(_document(rows))
    else:
        stdout().print(bench_table(rows, [Path(name).stat().st_size for name, _, _ in rows]))


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
