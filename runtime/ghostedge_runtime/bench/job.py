"""From the words of a command line to a `BenchJob`: which cases there are, and what they run."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from ghostedge_runtime.bench.inference import MAX_IMAGES, check_settings
from ghostedge_runtime.errors import ImageError, InputError
from ghostedge_runtime.folders import list_images
from ghostedge_runtime.formats.loading import file_format, read_model_file, whole_digest
from ghostedge_runtime.formats.table import (
    ENGINES,
    FORMATS,
    Format,
    PrecisionMode,
    resolve,
    suffixes,
)
from ghostedge_runtime.record import (
    BenchJob,
    Case,
    Settings,
)

Kind = tuple[str, PrecisionMode]
"""A backend and a precision mode."""


@dataclass(frozen=True)
class Variants:
    """How every model is run; each combination that fits its format is a case.

    Attributes:
        threads: Numbers of threads.
        backends: Which to use; a file goes to those of them that run its format. None: the usual
            one for each format.
        precision_modes: Half precision is for files that compute with floats.
    """

    threads: Sequence[int] = (1,)
    backends: Sequence[str] | None = None
    precision_modes: Sequence[PrecisionMode] = ("default",)


def make_job(
    models: Sequence[str | os.PathLike[str]],
    variants: Variants = Variants(),
    *,
    settings: Settings | None = None,
    data: str | os.PathLike[str] | None = None,
    skipped: Collection[Path] = (),
) -> BenchJob:
    """List the cases: every model on every backend that runs its format, by threads.

    What else a job says (operators' times, the command line, the device's name) has its default.

    Args:
        models: Files, in the order of the table; one may be named twice.
        variants: Numbers of threads, backends and precision modes.
        settings: The protocol's bounds; None for the defaults.
        data: Folder of images: `MAX_IMAGES` of them, spread evenly over the folder, are the
            inputs, and the files are scored on all of it.
        skipped: Images of that folder to leave out of both.

    Raises:
        InputError: No model, a number of threads below 1, bounds that make no sense, a file that
            none of the backends and modes runs, or one of these that runs none of the files.
        ModelFileError: A file is missing or is no model file.
        ImageError: The folder does not exist, or holds no image but skipped ones.
    """
    bounds = settings or Settings()
    check_settings(bounds)
    if not models:
        raise InputError("no model is named to measure", remedy=f"name {suffixes()} files")
    threads, modes = variants.threads, variants.precision_modes
    if not threads or min(threads) < 1:
        raise InputError(
            f"threads must be whole numbers from 1 on, got {', '.join(map(str, threads)) or 'none'}"
        )
    cases = tuple(case for model in models for case in _cases(Path(model), variants))
    _refuse_unused("backend", variants.backends or (), {case.backend for case in cases}, models)
    _refuse_unused("precision mode", modes, {case.precision_mode for case in cases}, models)
    left_out = frozenset(skipped)
    images = [] if data is None else [p for p in list_images(data) if p not in left_out]
    if data is not None and not images:
        raise ImageError(
            "none of its images can be used", where=data, remedy="replace them, or leave --data out"
        )
    inputs = _spread(images, MAX_IMAGES)
    return BenchJob(
        cases=cases,
        files={case.sha256: case.model for case in cases},
        settings=replace(bounds, images=len(inputs)),
        inputs=inputs,
        data=None if data is None else os.fspath(data),
        skipped=tuple(path.relative_to(data).as_posix() for path in skipped) if data else (),
    )


def _cases(model: Path, variants: Variants) -> list[Case]:
    data, modes = read_model_file(model), variants.precision_modes
    fmt = file_format(model, data)
    runs = [kind for kind in _kinds(fmt) if kind[1] not in modes or _matters(kind, data, model)]
    chosen = (fmt.engines[0],) if variants.backends is None else tuple(variants.backends)
    kinds = [kind for kind in product(chosen, modes) if kind in runs]
    if not kinds:
        raise InputError(
            f"none of what was asked for runs it: {', '.join(chosen)} in {', '.join(modes)}",
            where=model,
            remedy="what does: " + ", ".join(_words(kind) for kind in runs),
        )
    sha256, size = whole_digest(data, model)
    return [
        Case(str(model), sha256, size, backend, count, mode)
        for backend, mode in kinds
        for count in variants.threads
    ]


def _kinds(fmt: Format) -> list[Kind]:
    """What runs a file of a format, half precision last."""
    kinds: list[Kind] = [(name, mode) for name in fmt.engines for mode in ENGINES[name].opens]
    return sorted(kinds, key=lambda kind: kind[1] != "default")


def _matters(kind: Kind, data: bytes, model: Path) -> bool:
    """Whether a precision mode makes a difference to a file."""
    backend, mode = kind
    changed = ENGINES[backend].changed_by_fp16
    return mode == "default" or changed is None or bool(resolve(changed)(data, model))


def _words(kind: Kind) -> str:
    backend, mode = kind
    return backend if mode == "default" else f"{backend} in {mode}"


def _refuse_unused(
    word: str, asked: Sequence[str], used: set[str], models: Sequence[str | os.PathLike[str]]
) -> None:
    for name in asked:
        if name not in used:
            raise InputError(
                f"the {word} {name!r} runs none of the files given",
                where=", ".join(os.fspath(model) for model in models),
                remedy="leave it out; files and what runs them: "
                + "; ".join(
                    f"{fmt.suffix} {', '.join(_words(kind) for kind in _kinds(fmt))}"
                    for fmt in FORMATS.values()
                ),
            )


def _spread(images: Sequence[Path], most: int) -> tuple[str, ...]:
    """At most so many of them, evenly over the whole list, which is sorted by class folder."""
    count = min(len(images), most)
    return tuple(str(images[index * len(images) // count]) for index in range(count))
