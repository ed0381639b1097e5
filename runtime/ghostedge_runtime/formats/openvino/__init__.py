"""OpenVINO IR files: what an ``.xml`` and the ``.bin`` beside it say, read without OpenVINO.

An IR is a graph in XML; its constants lie in a file of the same name that ends in ``.bin``, each at
an offset that the graph names.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from ghostedge_runtime.errors import ModelFileError

_HEAD = 4096
_CONSTANT = re.compile(rb'<data [^>]*?\boffset="(\d{1,18})"[^>]*?\bsize="(\d{1,18})"')
_QUANTIZES = b'type="FakeQuantize"'
_SENDER = "openvino_telemetry"


def weights_files(data: bytes, path: Path) -> dict[str, Path]:
    """The file that holds an IR's constants, by its name; none where the graph has none.

    Args:
        data: The ``.xml``.
        path: Where it lies.

    Raises:
        ModelFileError: It is no IR, or its ``.bin`` is missing or cut short.
    """
    check_ir(data, path)
    ends = [int(offset) + int(size) for offset, size in _CONSTANT.findall(data)]
    if not ends:
        return {}
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise ModelFileError(
            f"its weights are in {weights.name!r}, which is not there",
            where=path,
            remedy="keep the .bin beside the .xml, under the same name",
        )
    size = weights.stat().st_size
    if size < max(ends):
        raise ModelFileError(
            f"{weights.name!r} has {size} bytes, its last constant ends at byte {max(ends)}",
            where=path,
            remedy="the .bin is cut short or another model's: copy it again",
        )
    return {weights.name: weights}


def import_openvino() -> Any:
    """The library `openvino`, imported so that it tells nobody of it.

    By itself it sends an event to its makers when it is imported, from a process that it forks.
    Beside being unasked for, that process never ends where another thread reads stdin, as in a
    worker of a measurement. OpenVINO does without the package that sends where it is not found.

    Raises:
        ImportError: It is not installed, or does not import.
    """
    is_imported = _SENDER in sys.modules  # then the caller wants it
    refusal: Any = None  # in the place of a module it makes the import fail
    sys.modules.setdefault(_SENDER, refusal)
    try:
        return importlib.import_module("openvino")
    finally:
        if not is_imported:
            del sys.modules[_SENDER]


def check_ir(data: bytes, path: Path) -> None:
    """Refuse a file that is no IR.

    Raises:
        ModelFileError: It is none.
    """
    if not is_ir(data):
        raise ModelFileError(
            "it is no OpenVINO IR: it has no <net>",
            where=path,
            remedy="give the .xml that `ghostedge convert --format onnx,openvino` writes",
        )


def is_ir(data: bytes) -> bool:
    """Whether a file's bytes begin as an IR's do."""
    return b"<net" in data[:_HEAD]


def changes(data: bytes, path: Path) -> bool:  # noqa: ARG001  # as of every format
    """Whether half precision makes a difference worth having: not to a quantized graph.

    OpenVINO then computes in float16 between the integers too, where int8's larger numbers
    overflow: on the bundled network 3 % of the answers stayed the same.
    """
    return _QUANTIZES not in data and b"QuantizeLinear" not in data
