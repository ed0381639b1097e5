"""A torch.export program, as ``torch.export.save`` wrote it to a ``.pt2``, becomes a module.

Torch's loader would unpickle whatever an archive marks as pickled, load compiled libraries that lie
in it, and evaluate its shapes' expressions. So the archive is looked through before, with the
loader's own reader: it may hold a program in JSON, tensors as plain bytes and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.export.pt2_archive._package import PT2ArchiveReader, load_pt2

from ghostedge_convert.export import quiet_logger
from ghostedge_convert.sources.module import CHANNELS, LoadedModule, in_a_line, refuse_unusable
from ghostedge_runtime.errors import InputError, MissingDependencyError, ModelFileError
from ghostedge_runtime.metadata import Source

# Ops that compute otherwise in training, and the argument that switches it on.
_TRAINING_ARGUMENT = {
    "aten.batch_norm.default": 5,
    "aten.dropout.default": 2,
    "aten.feature_dropout.default": 2,
    "aten.alpha_dropout.default": 2,
    "aten._native_batch_norm_legit.default": 5,
    "aten.native_batch_norm.default": 5,
    "aten.native_dropout.default": 2,
}
# CVE-2026-4538 is in the loader of torch up to 2.10.0.
_SAFE_TORCH = "2.10.1"
_EXAMPLE = "data/sample_inputs/model.pt"
_KNOWN = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/\w+|extra/.*|models/model\.json"
    r"|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)|" + re.escape(_EXAMPLE)
)
# An expression of sizes as sympy writes it: Mod(Symbol('s77', integer=True), Integer(2)).
_PLAIN = re.compile(r"(?:[A-Z][A-Za-z]*(?=\()|'[a-z]\w*'|[a-z]+=(?:True|False)|-?\d+|[(), ])*")


@dataclass(frozen=True)
class _Image:
    """The input of a program; None where the program leaves a size open."""

    name: str
    sizes: tuple[int | None, ...]
    batches: tuple[float, float]


def load_pt2_program(path: Path, *, batch: int, input_size: tuple[int, int] | None) -> LoadedModule:
    """Load a program and check it against what is wanted of it.

    Args:
        path: The file.
        batch: N; the program's own where it has a fixed one.
        input_size: Height and width, where stated.

    Raises:
        ModelFileError: It cannot be loaded, holds more than a program, or its input is no image.
        InputError: Its sizes contradict ``batch`` or ``input_size``.
    """
    if torch.__version__ < _SAFE_TORCH:
        raise MissingDependencyError(
            f"torch {torch.__version__} has a flaw in its .pt2 loader (CVE-2026-4538)",
            where=path,
            remedy=f"pip install 'torch>={_SAFE_TORCH},<2.14'",
        )
    data = path.read_bytes()
    _look_through(path, data)
    program = _loaded(path, data)
    refuse_unusable(program.state_dict, str(path))
    image = _image(program, path)
    size = _agreed(image, batch, input_size)
    channels = image.sizes[1]
    return LoadedModule(
        module=as_module(program, path),
        title="torch.export program",
        source=Source(path.name, hashlib.sha256(data).hexdigest()),
        in_channels=channels or CHANNELS[0],
        input_size=size,
    )


def as_module(program: torch.export.ExportedProgram, path: Path) -> torch.nn.Module:
    """The module that computes a program.

    A program has no modes: what it does in training it was exported with.

    Raises:
        ModelFileError: It was exported in training mode.
    """
    for node in program.graph.nodes:
        place = _TRAINING_ARGUMENT.get(str(node.target))
        if place is not None and len(node.args) > place and node.args[place] is True:
            raise ModelFileError(
                f"it was exported in training mode (node {node.name!r} is {node.target})",
                where=path,
                remedy="call module.eval() before torch.export.export, and export it again",
            )
    # The guards are Python made of the file's text; the shapes are checked by its reader.
    module = program.module(check_guards=False)
    for part in module.modules():
        part.training = False  # eval() is refused by it, for there is nothing to switch
    return module


def _look_through(path: Path, data: bytes) -> None:
    """Refuse an archive that holds more than a program and its tensors.

    Raises:
        ModelFileError: Names the record.
    """
    try:
        reader = PT2ArchiveReader(io.BytesIO(data))
        names = reader.get_file_names()
        texts = {n: json.loads(reader.read_string(n)) for n in names if n.endswith(".json")}
        example = reader.read_bytes(_EXAMPLE)
    except Exception as error:  # torch's C++ raises whatever the bytes lead to
        raise _unreadable(path, error) from error
    for name in names:
        if not _KNOWN.fullmatch(name):
            raise _more_than_a_program(path, f"it holds {name}")
    for key, value in _entries(list(texts.values())):
        if key == "use_pickle" and value:
            raise _more_than_a_program(path, "a tensor in it is pickled")
        if key == "expr_str" and not _PLAIN.fullmatch(str(value)):
            raise _more_than_a_program(path, f"a size in it is the expression {str(value)[:80]!r}")
    try:
        torch.load(io.BytesIO(example), weights_only=True)
    except Exception as error:  # a pickle that is refused makes torch raise in many ways
        raise _more_than_a_program(path, "its example input is more than tensors") from error


def _entries(document: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value in a JSON document, at any depth."""
    waiting = [document]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, dict):
            yield from entry.items()
            waiting += entry.values()
        elif isinstance(entry, list):
            waiting += entry


def _more_than_a_program(path: Path, what: str) -> ModelFileError:
    return ModelFileError(
        f"{what}, which loading could run as code",
        where=path,
        remedy="save the program alone: torch.export.save(torch.export.export(module, (image,)), "
        "'model.pt2')",
    )


def _unreadable(path: Path, error: Exception) -> ModelFileError:
    return ModelFileError(
        f"it cannot be read as a torch.export program ({in_a_line(error)})",
        where=path,
        remedy="copy it again; one of torch before 2.8, or of a newer torch than yours, has to be "
        "exported again",
    )


def _loaded(path: Path, data: bytes) -> torch.export.ExportedProgram:
    try:
        with quiet_logger("torch", logging.CRITICAL):
            return load_pt2(io.BytesIO(data)).exported_programs["model"]
    except Exception as error:  # of another version, or inconsistent: in many ways
        raise _unreadable(path, error) from error


def _image(program: torch.export.ExportedProgram, path: Path) -> _Image:
    """The program's one input.

    Raises:
        ModelFileError: It has others, or it is no float32 batch of images.
    """
    wanted = program.graph_signature.user_inputs
    placeholders = [n for n in program.graph.nodes if n.op == "placeholder" and n.name in wanted]
    value = placeholders[0].meta.get("val") if len(placeholders) == 1 and len(wanted) == 1 else None
    if not isinstance(value, torch.Tensor) or value.dim() != 4:
        raise ModelFileError(
            f"it takes {_words(placeholders)}, not one batch of images",
            where=path,
            remedy="export it with one example input, a tensor (N, C, H, W)",
        )
    sizes = tuple(side if isinstance(side, int) else None for side in value.shape)
    if value.dtype != torch.float32 or sizes[1] not in (*CHANNELS, None):
        kind = str(value.dtype).removeprefix("torch.")
        raise ModelFileError(
            f"it takes {kind} {_shape(sizes)}, not float32 (N, C, H, W) of 1, 3 or 4 channels",
            where=path,
            remedy="export the float32 module with such an example",
        )
    return _Image(placeholders[0].name, sizes, _range(program, value.shape[0]))


def _words(inputs: list[torch.fx.Node]) -> str:
    return ", ".join(f"{n.name!r}" for n in inputs) or "no tensor"


def _shape(sizes: tuple[int | None, ...]) -> str:
    return "×".join("?" if side is None else str(side) for side in sizes)


def _range(program: torch.export.ExportedProgram, side: Any) -> tuple[float, float]:
    """The least and the largest batch that it takes."""
    if isinstance(side, int):
        return side, side
    constraint = program.range_constraints.get(side.node.expr)
    return (
        (1, float("inf"))
        if constraint is None
        else (float(constraint.lower), float(constraint.upper))
    )


def _agreed(
    image: _Image, batch: int, input_size: tuple[int, int] | None
) -> tuple[int, int] | None:
    """The size that the program has; None where it leaves it open.

    Raises:
        InputError: A flag contradicts it.
    """
    least, most = image.batches
    if not least <= batch <= most:
        takes = f"{least:g}" if least == most else f"{least:g} to {most:g}"
        raise InputError(
            f"the program takes batches of {takes}, not {batch}",
            where="--batch",
            remedy=f"pass --batch {max(least, 1):g}, or export it with another",
        )
    stated = input_size or (None, None)
    for own, wanted in zip(image.sizes[2:], stated, strict=True):
        if own is not None and wanted is not None and own != wanted:
            raise InputError(
                f"the program was exported for {_shape(image.sizes[2:])}, not for {_shape(stated)}",
                where="--input-size",
                remedy="leave --input-size out, or export the program with that size",
            )
    height, width = (own or wanted for own, wanted in zip(image.sizes[2:], stated, strict=True))
    return None if height is None or width is None else (height, width)
