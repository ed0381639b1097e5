"""``ghostedge convert``: the main job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from ghostedge.commands._common import (
    PATH,
    click_option,
    json_option,
    print_json,
    require_convert,
    say_unsafe,
    stderr,
    stdout,
)
from ghostedge.commands.tune import print_tuning
from ghostedge.console import ConsoleReporter, Reporter
from ghostedge.conversion.options import OPTIONS
from ghostedge.records.manifest import Manifest
from ghostedge.show.corruption_tables import drawn_tables
from ghostedge.show.shipping import shipping_sentences
from ghostedge.show.tables import conversion_table, guard_tables
from ghostedge_runtime.errors import BudgetMissedError, InputError

F = TypeVar("F", bound=Callable[..., Any])


def _all_options(function: F) -> F:
    """Give a command a flag for each option of a conversion."""
    for option in reversed([*OPTIONS.values()]):
        function = click_option(option)(function)
    return function


@click.command("convert")
@click.argument("model", type=PATH)
@_all_options
@click.option(
    "--tune",
    "tunes",
    is_flag=True,
    help="Then find the fastest mixture of float and int8 layers for this machine, within "
    "--max-drop or --min-agreement, as `ghostedge tune` does.",
)
@json_option
def command(
    *,
    model: Path,
    tunes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Convert MODEL to ONNX and TFLite, check, score and time the results.

    MODEL is the weights of a trained GhostNet (V1, V2, V3), RepGhostNet, Ghost-ResNet or G-Ghost
    RegNet: .pt, .pth, .pth.tar, .ckpt or .safetensors. A config.json beside it (Hugging Face / timm
    convention) supplies preprocessing and labels.

    Or it is a TorchScript archive, a .pt2 of torch.export, a float .onnx, a Keras .keras, .h5 or
    SavedModel's folder (extra "keras"), or hf-hub:owner/name[@revision] (extra "hub"); with
    --factory it is the weights of a network of your own.

    Or it is an .onnx that another tool quantized in the QDQ format (ONNX Runtime, NNCF,
    PyTorch's PT2E): it is lowered to int8 TFLite with the integers it has, and compared with itself
    on the images of --eval or --calib.

    \b
    ghostedge convert model.pt
    ghostedge convert model.pt --int8 --calib photos/ --eval labelled/
    ghostedge convert model.pt --int8 --calib photos/ --eval labelled/ --max-drop 0.5
    ghostedge convert model.pt --int8 --calib photos/ --tune
    ghostedge convert model.pt --precision float16,dynamic
    ghostedge convert weights.pt --factory net.py:make --factory-args '{"width": 0.5}'
    ghostedge convert hf-hub:owner/name --input-size 224
    ghostedge convert model_qdq.onnx --eval labelled/
    """  # noqa: D301 - click takes the control character for "do not rewrap"
    require_convert("converting")
    from ghostedge.conversion.api import convert

    if options["unsafe_pickle"]:
        say_unsafe()
    if tunes and not (options["int8"] or "int8" in options["precision"]):
        raise InputError(
            "there is nothing to choose between without int8", where="--tune", remedy="add --int8"
        )
    reporter = ConsoleReporter(stderr())
    manifest = convert(model, reporter=reporter, **options)
    if not as_json:
        _print(manifest)
    if tunes and not manifest.unscored:
        manifest = _tuned(manifest, options, reporter)
        if manifest.tuning and not as_json:
            print_tuning(manifest.tuning)
    if as_json:
        print_json(manifest.to_dict())
    _refuse_unscored(manifest)
    missed = (*manifest.missed, *(manifest.tuning.missed if manifest.tuning else ()))
    if missed:
        raise BudgetMissedError("; ".join(missed), where=manifest.folder)


def _tuned(manifest: Manifest, options: Mapping[str, Any], reporter: Reporter) -> Manifest:
    """The conversion tuned for this machine, within its own budget."""
    from ghostedge.tuning.options import TuneOptions
    from ghostedge.tuning.run import tune

    budget = {name: options[name] for name in ("max_drop", "min_agreement")}
    return tune(TuneOptions(manifest.folder, **budget), reporter)


def _print(manifest: Manifest) -> None:
    """The tables, the doubts, and which file to ship."""
    stdout().print(conversion_table(manifest))
    for table in (
        *(guard_tables(manifest.guard) if manifest.guard else ()),
        *drawn_tables(manifest.measured().results),
    ):
        stdout().print(table)
    for doubt in manifest.image_fit.doubts if manifest.image_fit else ():
        stdout().say(f"! {doubt}")
    stdout().say(f"written to {manifest.folder}/")
    for sentence in shipping_sentences(manifest):
        stdout().say(sentence)


def _refuse_unscored(manifest: Manifest) -> None:
    """Name what could not be found out of the finished files.

    Raises:
        InputError: There is something.
    """
    if manifest.unscored:
        raise InputError(
            "the files are written, but they could not all be checked, scored and timed:\n  "
            + "\n  ".join(manifest.unscored),
            where=manifest.folder,
            remedy="see to what is named; `ghostedge bench --data` scores the files as they are",
        )
