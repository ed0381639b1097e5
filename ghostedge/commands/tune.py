"""``ghostedge tune``: the fastest files for a machine, within what accuracy allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ghostedge.commands._common import (
    PATH,
    integers,
    json_option,
    print_json,
    require_convert,
    stderr,
    stdout,
    words,
)
from ghostedge.console import ConsoleReporter
from ghostedge.records.manifest import Manifest
from ghostedge.records.tuning import TuningReport
from ghostedge.show.tuning_tables import closing_sentences, tuning_tables
from ghostedge_runtime.errors import BudgetMissedError


@click.command("tune")
@click.argument("folder", type=PATH, metavar="OUT")
@click.option(
    "--device",
    default="local",
    show_default=True,
    metavar="ssh://[USER@]HOST[:PORT]",
    help="Measure there, not here, as `ghostedge bench --device` does.",
)
@click.option(
    "--max-drop",
    type=float,
    metavar="POINTS",
    help="Top-1 accuracy that a file may lose against float on the labelled images.",
)
@click.option(
    "--min-agreement",
    type=float,
    metavar="PERCENT",
    help="Share of the images on which a file is to keep the float network's top-1.",
)
@click.option("--max-mb", type=float, metavar="MB", help="Largest size of a file.")
@click.option(
    "--eval",
    type=PATH,
    help="Labelled images, a folder per class. [default: the conversion's, else its --calib, which "
    "tells agreement alone]",
)
@click.option(
    "--calib", type=PATH, help="Where the conversion's calibration images are, if they moved."
)
@click.option(
    "--minutes",
    type=float,
    default=10.0,
    show_default=True,
    help="How long measuring may take. A run that ended early goes on when given again.",
)
@click.option(
    "--threads",
    type=integers,
    metavar="N,N,…",
    default="1",
    show_default=True,
    help="Search with the first number, then try the others on what was chosen.",
)
@click.option(
    "--format",
    type=words,
    metavar="LIST",
    help="Any of tflite,onnx. [default: what the conversion has in float32 and int8]",
)
@click.option(
    "--recipe", type=PATH, metavar="FILE", help="Write the files that FILE says; measure nothing."
)
@json_option
def command(
    *,
    folder: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the fastest mixture of float and int8 layers for a machine, by measuring.

    OUT is the folder that `ghostedge convert … --int8 -o OUT` wrote. Which kernels are fast differs
    by processor: parts of the network are tried in float and in int8, whole files are timed in
    turn, and a choice is kept only where it is surely faster. Writes NAME_tuned.tflite and .onnx
    and tuning.json, which writes the same files again without measuring.

    \b
    ghostedge tune out/
    ghostedge tune out/ --device ssh://pi@raspberrypi.local --max-drop 0.3 --eval labelled/
    ghostedge tune out/ --min-agreement 99 --max-mb 4 --minutes 20
    ghostedge tune out/ --recipe tuning.json
    """  # noqa: D301 - click takes the control character for "do not rewrap"
    require_convert("tuning")
    from ghostedge.tuning.options import TuneOptions
    from ghostedge.tuning.run import tune

    manifest = tune(TuneOptions(folder, **options), ConsoleReporter(stderr()))
    _show(manifest, folder, as_json=as_json)


def _show(manifest: Manifest, folder: Path, *, as_json: bool) -> None:
    """The document or the tables; then, where a budget is missed, which.

    Raises:
        BudgetMissedError: No choice keeps it.
    """
    report = manifest.tuning
    if report is None:
        raise ValueError("tune left no report")
    if as_json:
        print_json(manifest.to_dict()["tuning"])
    else:
        print_tuning(report)
        stdout().say(f"written to {folder}/")
    if report.missed:
        raise BudgetMissedError("; ".join(report.missed), where=folder)


def print_tuning(report: TuningReport) -> None:
    """The table of each file, and how it stands."""
    for table in tuning_tables(report):
        stdout().print(table)
    for sentence in closing_sentences(report):
        stdout().say(sentence)
