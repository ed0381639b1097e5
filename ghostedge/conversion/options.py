"""What a user can ask of a conversion, checked before any work starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ghostedge_runtime.errors import InputError

RangeMethod = Literal["minmax", "percentile", "mse"]
OutputType = Literal["float32", "int8"]


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

    Raises:
        InputError: They contradict each other or are out of range.
    """

    model: Path
    output: Path
    int8: bool = False
    calib: Path | None = None
    calib_images: int = 500
    ranges: RangeMethod = "mse"
    output_type: OutputType = "float32"
    eval: Path | None = None
    ema: bool = False
    arch: str | None = None
    width: float | None = None
    num_classes: int | None = None
    labels: Path | None = None
    preprocessing: PreprocessingOverrides = PreprocessingOverrides()
    batch: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        if self.int8 and self.calib is None:
            raise InputError(
                "int8 needs images to set the ranges from, and none were given",
                where="--int8",
                remedy="pass --calib FOLDER with 100 to 500 typical images (no labels needed)",
            )
        if self.calib is not None and not self.int8:
            raise InputError(
                "calibration images are of use only to int8",
                where="--calib",
                remedy="add --int8, or leave --calib out",
            )
        for flag, value in (
            ("--calib-images", self.calib_images),
            ("--batch", self.batch),
            ("--threads", self.threads),
        ):
            if value < 1:
                raise InputError(f"must be at least 1, got {value}", where=flag)
        if self.ranges not in get_args(RangeMethod):
            raise InputError(
                f"unknown method {self.ranges!r}",
                where="--ranges",
                remedy=f"use one of {', '.join(get_args(RangeMethod))}",
            )
        if self.output_type not in get_args(OutputType):
            raise InputError(
                f"unknown type {self.output_type!r}",
                where="--output-type",
                remedy=f"use one of {', '.join(get_args(OutputType))}",
            )

    def to_dict(self) -> dict[str, Any]:
        """For the manifest: paths as the user gave them."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


def default_output(model: Path) -> Path:
    """Where a conversion of ``model`` goes when no folder was named: ``./NAME_ghostedge``."""
    return Path(f"{artefact_name(model)}_ghostedge")


def artefact_name(model: Path) -> str:
    """The artefacts' common name: the checkpoint's, without its (double) suffix."""
    name = model.name
    for suffix in (".pth.tar", ".pt", ".pth", ".safetensors", ".bin", ".tar", ".ckpt"):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name
