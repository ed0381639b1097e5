"""``ghostedge features``: what do the layers make of a picture, and where does int8 differ?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ghostedge.commands._common import (
    PATH,
    json_option,
    print_json,
    say_unsafe,
    size,
    stderr,
    stdout,
    words,
)
from ghostedge.console import ConsoleReporter
from ghostedge.conversion.source_options import artefact_name
from ghostedge.features.run import FeatureOptions, write_features
from ghostedge.formats.format import Building
from ghostedge.formats.reading import open_layer_reader
from ghostedge.show.tables import layer_list, report_table


@click.command("features")
@click.argument("model", type=PATH)
@click.argument("images", type=PATH, nargs=-1, metavar="[IMAGE...]")
@click.option("-o", "--output", type=PATH, help="Folder to write. [default: ./NAME_features]")
@click.option(
    "--layers",
    default="",
    metavar="PATTERN,…",
    help="Names, with * and ? if wanted, as --list prints them. [default: the last ghost module "
    "of each image size]",
)
@click.option(
    "--against",
    type=PATH,
    help="The int8 .onnx or .tflite of the same network: drawn too, and the difference.",
)
@click.option(
    "--max-channels",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Draw at most this many of a layer: those that differ most, else evenly over all.",
)
@click.option("--ema", is_flag=True, help="Of a checkpoint that holds both, the averaged weights.")
@click.option("--key-prefix", metavar="PREFIX", help="As for `ghostedge convert`.")
@click.option("--arch", help="As for `ghostedge convert`.")
@click.option("--unsafe-pickle", is_flag=True, help="As for `ghostedge convert`.")
@click.option("--factory", metavar="FILE.py:FUNCTION", help="As for `ghostedge convert`.")
@click.option("--factory-args", metavar="JSON", help="As for `ghostedge convert`.")
@click.option("--input-size", type=size, metavar="SIZE", help="As for `ghostedge convert`.")
@click.option("--list", "list_", is_flag=True, help="Print MODEL's layers, draw nothing.")
@json_option
def command(
    *,
    model: Path,
    images: tuple[Path, ...],
    output: Path | None,
    layers: str,
    against: Path | None,
    max_channels: int,
    list_: bool,
    as_json: bool,
    **building: Any,
) -> None:
    """Draw the feature maps that MODEL makes of each IMAGE, or of each image in a folder.

    MODEL is a .tflite, which needs the base install alone, an .onnx, a checkpoint or whatever else
    `ghostedge convert` takes. Of a ghost module, every primary channel stands beside the ghost
    channel made from it. The folder holds PNGs, features.json and an index.html that shows them.

    \b
    ghostedge features model.pt cat.jpg -o inside/
    ghostedge features model.pt cat.jpg --against model_int8.tflite -o inside/
    ghostedge features model_int8.tflite --list
    """  # noqa: D301 - click takes the control character for "do not rewrap"
    if building["unsafe_pickle"]:
        say_unsafe()
    if list_:
        layer_facts = list(open_layer_reader(model, Building(**building)).layers.by_name.values())
        if as_json:
            print_json([asdict(layer) for layer in layer_facts])
        else:
            stdout().print(layer_list(layer_facts))
        return
    if not images:
        raise click.UsageError("give at least one IMAGE to look at, or --list")
    options = FeatureOptions(
        model=model,
        images=images,
        output=output or _default_output(model, building["factory"]),
        layers=tuple(word for word in words(layers) if word),
        against=against,
        max_channels=max_channels,
        building=Building(**building),
    )
    report = write_features(options, ConsoleReporter(stderr()))
    if as_json:
        print_json({"folder": str(options.output), **report.to_dict()})
        return
    stdout().print(report_table(report))
    for note in report.notes:
        stdout().say(f"note: {note}")
    stdout().say(f"written to {options.output}/")


def _default_output(model: Path, factory: str | None) -> Path:
    """``./NAME_features``, NAME as the model's files are called."""
    tflite = model.suffix.lower() == ".tflite"
    return Path(f"{model.stem if tflite else artefact_name(model, factory)}_features")
