"""What a user can ask of a conversion, checked before any work starts."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import Precision

RangeMethod = Literal["auto", "minmax", "percentile", "mse", "entropy"]
BiasCorrection = Literal["none", "fast", "full"]
Rounding = Literal["nearest", "adaptive"]
OutputType = Literal["float32", "int8"]
Task = Literal["classify", "regress"]
"""What a network is for: to tell classes apart, or to compute numbers of any other meaning."""

_INT8_FLAGS = {
    "ranges": "--ranges",
    "equalize": "--no-equalize",
    "bias_correction": "--bias-correction",
    "rounding": "--rounding",
    "per_channel": "--per-tensor",
    "output_type": "--output-type",
}
"""Options that choose how int8 is made, and the flags that set them."""


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


@dataclass(frozen=True)
class PreprocessingOverrides:
    """Preprocessing stated on the command line; None where the user left it open."""

    input_size: tuple[int, int] | None = None
    interpolation: str | None = None
    crop_pct: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def stated(self) -> dict[str, Any]:
        """The fields that were given."""
        return {k: v for k, v in asdict(self).items() if v is not None}


@dataclass(frozen=True)
class ConvertOptions:
    """Arguments of ``ghostedge convert``; see its ``--help`` for each.

    The base install has no ``ghostedge_quantize``, so the defaults of ``Int8Settings`` are
    repeated here; a test holds the two together.

    Raises:
        InputError: They contradict each other or are out of range.
    """

    model: Path
    output: Path
    int8: bool = False
    precision: tuple[Precision, ...] = ("float32",)
    calib: Path | None = None
    calib_images: int = 500
    ranges: RangeMethod = "auto"
    equalize: bool = True
    bias_correction: BiasCorrection = "full"
    rounding: Rounding = "nearest"
    per_channel: bool = True
    output_type: OutputType = "float32"
    max_drop: float | None = None
    min_agreement: float | None = None
    guard_minutes: float = 10.0
    eval: Path | None = None
    skip_bad_images: bool = False
    ema: bool = False
    key_prefix: str | None = None
    arch: str | None = None
    width: float | None = None
    num_classes: int | None = None
    labels: Path | None = None
    task: Task | None = None
    preprocessing: PreprocessingOverrides = PreprocessingOverrides()
    batch: int = 1
    threads: int = 1
    requantize: bool = False
    unsafe_pickle: bool = False
    name: str | None = None
    factory: str | None = None
    factory_args: str | None = None
    custom_objects: Path | None = None
    output_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        self._check_model()
        self._check_precision()
        self._check_guard()
        if "int8" in self.precisions and self.calib is None:
            raise InputError(
                "int8 needs images to set the ranges from, and none were given",
                where="--int8" if self.int8 else "--precision",
                remedy="pass --calib FOLDER with 100 to 500 typical images (no labels needed)",
            )
        for flag, value in (
            ("--calib-images", self.calib_images),
            ("--batch", self.batch),
            ("--threads", self.threads),
        ):
            if value < 1:
                raise InputError(f"must be at least 1, got {value}", where=flag)
        for flag, chosen, known in (
            ("--ranges", self.ranges, get_args(RangeMethod)),
            ("--bias-correction", self.bias_correction, get_args(BiasCorrection)),
            ("--rounding", self.rounding, get_args(Rounding)),
            ("--output-type", self.output_type, get_args(OutputType)),
            ("--task", self.task, (None, *get_args(Task))),
        ):
            if chosen not in known:
                raise InputError(
                    f"there is no {chosen!r}",
                    where=flag,
                    remedy=f"use one of {', '.join(filter(None, known))}",
                )
        if self.unsafe_pickle and self.is_onnx:
            raise InputError(
                "an .onnx holds no pickle", where="--unsafe-pickle", remedy="leave it out"
            )
        if not self.is_onnx:  # only its content says whether it is quantized
            self.check_float_model()

    def _check_model(self) -> None:
        if self.factory_args is not None and self.factory is None:
            raise InputError(
                "there is no factory to pass them to",
                where="--factory-args",
                remedy="add --factory",
            )
        if str(self.model) == NO_FILE and self.factory is None:
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

    def check_float_model(self) -> None:
        """Refuse flags that have no effect on a network that is not quantized yet.

        Raises:
            InputError: Names the flag.
        """
        if self.requantize:
            raise InputError(
                "only an .onnx that is quantized already can be requantized",
                where="--requantize",
                remedy="leave it out",
            )
        if "int8" in self.precisions:
            return
        if self.calib is not None:
            raise InputError(
                "calibration images are of use only to int8",
                where="--calib",
                remedy="add --int8, or leave --calib out",
            )
        for name, flag in _INT8_FLAGS.items():
            if getattr(self, name) != getattr(ConvertOptions, name):
                raise InputError("it is of use only to int8", where=flag, remedy="add --int8")

    def _check_precision(self) -> None:
        known = get_args(Precision)
        for chosen in self.precision:
            if chosen not in known:
                raise InputError(
                    f"there is no {chosen!r}",
                    where="--precision",
                    remedy=f"use some of {', '.join(known)}, with commas between",
                )
            if self.precision.count(chosen) > 1:
                raise InputError(
                    f"{chosen} is listed twice", where="--precision", remedy="list it once"
                )

    def _check_guard(self) -> None:
        budgets = {"--max-drop": self.max_drop, "--min-agreement": self.min_agreement}
        asked = [flag for flag, limit in budgets.items() if limit is not None]
        if not asked:
            return
        if len(asked) > 1:
            raise InputError(
                "one budget at a time",
                where=" and ".join(asked),
                remedy="--max-drop where the evaluation images' labels are to be trusted, else "
                "--min-agreement",
            )
        if "int8" not in self.precisions:
            raise InputError("only int8 is held to a budget", where=asked[0], remedy="add --int8")
        if self.max_drop is not None and self.eval is None:
            raise InputError(
                "a drop in accuracy needs labelled images",
                where="--max-drop",
                remedy="pass --eval FOLDER, or use --min-agreement, which needs no labels",
            )
        if not 0 <= (budgets[asked[0]] or 0.0) <= 100:  # false for NaN too
            raise InputError(
                f"must be from 0 to 100, got {budgets[asked[0]]:g}",
                where=asked[0],
            )
        if not 0 < self.guard_minutes < math.inf:
            raise InputError(
                f"must be above 0, got {self.guard_minutes:g}", where="--guard-minutes"
            )

    @property
    def is_onnx(self) -> bool:
        """Whether MODEL is an ONNX file, float or quantized."""
        is_file = self.factory is None and not str(self.model).startswith(HUB)
        return is_file and self.model.suffix.lower() == ".onnx"

    @property
    def is_guarded(self) -> bool:
        """Whether int8 is held to a budget of classes."""
        return self.max_drop is not None or self.min_agreement is not None

    @property
    def artefact_name(self) -> str:
        """The artefacts' common name."""
        return self.name or artefact_name(self.model, self.factory)

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """What is made, in order: float32 always, for everything else is compared with it."""
        wanted = {"float32", *self.precision} | ({"int8"} if self.int8 else set())
        return tuple(each for each in get_args(Precision) if each in wanted)

    def to_dict(self) -> dict[str, Any]:
        """For the manifest: paths as the user gave them."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


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
