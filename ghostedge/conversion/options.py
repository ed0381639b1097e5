"""What a user can ask of a conversion, in groups, checked before any work starts.

Each field is stated once: the command line's flag, the keyword of ``ghostedge.convert``, their
documentation and the refusals are made from the statement here (see ``option_fields``).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ghostedge.conversion.option_fields import (
    FLOAT,
    ModelKind,
    OptionField,
    Refusal,
    Scope,
    Statement,
    check_values,
    every_field,
    fields_of,
    refuse_without_effect,
    refuse_without_int8,
    stated,
)
from ghostedge.formats.table import TARGETS
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import Interpolation, Precision

RangeMethod = Literal["auto", "minmax", "percentile", "mse", "entropy"]
BiasCorrection = Literal["none", "fast", "full"]
Rounding = Literal["nearest", "adaptive"]
OutputType = Literal["float32", "int8"]
Task = Literal["classify", "regress"]
"""What a network is for: to tell classes apart, or to compute numbers of any other meaning."""

HUB = "hf-hub:"
"""What a MODEL from the Hugging Face Hub begins with."""

NO_FILE = "-"
"""The MODEL of a factory that makes the weights too."""

_SUFFIXES = (
    ".pth.tar",
    ".pt",
    ".pth",
    ".safetensors",
    ".bin",
    ".tar",
    ".ckpt",
    ".pkl",
    ".onnx",
    ".pt2",
    ".keras",
    ".h5",
    ".hdf5",
)

_NO_CHECKPOINT = Refusal("MODEL is no checkpoint of the family, so this has no effect on it")
_OF_FAMILY = Scope(ModelKind.CHECKPOINT, _NO_CHECKPOINT)
_OF_WEIGHTS = Scope(ModelKind.CHECKPOINT | ModelKind.FACTORY_WITH_WEIGHTS, _NO_CHECKPOINT)
_OF_KERAS = Scope(ModelKind.KERAS, Refusal("MODEL is no Keras model, so this has no effect on it"))
_OF_QUANTIZED = Scope(
    ModelKind.QUANTIZED_ONNX,
    Refusal("only an .onnx that is quantized already can be requantized"),
)
_OF_INT8 = Scope(
    ModelKind.FLOAT,
    refusal_without_int8=Refusal("it is of use only to int8", "add --int8"),
)
_OF_CALIBRATION = Scope(
    refusal_without_int8=Refusal(
        "calibration images are of use only to int8", "add --int8, or leave --calib out"
    )
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
        _check_list("--format", self.format, tuple(TARGETS))
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


def _check_list(flag: str, chosen: Sequence[str], choices: Sequence[str]) -> None:
    """Refuse a word that is none of the choices, or is listed twice."""
    for word in chosen:
        if word not in choices:
            close = difflib.get_close_matches(word, choices, 1)
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
        InputError: A number is below 1.
    """

    calib: Path | None = stated(
        None, Statement("Folder of typical images that set the int8 ranges.", _OF_CALIBRATION)
    )
    calib_images: int = stated(500, Statement("Use at most this many."))
    eval: Path | None = stated(None, Statement("Labelled images, a folder per class, to score on."))
    skip_bad_images: bool = stated(
        False,
        Statement(
            "Decode all images of --calib and --eval first and go on without those that cannot be; "
            "the manifest names them. Otherwise they are an error."
        ),
    )
    threads: int = stated(1, Statement("Of one inference, when timing.", after="batch"))

    def __post_init__(self) -> None:
        check_values(self)


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
        "nearest",
        Statement(
            "How int8 weights are rounded; adaptive: learned (AdaRound), takes minutes.", _OF_INT8
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


@dataclass(frozen=True)
class PreprocessingOptions:
    """Preprocessing that the user states; None where it is left open."""

    input_size: tuple[int, int] | None = stated(
        None, Statement("Input side, or HEIGHTxWIDTH.", metavar="SIZE")
    )
    interpolation: Interpolation | None = stated(None, Statement("Filter of the resize."))
    crop_pct: float | None = stated(
        None, Statement("Share of the resized image that the crop keeps.")
    )
    mean: tuple[float, ...] | None = stated(
        None, Statement("Per channel, on the 0..1 scale.", metavar="R,G,B")
    )
    std: tuple[float, ...] | None = stated(
        None, Statement("Per channel, on the 0..1 scale.", metavar="R,G,B")
    )

    def stated(self) -> dict[str, Any]:
        """The fields that the user states."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class SourceOptions:
    """What is converted, how it is read, and what is said of it.

    Raises:
        InputError: They contradict each other or are out of range.
    """

    model: Path
    ema: bool = stated(False, Statement("Prefer the averaged (EMA) weights.", _OF_WEIGHTS))
    key_prefix: str | None = stated(
        None,
        Statement(
            "Of a checkpoint that holds several networks: what the wanted one's keys begin with, "
            "e.g. teacher. [default: the student of a pair, else the only one]",
            _OF_WEIGHTS,
            metavar="PREFIX",
        ),
    )
    arch: str | None = stated(
        None,
        Statement("Architecture, e.g. ghostnet_100. [default: from the weights]", _OF_FAMILY),
    )
    width: float | None = stated(
        None, Statement("Channel multiplier. [default: from the weights]", _OF_FAMILY)
    )
    num_classes: int | None = stated(
        None, Statement("Number of classes. [default: from the weights]", FLOAT)
    )
    labels: Path | None = stated(None, Statement("Class names: text, a name a line, JSON or YAML."))
    task: Task | None = stated(
        None,
        Statement(
            "classify: MODEL's output is class scores, or one number that parts two classes. "
            "regress: numbers of any other meaning (landmarks, boxes, embeddings, an age). "
            "[default: from the labels, --eval, the output's last operator and names; printed with "
            "its reason]"
        ),
    )
    preprocessing: PreprocessingOptions = PreprocessingOptions()
    batch: int = stated(1, Statement("Static batch size."))
    requantize: bool = stated(
        False,
        Statement(
            "Of an .onnx: round what TFLite's int8 cannot hold, and say what that cost, instead of "
            "refusing it.",
            _OF_QUANTIZED,
        ),
    )
    name: str | None = stated(None, Statement("What the files are called. [default: MODEL's name]"))
    factory: str | None = stated(
        None,
        Statement(
            "Make the network by calling package.module:function or file.py:function, whose code "
            "runs, and load the weights MODEL into it; MODEL is - where the function loads them.",
            FLOAT,
            metavar="MODULE:FUNCTION",
        ),
    )
    factory_args: str | None = stated(
        None,
        Statement(
            "Arguments of that call: an object of keyword arguments or an array.",
            FLOAT,
            metavar="JSON",
        ),
    )
    custom_objects: Path | None = stated(
        None,
        Statement(
            "Python file that defines the classes of a Keras model that are not Keras's own; its "
            "code runs.",
            _OF_KERAS,
            metavar="FILE.py",
        ),
    )
    output_names: tuple[str, ...] | None = stated(
        None,
        Statement(
            "What the outputs are called. [default: the network's own, where it returns a dict; "
            "else logits, or output_0, output_1, …]",
            FLOAT,
            metavar="NAME,NAME,…",
        ),
    )
    unsafe_pickle: bool = stated(
        False,
        Statement(
            "Where loading MODEL runs code from the file: let it, in a confined process that has "
            "no network and writes no file, and take the weights. Linux only.",
            _OF_WEIGHTS,
        ),
    )

    def __post_init__(self) -> None:
        self._check_model()
        check_values(self)
        if self.unsafe_pickle and self.is_onnx:
            raise InputError(
                "an .onnx holds no pickle", where="--unsafe-pickle", remedy="leave it out"
            )

    def _check_model(self) -> None:
        if self.factory_args is not None and self.factory is None:
            raise InputError(
                "there is no factory to pass them to",
                where="--factory-args",
                remedy="add --factory",
            )
        if not self.has_file and self.factory is None:
            raise InputError(
                f"{NO_FILE} stands for no file, which only --factory can do with",
                where="MODEL",
                remedy="pass a file, or add --factory",
            )
        if self.key_prefix is not None and not self.key_prefix.strip("."):
            raise InputError(
                f"{self.key_prefix!r} begins no key",
                where="--key-prefix",
                remedy="give what stands before the network's keys, such as student",
            )
        if self.name is not None and (not self.name.strip() or {"/", "\\"} & set(self.name)):
            raise InputError(
                f"files cannot be called {self.name!r}",
                where="--name",
                remedy="give a name without slashes; the folder is for -o to say",
            )

    @property
    def has_file(self) -> bool:
        """Whether MODEL is a file, and not a factory's own network."""
        return str(self.model) != NO_FILE

    @property
    def is_onnx(self) -> bool:
        """Whether MODEL is an ONNX file, float or quantized."""
        is_file = self.factory is None and not str(self.model).startswith(HUB)
        return is_file and self.model.suffix.lower() == ".onnx"

    @property
    def artefact_name(self) -> str:
        """The artefacts' common name."""
        return self.name or artefact_name(self.model, self.factory)


@dataclass(frozen=True)
class ConvertOptions:
    """Arguments of ``ghostedge convert``: a group for each stage that takes one.

    Raises:
        InputError: They contradict each other or are out of range.
    """

    files: FileOptions
    checks: CheckOptions
    int8: Int8Options
    guard: GuardOptions
    source: SourceOptions

    @classmethod
    def of(cls, model: str | Path, **keywords: Any) -> ConvertOptions:
        """The options that these keywords state.

        Args:
            model: MODEL.
            keywords: By the names in ``OPTIONS``: paths may be strings, tuples any sequences.

        Raises:
            TypeError: There is no such keyword.
            InputError: They contradict each other or are out of range.
        """
        unknown = keywords.keys() - OPTIONS.keys()
        if unknown:
            raise TypeError(f"convert() has no keyword argument {min(unknown)!r}")
        converted = {name: OPTIONS[name].converted(value) for name, value in keywords.items()}

        def group(kind: type, **others: Any) -> Any:
            names = converted.keys() & {option.name for option in fields_of(kind)}
            return kind(**others, **{name: converted[name] for name in names})

        source = group(SourceOptions, model=Path(model), preprocessing=group(PreprocessingOptions))
        if converted.get("output") is None:
            converted["output"] = default_output(source.artefact_name)
        return cls(
            group(FileOptions), group(CheckOptions), group(Int8Options), group(GuardOptions), source
        )

    def __post_init__(self) -> None:
        self._check_guard()
        if "int8" in self.files.precisions and self.checks.calib is None:
            raise InputError(
                "int8 needs images to set the ranges from, and none were given",
                where="--int8" if self.files.int8 else "--precision",
                remedy="pass --calib FOLDER with 100 to 500 typical images (no labels needed)",
            )
        if not self.source.is_onnx:  # only its content says whether it is quantized
            self.check_float_model()

    def _check_guard(self) -> None:
        for flag in self.guard.limits:
            if "int8" not in self.files.precisions:
                raise InputError("only int8 is held to a budget", where=flag, remedy="add --int8")
            if flag == "--max-drop" and self.checks.eval is None:
                raise InputError(
                    "a drop in accuracy needs labelled images",
                    where=flag,
                    remedy="pass --eval FOLDER, or use --min-agreement, which needs no labels",
                )

    def check_float_model(self) -> None:
        """Refuse flags that have no effect on a network that is not quantized yet.

        Raises:
            InputError: Names the flag.
        """
        if self.source.requantize:
            raise _OF_QUANTIZED.refusal.by("--requantize")
        if "int8" not in self.files.precisions:
            refuse_without_int8((self.checks, self.int8))

    def check_effect(self, source: ModelKind) -> None:
        """Refuse flags that have no effect on a MODEL of this kind.

        Raises:
            InputError: Names the flag.
        """
        groups = (self.files, self.checks, self.int8, self.guard, self.source)
        refuse_without_effect(groups, source)

    def to_dict(self) -> dict[str, Any]:
        """For the manifest: every option by its keyword, paths as the user wrote them."""
        groups = (self.source, self.files, self.checks, self.int8, self.guard)
        options = {name: value for group in groups for name, value in asdict(group).items()}
        return {k: str(v) if isinstance(v, Path) else v for k, v in options.items()}


def _in_order_of_help() -> dict[str, OptionField]:
    groups = (FileOptions, CheckOptions, Int8Options, GuardOptions, SourceOptions)
    options = {option.name: option for group in groups for option in every_field(group)}
    names = [name for name, option in options.items() if not option.statement.after]
    for name in options.keys() - names:
        names.insert(names.index(options[name].statement.after) + 1, name)
    return {name: options[name] for name in names}


OPTIONS: Mapping[str, OptionField] = _in_order_of_help()
"""Every option that has a flag and a keyword, by name, in the order of ``--help``."""


def default_output(name: str) -> Path:
    """Where the artefacts of this name go when no folder was named: ``./NAME_ghostedge``."""
    return Path(f"{name}_ghostedge")


def artefact_name(model: Path, factory: str | None = None) -> str:
    """What the artefacts are called where nobody says.

    The file's name without its (double) suffix; a repository's without its owner and revision; the
    factory's function, where it makes the weights too.
    """
    if str(model) == NO_FILE and factory is not None:
        return factory.rpartition(":")[2].rpartition(".")[2]
    if str(model).startswith(HUB):
        return model.name.removeprefix(HUB).partition("@")[0]
    name = model.name
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name
