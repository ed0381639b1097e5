"""The groups of options beside MODEL's own: what is written, how it is made, checked and held.

Each field is stated once, with its flag, its help and whom it is of use to; see `option_fields`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ghostedge.conversion.option_fields import (
    FLOAT,
    ModelKind,
    Refusal,
    Scope,
    Statement,
    check_values,
    stated,
)
from ghostedge.formats.table import TARGETS
from ghostedge_runtime.corruptions import CORRUPTIONS, chosen_corruptions
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import Precision
from ghostedge_runtime.record import CORRUPTION_IMAGES

RangeMethod = Literal["auto", "minmax", "percentile", "mse", "entropy"]
BiasCorrection = Literal["none", "fast", "full"]
Rounding = Literal["nearest", "first", "adaptive"]
OutputType = Literal["float32", "int8"]

_OF_INT8 = Scope(
    ModelKind.FLOAT,
    refusal_without_int8=Refusal("it is of use only to int8", "add --int8"),
)


@dataclass(frozen=True)
class FileOptions:
    """Which files are written, and where.

    Raises:
        InputError: A precision is unknown or listed twice.
    """

    output: Path = stated(
        None, Statement("Folder to write. [default: ./NAME_ghostedge]", flag="-o/--output")
    )
    int8: bool = stated(False, Statement("Also write int8 ONNX and TFLite; needs --calib.", FLOAT))
    precision: tuple[Precision, ...] = stated(
        ("float32",),
        Statement(
            "Any of float32,float16,dynamic,int8. float16 and dynamic (int8) store the weights so "
            "and compute in float32; int8 needs --calib. float32 is always made: all others are "
            "compared with it.",
            FLOAT,
            metavar="LIST",
        ),
    )

    format: tuple[str, ...] = stated(
        ("onnx", "tflite"),
        Statement(
            f"Any of {','.join(TARGETS)}; onnx must be among them: the others are made from it and "
            "compared with it.",
            metavar="LIST",
        ),
    )

    def __post_init__(self) -> None:
        _check_list("--precision", self.precision, get_args(Precision))
        _check_list("--format", self.format, tuple(TARGETS), names_closest=True)
        if "onnx" not in self.format:
            raise InputError(
                "onnx is not among them, which the others are made from and compared with",
                where="--format",
                remedy=f"use {','.join(('onnx', *self.format))}",
            )

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """What is made, in order: float32 always, for everything else is compared with it."""
        wanted = {"float32", *self.precision} | ({"int8"} if self.int8 else set())
        return tuple(precision for precision in get_args(Precision) if precision in wanted)


def _check_list(
    flag: str, chosen: Sequence[str], choices: Sequence[str], *, names_closest: bool = False
) -> None:
    """Refuse a word that is none of the choices, or is listed twice."""
    for word in chosen:
        if word not in choices:
            close = difflib.get_close_matches(word, choices, 1) if names_closest else []
            raise InputError(
                f"there is no {word!r}{f' (closest: {close[0]})' if close else ''}",
                where=flag,
                remedy=f"use some of {', '.join(choices)}, with commas between",
            )
        if chosen.count(word) > 1:
            raise InputError(f"{word} is listed twice", where=flag, remedy="list it once")


@dataclass(frozen=True)
class CheckOptions:
    """The images that int8 is calibrated, and the files are checked and scored on; the timing.

    Raises:
        InputError: A number is below 1, a corruption is unknown, or has no images.
    """

    calib: Path | None = stated(
        None,
        Statement(
            "Folder of typical images: they set the int8 ranges, and show whether preprocessing "
            "and weights fit each other."
        ),
    )
    calib_images: int = stated(500, Statement("Use at most this many."))
    eval: Path | None = stated(None, Statement("Labelled images, a folder per class, to score on."))
    corruptions: tuple[str, ...] | None = stated(
        None,
        Statement(
            "Score on --eval's images made worse, too, each way at five strengths: all, or any of "
            f"{', '.join(CORRUPTIONS)}.",
            metavar="LIST",
        ),
    )
    corruption_images: int = stated(
        CORRUPTION_IMAGES,
        Statement("Use at most this many for --corruptions, spread over the classes."),
    )
    skip_bad_images: bool = stated(
        False,
        Statement(
            "Decode all images of --calib and --eval first and go on without those that cannot be; "
            "the manifest names them. Otherwise they are an error."
        ),
    )
    strict: bool = stated(
        False,
        Statement(
            "Exit with 3 where the images of --calib, else --eval, speak against preprocessing, "
            "network or themselves.",
            FLOAT,
            python="Count as missed what the images of --calib, else --eval, say against "
            "preprocessing, network or themselves.",
        ),
    )
    threads: int = stated(1, Statement("Of one inference, when timing.", after="batch"))

    def __post_init__(self) -> None:
        check_values(self)
        if self.corruptions is not None and self.eval is None:
            raise InputError(
                "there are no labelled images to corrupt",
                where="--corruptions",
                remedy="pass --eval FOLDER, a folder per class",
            )
        chosen_corruptions(self.corruptions or ())


@dataclass(frozen=True)
class Int8Options:
    """How int8 is made: the fields of ``ghostedge_quantize.Int8Settings``.

    The base install has no ``ghostedge_quantize``, so the defaults stand here again; a test holds
    the two together.

    Raises:
        InputError: A word is none of its choices.
    """

    ranges: RangeMethod = stated(
        "auto",
        Statement(
            "How int8 activation ranges are chosen; auto: per tensor the one of least squared "
            "error.",
            _OF_INT8,
        ),
    )
    equalize: bool = stated(
        True,
        Statement(
            "Skip cross-layer equalization, which evens out channels before int8.",
            _OF_INT8,
            flag="--no-equalize",
            python="Rescale channels first, so that none is lost beside a larger one; the float "
            "function stays the same.",
        ),
    )
    bias_correction: BiasCorrection = stated(
        "full",
        Statement(
            "Take each int8 layer's mean error out of its bias; full: layer after layer, each with "
            "those before it already quantized.",
            _OF_INT8,
        ),
    )
    rounding: Rounding = stated(
        "first",
        Statement(
            "How int8 weights are rounded; first: learned (AdaRound) in the layer that reads the "
            "image; adaptive: in all, takes minutes.",
            _OF_INT8,
        ),
    )
    per_channel: bool = stated(
        True,
        Statement(
            "One int8 scale per weight tensor instead of one per output channel.",
            _OF_INT8,
            flag="--per-tensor",
            python="An int8 weight scale for every output channel; False: one per weight tensor.",
        ),
    )
    output_type: OutputType = stated("float32", Statement("What the int8 files put out.", _OF_INT8))

    def __post_init__(self) -> None:
        check_values(self)


@dataclass(frozen=True)
class GuardOptions:
    """The budget of classes that int8 is held to, if any.

    Raises:
        InputError: There are two budgets, or a number is out of range.
    """

    max_drop: float | None = stated(
        None,
        Statement(
            "Top-1 accuracy that int8 may lose on --eval. Where it loses more, the layers that "
            "cost most stay float, as few and cheap as will do; exit status 3 where none will.",
            FLOAT,
            metavar="POINTS",
        ),
    )
    min_agreement: float | None = stated(
        None,
        Statement(
            "Without labels: share of the images (--eval's, else --calib's) on which int8 is to "
            "keep the float network's top-1; otherwise as --max-drop.",
            FLOAT,
            metavar="PERCENT",
        ),
    )
    guard_minutes: float = stated(
        10.0,
        Statement(
            "How long the search for those layers may take. One that ran out of time, or was "
            "interrupted, goes on when the same command is given again.",
            FLOAT,
        ),
    )

    def __post_init__(self) -> None:
        if not self.limits:
            return
        if len(self.limits) > 1:
            raise InputError(
                "one budget at a time",
                where=" and ".join(self.limits),
                remedy="--max-drop where the evaluation images' labels are to be trusted, else "
                "--min-agreement",
            )
        ((flag, limit),) = self.limits.items()
        if not 0 <= limit <= 100:  # false for NaN too
            raise InputError(f"must be from 0 to 100, got {limit:g}", where=flag)
        if not 0 < self.guard_minutes < math.inf:
            raise InputError(
                f"must be above 0, got {self.guard_minutes:g}", where="--guard-minutes"
            )

    @property
    def limits(self) -> Mapping[str, float]:
        """The budgets asked for, by flag."""
        budgets = {"--max-drop": self.max_drop, "--min-agreement": self.min_agreement}
        return {flag: limit for flag, limit in budgets.items() if limit is not None}
