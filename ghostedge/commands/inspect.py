"""``ghostedge inspect``: what is in this file, and where does its quantization hurt?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ghostedge.commands._common import (
    PATH,
    F,
    click_option,
    json_option,
    print_json,
    say_unsafe,
    stderr,
    stdout,
)
from ghostedge.console import ConsoleReporter
from ghostedge.conversion.option_fields import fields_of
from ghostedge.conversion.source_options import PreprocessingOptions
from ghostedge.formats.format import Building, Inspection
from ghostedge.formats.reading import inspect_file, inspect_with_images
from ghostedge.records.output import check_file, write_file
from ghostedge.show.image_fit import image_fit_tables
from ghostedge.show.tables import inspection_tables
from ghostedge_runtime.errors import InputError, MissingDependencyError
from ghostedge_runtime.metadata import ColorOrder

_EXTRAS = {"matplotlib": "report"}
_PREPROCESSING = [
    option
    for option in fields_of(PreprocessingOptions)
    if option.name in ("input_size", "mean", "std", "color_order")
]


def _preprocessing_options(function: F) -> F:
    """Give the command the flags of `ghostedge convert` that images are held against weights by."""
    for option in reversed(_PREPROCESSING):
        function = click_option(option)(function)
    return function


@click.command("inspect")
@click.argument("model", type=PATH)
@click.option("--ema", is_flag=True, help="Of a checkpoint that holds both, the averaged weights.")
@click.option(
    "--key-prefix",
    metavar="PREFIX",
    help="Of a checkpoint that holds several networks: what the wanted one's keys begin with.",
)
@click.option("--arch", help="Of a checkpoint: its architecture. [default: from the weights]")
@click.option(
    "--unsafe-pickle",
    is_flag=True,
    help="Where loading MODEL runs code from the file: let it, in a confined process that has no "
    "network and writes no file, and take the weights. Linux only.",
)
@click.option(
    "--quantization",
    is_flag=True,
    help="Measure a QDQ .onnx layer by layer: signal to noise, effect on the output, the worst "
    "three.",
)
@click.option(
    "--calib",
    type=PATH,
    help="Folder of typical images: hold them against what the network remembers of its training, "
    "or measure --quantization on them.",
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Measure on at most this many.",
)
@click.option(
    "--float",
    "float_path",
    type=PATH,
    help="Float .onnx of the same network, to measure its weights against. [default: NAME.onnx "
    "beside NAME_int8.onnx]",
)
@click.option("-o", "--plot", type=PATH, help="Also draw --quantization as a PNG.")
@click.option("--factory", metavar="FILE.py:FUNCTION", help="As for `ghostedge convert`.")
@click.option("--factory-args", metavar="JSON", help="As for `ghostedge convert`.")
@_preprocessing_options
@json_option
def command(
    *,
    model: Path,
    ema: bool,
    key_prefix: str | None,
    arch: str | None,
    unsafe_pickle: bool,
    quantization: bool,
    calib: Path | None,
    images: int,
    float_path: Path | None,
    plot: Path | None,
    factory: str | None,
    factory_args: str | None,
    input_size: tuple[int, int] | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    color_order: ColorOrder | None,
    as_json: bool,
) -> None:
    """Show what is in MODEL: a checkpoint, an .onnx or a .tflite.

    Architecture, shapes, operators, multiply-accumulates, bytes, quantization and metadata.
    Reading a checkpoint or an .onnx needs the convert extra, a .tflite does not.

    With --calib also whether mean, std and order of colours are those that the weights were trained
    on, whether they were trained as this network, and whether the images are like training's. MODEL
    may then be anything that `ghostedge convert` takes.

    \b
    ghostedge inspect model_int8.tflite
    ghostedge inspect model.pt --calib photos/
    ghostedge inspect --quantization model_int8.onnx --calib photos/ --plot layers.png
    """  # noqa: D301 - click takes the control character for "do not rewrap"
    if quantization:
        _quantization(model, calib, images, float_path, plot, as_json=as_json)
        return
    for value, flag in ((float_path, "--float"), (plot, "--plot")):
        if value is not None:
            raise click.UsageError(f"{flag} is for --quantization, which is not given")
    if unsafe_pickle:
        say_unsafe()
    building = Building(
        ema,
        key_prefix,
        arch,
        unsafe_pickle,
        factory,
        factory_args,
        input_size=input_size,
        mean=mean,
        std=std,
        color_order=color_order,
    )
    inspection = _inspected(model, building, calib, images)
    if as_json:
        print_json(asdict(inspection))
        return
    for table in inspection_tables(inspection):
        stdout().print(table)
    for part in image_fit_tables(inspection.image_fit) if inspection.image_fit else ():
        stdout().print(part)


def _inspected(model: Path, building: Building, calib: Path | None, images: int) -> Inspection:
    if calib is not None:
        return inspect_with_images(model, building, calib, images)
    for flag in ("--factory", "--factory-args", *(option.flag for option in _PREPROCESSING)):
        if flag in building.stated():
            raise click.UsageError(f"{flag} is for --calib, which is not given")
    return inspect_file(
        model,
        ema=building.ema,
        unsafe_pickle=building.unsafe_pickle,
        key_prefix=building.key_prefix,
        arch=building.arch,
    )


def _quantization(
    model: Path,
    calib: Path | None,
    images: int,
    float_path: Path | None,
    plot: Path | None,
    *,
    as_json: bool,
) -> None:
    """Measure, print, draw; what is missing is said before anything is measured."""
    if plot is not None:
        _check_plot(plot)
    try:
        from ghostedge.layer_errors import inspect_quantization, layer_table, legend, summary_lines

        if plot is not None:
            from ghostedge.show.quantization_plot import draw_quantization
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        raise MissingDependencyError(
            f"this needs {name}, which is not installed",
            where="--plot" if name in _EXTRAS else "--quantization",
            remedy=f"pip install 'ghostedge[{_EXTRAS.get(name, 'convert')}]'",
        ) from error
    report = inspect_quantization(
        model, calib, images=images, float_path=float_path, reporter=ConsoleReporter(stderr())
    )
    if as_json:
        print_json(asdict(report))
    else:
        for line in summary_lines(report):
            stdout().say(line)
        stdout().print(layer_table(report))
        stdout().say(legend())
    if plot is not None:
        write_file(plot, draw_quantization(report))
        stderr().say(f"drawn to {plot}")


def _check_plot(plot: Path) -> None:
    if plot.suffix.lower() != ".png":
        raise InputError(
            "the plot is a PNG picture", where=plot, remedy="give a name that ends in .png"
        )
    check_file(plot)
