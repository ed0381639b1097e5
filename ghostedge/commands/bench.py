"""``ghostedge bench``: how fast, how small, how right, on which machine?"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import click

from ghostedge.commands._common import (
    PATH,
    integers,
    json_option,
    print_json,
    some_of,
    stderr,
    stdout,
    words,
)
from ghostedge.console import ConsoleReporter, Reporter
from ghostedge.devices import DevicesFailedError, run_on
from ghostedge.records.database import append, prepare
from ghostedge.records.output import check_file, write_file
from ghostedge.show.bench_tables import bench_tables, error_lines, mark_lines, note_lines
from ghostedge_runtime.bench.inference import PRESETS, preset_settings
from ghostedge_runtime.bench.job import Variants, make_job
from ghostedge_runtime.bench.run import run_bench
from ghostedge_runtime.corruptions import CORRUPTIONS, chosen_corruptions
from ghostedge_runtime.errors import BudgetMissedError, InputError, ModelFileError
from ghostedge_runtime.folders import list_images
from ghostedge_runtime.formats.table import ENGINES, PrecisionMode
from ghostedge_runtime.image_check import bad_lines, check_images
from ghostedge_runtime.record import (
    CORRUPTION_IMAGES,
    BenchJob,
    BenchRun,
    document,
)

_PRECISION_MODES: tuple[PrecisionMode, ...] = get_args(PrecisionMode)


@click.command("bench")
@click.argument("models", type=PATH, nargs=-1, required=True, metavar="MODEL...")
@click.option("--data", type=PATH, help="Labelled images, a folder per class: score them as well.")
@click.option(
    "--skip-bad-images",
    is_flag=True,
    help="Decode all images of --data first and go on without those that cannot be. Otherwise "
    "they are an error.",
)
@click.option(
    "--corruptions",
    type=words,
    metavar="NAME,…",
    help="Score on --data's images made worse, too, each way at five strengths: all, or any of "
    f"{', '.join(CORRUPTIONS)}.",
)
@click.option(
    "--corruption-images",
    type=click.IntRange(1),
    default=CORRUPTION_IMAGES,
    show_default=True,
    help="Use at most this many for --corruptions, spread over the classes.",
)
@click.option(
    "--threads", type=integers, metavar="N,N,…", default="1", show_default=True, help="E.g. 1,2,4."
)
@click.option(
    "--backend",
    "backends",
    type=some_of(tuple(ENGINES)),
    metavar="NAME,…",
    help=f"Any of {', '.join(ENGINES)}. litert-reference is LiteRT's plain kernels. Default: what "
    "fits each file.",
)
@click.option(
    "--precision-mode",
    "precision_modes",
    type=some_of(_PRECISION_MODES),
    metavar="MODE,…",
    default="default",
    help="default, fp16: compute float .tflite files in half precision where the CPU can.",
)
@click.option(
    "--preset",
    type=click.Choice(sorted(PRESETS)),
    help="quick, or mlperf-mobile: at least 1,024 runs and 60 seconds of each.",
)
@click.option("--min-seconds", type=click.FloatRange(0), help="Of counted runs. [default: 3]")
@click.option("--min-runs", type=click.IntRange(1), help="Counted runs. [default: 100]")
@click.option(
    "--max-warmup-seconds", type=click.FloatRange(0), help="Until steady, at most. [default: 10]"
)
@click.option("--cpus", type=integers, metavar="N,N,…", help="Pin every model to these CPUs.")
@click.option("--per-op", is_flag=True, help="Time every operator by itself, too.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="ssh://[USER@]HOST[:PORT]",
    help="Measure there, not here; several times for several devices. `local` is this machine; "
    "?python=PATH behind it names a Python there.",
)
@click.option("-o", "--output", type=PATH, help="Write the measurement to this JSON file.")
@click.option("--db", type=PATH, help="Append it to this database, for `ghostedge compare`.")
@click.option("--strict", is_flag=True, help="Exit with 3 where a run throttled or drifted.")
@json_option
def command(
    *,
    models: tuple[Path, ...],
    data: Path | None,
    skip_bad_images: bool,
    corruptions: tuple[str, ...] | None,
    corruption_images: int,
    threads: tuple[int, ...],
    backends: tuple[str, ...] | None,
    precision_modes: tuple[PrecisionMode, ...],
    preset: str | None,
    min_seconds: float | None,
    min_runs: int | None,
    max_warmup_seconds: float | None,
    cpus: tuple[int, ...] | None,
    per_op: bool,
    devices: tuple[str, ...],
    output: Path | None,
    db: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Time each MODEL (.tflite or .onnx), side by side.

    The models take turns, round by round, so that whatever slows the machine slows them alike;
    each in a process of its own, after a warm-up until its times are steady. Figures carry 95 %
    intervals. The machine is watched meanwhile: a run that throttled or drifted is marked. With
    --data the inputs are real images, and the very same files are scored on them.
    """
    reporter = ConsoleReporter(stderr())
    worse = _chosen_corruptions(corruptions, data)
    skipped = () if data is None else _bad_images(data, reporter, skip=skip_bad_images)
    job = make_job(
        models,
        Variants(threads, backends, precision_modes),
        settings=preset_settings(
            preset,
            min_seconds=min_seconds,
            min_runs=min_runs,
            max_warmup_seconds=max_warmup_seconds,
            cpus=cpus,
        ),
        data=data,
        skipped=skipped,
    )
    job = replace(
        job,
        corruptions=worse,
        corruption_images=corruption_images,
        per_op=per_op,
        command=("ghostedge", *sys.argv[1:]),
    )
    _check_targets(output, db)
    runs, failed = _measure(job, devices, reporter)
    try:
        _keep(runs, output, db)
    finally:  # what cannot be kept is to be seen at least
        if runs:
            _show(runs, as_json=as_json)
    if failed is not None:
        raise failed
    _refuse_failed(runs)
    if strict:
        _refuse_doubtful(runs)


def _chosen_corruptions(named: Sequence[str] | None, data: Path | None) -> tuple[str, ...]:
    """The corruptions of these names.

    Raises:
        InputError: One is unknown, or there are no images to corrupt.
    """
    if named is None:
        return ()
    if data is None:
        raise InputError(
            "there are no labelled images to corrupt",
            where="--corruptions",
            remedy="pass --data FOLDER, a folder per class",
        )
    return chosen_corruptions(named)


def _bad_images(data: Path, reporter: Reporter, *, skip: bool) -> tuple[Path, ...]:
    """The images to leave out.

    Raises:
        ImageError: There are some, and they are not to be left out.
    """
    images = list_images(data)
    with reporter.counted("look at images", len(images)) as progress:
        checked = check_images(images, decode_all=skip, progress=progress)
    if not skip:
        checked.refuse(data)
    if checked.bad:
        reporter.note(f"{len(checked.bad):,} of {checked.count:,} images left out:")
        for line in bad_lines(checked.bad.values()):
            reporter.note(f"  {line}")
    return tuple(checked.bad)


def _check_targets(output: Path | None, db: Path | None) -> None:
    """Refuse what could not be kept, before anything is measured."""
    if output is not None:
        check_file(output)
    if db is not None:
        prepare(db)


def _measure(
    job: BenchJob, devices: Sequence[str], reporter: Reporter
) -> tuple[tuple[BenchRun, ...], DevicesFailedError | None]:
    """The runs, and why some devices have none: what the others measured is shown all the same."""
    if devices:
        try:
            return run_on(devices, job, reporter), None
        except DevicesFailedError as error:
            return error.runs, error
    with reporter.shares("bench") as progress:
        return (run_bench(job, progress=progress),), None


def _keep(runs: Sequence[BenchRun], output: Path | None, db: Path | None) -> None:
    if output is not None and runs:
        write_file(output, json.dumps(document(runs)).encode())
    if db is not None:
        append(db, runs)


def _show(runs: Sequence[BenchRun], *, as_json: bool) -> None:
    """The figures on stdout, what makes them doubtful on stderr."""
    if as_json:
        print_json(document(runs))
    else:
        for table in bench_tables(runs):
            stdout().print(table)
    for line in (*mark_lines(runs), *note_lines(runs)):
        stderr().say(f"! {line}")


def _refuse_failed(runs: Sequence[BenchRun]) -> None:
    """Name the cases that have no figures, after the others' were shown and kept.

    Raises:
        ModelFileError: There are some.
    """
    failed = list(error_lines(runs))
    if failed:
        raise ModelFileError(
            f"{len(failed)} of {sum(len(run.results) for run in runs)} cases could not run:\n"
            + "\n".join(failed)
        )


def _refuse_doubtful(runs: Sequence[BenchRun]) -> None:
    """Keep --strict's promise.

    Raises:
        BudgetMissedError: A mark says that the figures do not hold.
    """
    doubtful = [mark.text for run in runs for mark in run.marks if mark.fails_strict]
    if doubtful:
        raise BudgetMissedError(
            "the figures above do not hold: " + "; ".join(doubtful),
            where="--strict",
            remedy="cool the machine, let nothing else run, and measure again",
        )
