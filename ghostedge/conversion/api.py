"""``ghostedge.convert``: the command of the same name, called from Python."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch

from ghostedge.console import Reporter, SilentReporter
from ghostedge.conversion.options import (
    BiasCorrection,
    ConvertOptions,
    OutputType,
    PreprocessingOverrides,
    RangeMethod,
    Rounding,
    Task,
    artefact_name,
    default_output,
)
from ghostedge.conversion.pipeline import run
from ghostedge.records.manifest import Manifest
from ghostedge_convert.sources.module import LoadedModule, load_module
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import Precision

StrPath = str | PathLike[str]


def convert(
    model: StrPath | torch.nn.Module,
    example_input: torch.Tensor | Sequence[int] | None = None,
    *,
    name: str | None = None,
    output: StrPath | None = None,
    int8: bool = False,
    precision: Sequence[Precision] = ConvertOptions.precision,
    calib: StrPath | None = None,
    calib_images: int = ConvertOptions.calib_images,
    ranges: RangeMethod = ConvertOptions.ranges,
    equalize: bool = ConvertOptions.equalize,
    bias_correction: BiasCorrection = ConvertOptions.bias_correction,
    rounding: Rounding = ConvertOptions.rounding,
    per_channel: bool = ConvertOptions.per_channel,
    output_type: OutputType = ConvertOptions.output_type,
    max_drop: float | None = ConvertOptions.max_drop,
    min_agreement: float | None = ConvertOptions.min_agreement,
    guard_minutes: float = ConvertOptions.guard_minutes,
    eval: StrPath | None = None,  # noqa: A002 - the command line's word
    skip_bad_images: bool = ConvertOptions.skip_bad_images,
    ema: bool = False,
    key_prefix: str | None = None,
    arch: str | None = None,
    width: float | None = None,
    num_classes: int | None = None,
    labels: StrPath | None = None,
    task: Task | None = ConvertOptions.task,
    input_size: tuple[int, int] | None = None,
    interpolation: str | None = None,
    crop_pct: float | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    batch: int = 1,
    threads: int = 1,
    requantize: bool = ConvertOptions.requantize,
    unsafe_pickle: bool = ConvertOptions.unsafe_pickle,
    factory: str | None = None,
    factory_args: str | None = None,
    custom_objects: StrPath | None = None,
    output_names: Sequence[str] | None = None,
    reporter: Reporter | None = None,
) -> Manifest:
    """Convert a trained GhostNet to ONNX and TFLite, float and, with ``int8``, quantized.

    Args:
        model: Checkpoint file: ``.pt``, ``.pth``, ``.pth.tar`` or ``.safetensors``; or
            a module in memory; or a TorchScript archive, a torch.export program, a float
            ``.onnx``, ``hf-hub:owner/name``; or an ``.onnx`` that another tool quantized in the QDQ
            format, which is lowered to int8 TFLite as it is. See ``docs/inputs.md``.
        example_input: Of a module in memory: a float tensor (N, C, H, W) that it takes, or that
            shape. Its height and width are the files'.
        name: What the files are called; MODEL's own name when None.
        output: Folder for the artefacts; ``./NAME_ghostedge`` when None. It appears when all is
            done, and replaces an earlier conversion's.
        int8: Also write int8 files; needs ``calib``. The same as ``"int8"`` in ``precision``.
        precision: Some of ``"float32"`` (always made: everything else is compared with it),
            ``"float16"`` and ``"dynamic"`` (weights stored as float16, as int8; computed in
            float32) and ``"int8"``.
        calib: Folder of images, at any depth, that set the quantization ranges.
        calib_images: How many of them to use at most, spread evenly.
        ranges: How activation ranges are chosen: ``"minmax"``, ``"percentile"``, ``"mse"``,
            ``"entropy"``, or ``"auto"``, per tensor the one of least squared error.
        equalize: Rescale channels first, so that none is lost beside a larger one; the float
            function stays the same.
        bias_correction: Take each layer's mean error out of its bias: ``"none"``, ``"fast"``
            or ``"full"``.
        rounding: Weights to the ``"nearest"`` step, or ``"adaptive"``: to the one that keeps
            the layer's output.
        per_channel: A weight scale for every output channel; False: one per weight tensor.
        output_type: Output of the int8 files: ``"float32"`` logits, or ``"int8"``.
        max_drop: Points of top-1 accuracy that int8 may lose on ``eval``; layers stay float until
            it does not lose more.
        min_agreement: Percent of the images (``eval``'s, else ``calib``'s) on which int8 is to
            keep the float network's top-1, likewise.
        guard_minutes: How long the search for those layers may take.
        eval: Folder of labelled images, a folder per class, to score every artefact on.
        skip_bad_images: Go on without the images of ``calib`` and ``eval`` that cannot be decoded,
            and name them in the manifest, instead of refusing the folder.
        ema: Prefer the averaged weights of a checkpoint that holds both.
        key_prefix: Of a checkpoint that holds several networks: what the wanted one's keys begin
            with.
        arch: Architecture, where the weights' shapes are not to decide.
        width: Channel multiplier, likewise.
        num_classes: Number of classes, likewise.
        labels: File of the class names: text with a name a line, JSON or YAML (see
            ``docs/images.md``); overrides config.json's.
        task: ``"classify"`` where the output is class scores, one number that parts two classes
            among them; ``"regress"`` where it is anything else, whatever names and shape say.
        input_size: Height and width in pixels; overrides config.json's, as the next four do.
        interpolation: Filter of the resize.
        crop_pct: Share of the resized image that the crop keeps.
        mean: Per channel, on the [0, 1] scale.
        std: Per channel, on the [0, 1] scale.
        batch: Static batch size of the files.
        threads: Threads of one inference when the files are timed.
        unsafe_pickle: Of a checkpoint that runs code when it is loaded: let it, in a confined
            process without network or write access, and take the weights (Linux).
        requantize: Of an ``.onnx``: round what TFLite's int8 cannot hold, and say what that cost,
            instead of refusing it.
        factory: ``package.module:function`` or ``file.py:function`` that makes the network; its
            code runs. ``model`` is the weights, or ``"-"`` where the function loads them.
        factory_args: JSON for that call: an object of keyword arguments, or an array.
        custom_objects: Python file that defines a Keras model's own classes; its code runs.
        output_names: What the outputs are called, in the order in which the network returns them,
            instead of a dict's keys, or ``logits``, or ``output_0``, ``output_1``, ….
        reporter: Who is told of the progress; nobody when None.

    Returns:
        What was written, checked and measured. ``Manifest.missed`` names the budgets that were
        not kept, ``Manifest.unscored`` what could not be checked, scored or timed.

    Raises:
        InputError: The checkpoint, the images or the arguments cannot be used; nothing is written.
    """
    module = _module(model, example_input)
    path = Path(type(model).__name__) if isinstance(model, torch.nn.Module) else Path(model)
    named = name or artefact_name(path, factory)
    options = ConvertOptions(
        model=path,
        output=default_output(named) if output is None else Path(output),
        int8=int8,
        precision=tuple(precision),
        calib=None if calib is None else Path(calib),
        calib_images=calib_images,
        ranges=ranges,
        equalize=equalize,
        bias_correction=bias_correction,
        rounding=rounding,
        per_channel=per_channel,
        output_type=output_type,
        max_drop=max_drop,
        min_agreement=min_agreement,
        guard_minutes=guard_minutes,
        eval=None if eval is None else Path(eval),
        skip_bad_images=skip_bad_images,
        ema=ema,
        key_prefix=key_prefix,
        arch=arch,
        width=width,
        num_classes=num_classes,
        labels=None if labels is None else Path(labels),
        task=task,
        preprocessing=PreprocessingOverrides(
            input_size=input_size,
            interpolation=interpolation,
            crop_pct=crop_pct,
            mean=None if mean is None else tuple(mean),
            std=None if std is None else tuple(std),
        ),
        batch=batch,
        threads=threads,
        requantize=requantize,
        unsafe_pickle=unsafe_pickle,
        name=name,
        factory=factory,
        factory_args=factory_args,
        custom_objects=None if custom_objects is None else Path(custom_objects),
        output_names=None if output_names is None else tuple(output_names),
    )
    return run(options, reporter or SilentReporter(), module)


def _module(
    model: StrPath | torch.nn.Module, example_input: torch.Tensor | Sequence[int] | None
) -> LoadedModule | None:
    """The module in memory, None where the model is a path.

    Raises:
        InputError: The one came without the other, or one is not what it should be.
    """
    if isinstance(model, (str, PathLike)):
        if example_input is None:
            return None
        raise InputError(
            "an example goes with a module in memory, and this is a path",
            where="example_input",
            remedy="leave it out; input_size sets the size",
        )
    if example_input is None and isinstance(model, torch.nn.Module):
        raise InputError(
            "a module in memory needs an example of its input",
            where="example_input",
            remedy="pass a float tensor that it takes, or its shape: (1, 3, 224, 224)",
        )
    return load_module(model, () if example_input is None else example_input)
