"""What a user can ask of a conversion, in groups, checked before any work starts.

The command line's flags, the keywords of ``ghostedge.convert``, their documentation and the
refusals are made from the statements in the groups. Imports nothing heavy: the command line reads
it to print ``--help``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ghostedge.conversion.option_fields import (
    ModelKind,
    OptionField,
    every_field,
    fields_of,
    refuse_without_effect,
    refuse_without_int8,
)
from ghostedge.conversion.option_groups import (
    CheckOptions,
    FileOptions,
    GuardOptions,
    Int8Options,
)
from ghostedge.conversion.source_options import (
    OF_QUANTIZED,
    PreprocessingOptions,
    SourceOptions,
)
from ghostedge_runtime.errors import InputError


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
        if self.checks.strict and self.checks.calib is None and self.checks.eval is None:
            raise InputError(
                "there are no images that could speak against anything",
                where="--strict",
                remedy="pass --calib FOLDER with 32 to 64 typical images (no labels needed)",
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
            raise OF_QUANTIZED.refusal.by("--requantize")
        if "int8" not in self.files.precisions:
            refuse_without_int8((self.int8,))

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
