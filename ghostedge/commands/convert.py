"""``ghostedge convert``: the main job."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, get_args

import click

from ghostedge.commands._common import (
    PATH,
    floats,
    json_option,
    print_json,
    say_unsafe,
    size,
    stderr,
    stdout,
    words,
)
from ghostedge.console import ConsoleReporter
from ghostedge.conversion.options import (
    BiasCorrection,
    ConvertOptions,
    OutputType,
    RangeMethod,
    Rounding,
    Task,
)
from ghostedge.show.tables import conversion_table, guard_tables
from ghostedge_runtime.errors import BudgetMissedError, InputError, MissingDependencyError
from ghostedge_runtime.metadata import Interpolation

_NEEDED = ("torch", "onnx", "onnxruntime", "ghostedge_convert", "ghostedge_quantize")


@click.command("convert")
@click.argument("model", type=PATH)
@click.option("-o", "--output", type=PATH, help="Folder to write. [default: ./NAME_ghostedge]")
@click.option("--int8", is_flag=True, help="Also write int8 ONNX and TFLite; needs --calib.")
@click.option(
    "--precision",
    type=words,
    default=",".join(ConvertOptions.precision),
    show_default=True,
    metavar="LIST",
    help="Any of float32,float16,dynamic,int8. float16 and dynamic (int8) store the weights so and "
    "compute in float32; int8 needs --calib. float32 is always made: all others are compared "
    "with it.",
)
@click.option("--calib", type=PATH, help="Folder of typical images that set the int8 ranges.")
@click.option(
    "--calib-images",
    type=int,
    default=ConvertOptions.calib_images,
    show_default=True,
    help="Use at most this many.",
)
@click.option(
    "--eval", "eval_", type=PATH, help="Labelled images, a folder per class, to score on."
)
@click.option(
    "--skip-bad-images",
    is_flag=True,
    help="Decode all images of --calib and --eval first and go on without those that cannot be; "
    "the manifest names them. Otherwise they are an error.",
)
@click.option(
    "--ranges",
    type=click.Choice(get_args(RangeMethod)),
    default=ConvertOptions.ranges,
    show_default=True,
    help="How int8 activation ranges are chosen; auto: per tensor the one of least squared error.",
)
@click.option(
    "--no-equalize",
    is_flag=True,
    help="Skip cross-layer equalization, which evens out channels before int8.",
)
@click.option(
    "--bias-correction",
    type=click.Choice(get_args(BiasCorrection)),
    default=ConvertOptions.bias_correction,
    show_default=True,
    help="Take each int8 layer's mean error out of its bias; full: layer after layer, each "
    "with those before it already quantized.",
)
@click.option(
    "--rounding",
    type=click.Choice(get_args(Rounding)),
    default=ConvertOptions.rounding,
    show_default=True,
    help="How int8 weights are rounded; adaptive: learned (AdaRound), takes minutes.",
)
@click.option(
    "--per-tensor",
    is_flag=True,
    help="One int8 scale per weight tensor instead of one per output channel.",
)
@click.option(
    "--output-type",
    type=click.Choice(get_args(OutputType)),
    default=ConvertOptions.output_type,
    show_default=True,
    help="What the int8 files put out.",
)
@click.option(
    "--max-drop",
    type=float,
    metavar="POINTS",
    help="Top-1 accuracy that int8 may lose on --eval. Where it loses more, the layers that cost "
    "most stay float, as few and cheap as will do; exit status 3 where none will.",
)
@click.option(
    "--min-agreement",
    type=float,
    metavar="PERCENT",
    help="Without labels: share of the images (--eval's, else --calib's) on which int8 is to keep "
    "the float network's top-1; otherwise as --max-drop.",
)
@click.option(
    "--guard-minutes",
    type=float,
    default=ConvertOptions.guard_minutes,
    show_default=True,
    help="How long the search for those layers may take. One that ran out of time, or was "
    "interrupted, goes on when the same command is given again.",
)
@click.option("--ema", is_flag=True, help="Prefer the averaged (EMA) weights.")
@click.option(
    "--key-prefix",
    metavar="PREFIX",
    help="Of a checkpoint that holds several networks: what the wanted one's keys begin with, e.g. "
    "teacher. [default: the student of a pair, else the only one]",
)
@click.option("--arch", help="Architecture, e.g. ghostnet_100. [default: from the weights]")
@click.option("--width", type=float, help="Channel multiplier. [default: from the weights]")
@click.option("--num-classes", type=int, help="Number of classes. [default: from the weights]")
@click.option("--labels", type=PATH, help="Class names: text, a name a line, JSON or YAML.")
@click.option(
    "--task",
    type=click.Choice(get_args(Task)),
    help="classify: MODEL's output is class scores, or one number that parts two classes. regress: "
    "numbers of any other meaning (landmarks, boxes, embeddings, an age). [default: from the "
    "labels, --eval, the output's last operator and names; printed with its reason]",
)
@click.option("--input-size", type=size, metavar="SIZE", help="Input side, or HEIGHTxWIDTH.")
@click.option(
    "--interpolation",
    type=click.Choice(get_args(Interpolation)),
    help="Filter of the resize.",
)
@click.option("--crop-pct", type=float, help="Share of the resized image that the crop keeps.")
@click.option("--mean", type=floats, metavar="R,G,B", help="Per channel, on the 0..1 scale.")
@click.option("--std", type=floats, metavar="R,G,B", help="Per channel, on the 0..1 scale.")
@click.option("--batch", type=int, default=1, show_default=True, help="Static batch size.")
@click.option(
    "--threads", type=int, default=1, show_default=True, help="Of one inference, when timing."
)
@click.option(
    "--requantize",
    is_flag=True,
    help="Of an .onnx: round what TFLite's int8 cannot hold, and say what that cost, instead of "
    "refusing it.",
)
@click.option("--name", help="What the files are called. [default: MODEL's name]")
@click.option(
    "--factory",
    metavar="MODULE:FUNCTION",
    help="Make the network by calling package.module:function or file.py:function, whose code "
    "runs, and load the weights MODEL into it; MODEL is - where the function loads them.",
)
@click.option(
    "--factory-args",
    metavar="JSON",
    help="Arguments of that call: an object of keyword arguments or an array.",
)
@click.option(
    "--custom-objects",
    type=PATH,
    metavar="FILE.py",
    help="Python file that defines the classes of a Keras model that are not Keras's own; its code "
    "runs.",
)
@click.option(
    "--output-names",
    type=words,
    metavar="NAME,NAME,…",
    help="What the outputs are called. [default: the network's own, where it returns a dict; else "
    "logits, or output_0, output_1, …]",
)
@click.option(
    "--unsafe-pickle",
    is_flag=True,
    help="Where loading MODEL runs code from the file: let it, in a confined process that has no "
    "network and writes no file, and take the weights. Linux only.",
)
@json_option
def command(
    *,
    model: Path,
    eval_: Path | None,
    no_equalize: bool,
    per_tensor: bool,
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
    ghostedge convert model.pt --precision float16,dynamic
    ghostedge convert weights.pt --factory net.py:make --factory-args '{"width": 0.5}'
    ghostedge convert hf-hub:owner/name --input-size 224
    ghostedge convert model_qdq.onnx --eval labelled/
    """  # noqa: D301 - click takes the control character for "do not rewrap"
    _require_extra()
    from ghostedge.conversion.api import convert

    if options["unsafe_pickle"]:
        say_unsafe()
    manifest = convert(
        model,
        eval=eval_,
        equalize=not no_equalize,
        per_channel=not per_tensor,
        reporter=ConsoleReporter(stderr()),
        **options,
    )
    if as_json:
        print_json(manifest.to_dict())
    else:
        stdout().print(conversion_table(manifest))
        for table in guard_tables(manifest.guard) if manifest.guard else ():
            stdout().print(table)
        stdout().say(f"written to {manifest.folder}/")
    if manifest.unscored:
        raise InputError(
            "the files are written, but they could not all be checked, scored and timed:\n  "
            + "\n  ".join(manifest.unscored),
            where=manifest.folder,
            remedy="see to what is named; `ghostedge bench --data` scores the files as they are",
        )
    if manifest.missed:
        raise BudgetMissedError("; ".join(manifest.missed), where=manifest.folder)


def _require_extra() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"converting needs {', '.join(missing)}, which this install does not have",
            remedy="pip install 'ghostedge[convert]'",
        )
