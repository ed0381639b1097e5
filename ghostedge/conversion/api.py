"""``ghostedge.convert``: the command of the same name, called from Python."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from textwrap import indent, wrap
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, get_type_hints

import torch

from ghostedge.console import Reporter, SilentReporter
from ghostedge.conversion.convert import run_conversion
from ghostedge.conversion.option_fields import OptionField
from ghostedge.conversion.option_groups import BiasCorrection, OutputType, RangeMethod, Rounding
from ghostedge.conversion.options import OPTIONS, ConvertOptions
from ghostedge.conversion.source_options import Task
from ghostedge.records.manifest import Manifest
from ghostedge_convert.sources.module import LoadedModule, load_module
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import ColorOrder, Precision

if TYPE_CHECKING:
    from typing_extensions import Unpack

F = TypeVar("F", bound=Callable[..., Any])
StrPath = str | PathLike[str]


class ConvertKeywords(TypedDict, total=False):
    """The keywords of ``convert`` and their types, for type checkers.

    What each does and its default are stated in the groups of options; a test holds the
    names together.
    """

    name: str | None
    output: StrPath | None
    int8: bool
    precision: Sequence[Precision]
    format: Sequence[str]
    calib: StrPath | None
    calib_images: int
    ranges: RangeMethod
    equalize: bool
    bias_correction: BiasCorrection
    rounding: Rounding
    per_channel: bool
    output_type: OutputType
    max_drop: float | None
    min_agreement: float | None
    guard_minutes: float
    eval: StrPath | None
    corruptions: Sequence[str] | None
    corruption_images: int
    skip_bad_images: bool
    strict: bool
    ema: bool
    key_prefix: str | None
    arch: str | None
    width: float | None
    num_classes: int | None
    labels: StrPath | None
    task: Task | None
    input_size: tuple[int, int] | None
    interpolation: str | None
    crop_pct: float | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    color_order: ColorOrder | None
    batch: int
    threads: int
    requantize: bool
    unsafe_pickle: bool
    factory: str | None
    factory_args: str | None
    custom_objects: StrPath | None
    output_names: Sequence[str] | None


def _documented(function: F) -> F:
    """Give a function the signature and the documentation of the options that it takes."""
    types = get_type_hints(ConvertKeywords)
    own = inspect.signature(function)
    *first, reporter, _ = own.parameters.values()
    keywords = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=OPTIONS[name].default, annotation=kind
        )
        for name, kind in types.items()
    ]
    function.__signature__ = own.replace(parameters=[*first, *keywords, reporter])  # type: ignore[attr-defined] # what inspect reads
    words = "\n".join(_argument_words(OPTIONS[name]) for name in types)
    function.__doc__ = (function.__doc__ or "").replace("        options: As below.", words)
    return function


def _argument_words(option: OptionField) -> str:
    """An entry of the docstring's ``Args``: the option's help, its flags named as keywords."""
    text = re.sub(r" ?\[default: .*?\]", "", option.statement.python or option.statement.help)
    keywords = {flag: f"``{other.name}``" for other in OPTIONS.values() for flag in other.flags}
    text = re.sub(r"--[a-z0-9-]+", lambda flag: keywords.get(flag[0], flag[0]), text)
    first, *rest = wrap(f"{option.name}: {text}", 88)
    return "\n".join([indent(first, " " * 8), *(indent(line, " " * 12) for line in rest)])


@_documented
def convert(
    model: StrPath | torch.nn.Module,
    example_input: torch.Tensor | Sequence[int] | None = None,
    *,
    reporter: Reporter | None = None,
    **options: Unpack[ConvertKeywords],
) -> Manifest:
    """Convert a trained GhostNet to ONNX and TFLite, float and, with ``int8``, quantized.

    Args:
        model: Checkpoint file: ``.pt``, ``.pth``, ``.pth.tar`` or ``.safetensors``; or
            a module in memory; or a TorchScript archive, a torch.export program, a float
            ``.onnx``, ``hf-hub:owner/name``; or an ``.onnx`` that another tool quantized in the QDQ
            format, which is lowered to int8 TFLite as it is. See ``docs/inputs.md``.
        example_input: Of a module in memory: a float tensor (N, C, H, W) that it takes, or that
            shape. Its height and width are the files'.
        options: As below.
        reporter: Who is told of the progress; nobody when None.

    Returns:
        What was written, checked and measured. ``Manifest.missed`` names the budgets that were
        not kept, ``Manifest.unscored`` what could not be checked, scored or timed.

    Raises:
        InputError: The checkpoint, the images or the arguments cannot be used; nothing is written.
    """
    module = _module(model, example_input)
    path = Path(type(model).__name__) if isinstance(model, torch.nn.Module) else Path(model)
    return run_conversion(ConvertOptions.of(path, **options), reporter or SilentReporter(), module)


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
