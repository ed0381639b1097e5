"""``ghostedge inspect``: what is in this file?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ghostedge.commands._common import PATH, json_option, print_json, stdout
from ghostedge.inspection.files import inspect_file
from ghostedge.tables import inspection_tables


@click.command("inspect")
@click.argument("model", type=PATH)
@click.option("--ema", is_flag=True, help="Of a checkpoint that holds both, the averaged weights.")
@json_option
def command(model: Path, ema: bool, as_json: bool) -> None:
    """Show what is in MODEL: a checkpoint, an .onnx or a .tflite.

    Architecture, shapes, operators, multiply-accumulates, bytes, quantization and metadata.
    Reading a checkpoint or an .onnx needs the convert extra, a .tflite does not.
    """
    found = inspect_file(model, ema=ema)
    if as_json:
        print_json(asdict(found))
        return
    for table in inspection_tables(found):
        stdout().print(table)
