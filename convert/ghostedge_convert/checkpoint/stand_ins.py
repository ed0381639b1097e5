"""The types that training scripts pickle beside their weights, and what is built in their place.

``torch.load(weights_only=True)`` refuses every type that it does not know: an
``argparse.Namespace`` of arguments, a path, a date, a numpy number. None of them is needed to get
at the weights. So the names listed here are let through, and none of the classes they name is ever
touched: what is constructed is a stand-in of this file, which takes any arguments and runs nothing.
Real values come out of plain dictionaries, lists and numbers alone: numpy's of one of the types in
``_NUMBER``, checked for their length (numpy's own constructors trust a pickle more than that).

Not covered: enums, functions, schedulers pickled whole, OmegaConf, and whatever else has a class of
its own. Those are refused by name; see ``unsafe_pickle``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

# Booleans, integers and floats, in numpy's type codes: b1, i4, u2, f8 …
_NUMBER = re.compile(r"b1|[iu][1248]|f[248]")


class StandIn:
    """Takes the place of an object of a harmless type: made of anything, holds nothing."""

    def __new__(cls, *args: object) -> StandIn:  # noqa: D102, ARG004 - pickles pass what the real one takes
        return super().__new__(cls)

    def __init__(self, *args: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class PlainDict:
    """Constructs a ``dict``, for subclasses of it; their arguments are dropped."""

    def __new__(cls, *args: object) -> dict[Any, Any]:  # type: ignore[misc]  # noqa: D102, ARG004 - not an instance, on purpose
        return {}


class PlainList:
    """Constructs a ``list``, for types that pickle their items as one does."""

    def __new__(cls, *args: object) -> list[Any]:  # type: ignore[misc]  # noqa: D102, ARG004 - not an instance, on purpose
        return []


class NumpyType:
    """Stands in for a ``numpy.dtype``.

    Attributes:
        code: Type code with its byte order, such as ``<f4``; None where it is not of numbers.
    """

    def __init__(self, code: object = "", *args: object) -> None:  # noqa: ARG002 - align and copy, of no use
        text = code.decode("ascii", "replace") if isinstance(code, bytes) else code
        is_number = isinstance(text, str) and _NUMBER.fullmatch(text)
        self.code = f"<{text}" if is_number else None

    def __setstate__(self, state: object) -> None:
        """Take the byte order, second in numpy's state."""
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if self.code is not None and order in (">", b">"):
            self.code = f">{self.code[1:]}"


class NumpyArray:
    """Stands in for a ``numpy.ndarray``.

    Attributes:
        tensor: Its values; None where they are not numbers or do not fill its shape.
    """

    def __init__(self, *args: object) -> None:  # noqa: ARG002 - an empty array's, until the state is set
        self.tensor: torch.Tensor | None = None

    def __setstate__(self, state: object) -> None:
        """Take numpy's state: version, shape, type, whether in Fortran's order, bytes."""
        if not isinstance(state, tuple) or len(state) != 5:
            return
        _, shape, kind, fortran, raw = state
        values = _numbers(kind, raw)
        sizes = shape if isinstance(shape, tuple) and all(type(n) is int for n in shape) else ()
        if values is None or min(sizes, default=1) < 0 or _product(sizes) != len(values):
            return
        array = values.reshape(sizes, order="F" if fortran else "C")
        native = np.ascontiguousarray(array, dtype=values.dtype.newbyteorder("="))
        self.tensor = torch.from_numpy(native.reshape(sizes).copy())


def number(kind: object = None, raw: object = None, *args: object) -> int | float | bool | None:  # noqa: ARG001 - as numpy's own
    """Stands in for numpy's constructor of scalars; None where it is not a number."""
    values = _numbers(kind, raw)
    if values is None or len(values) != 1:
        return None
    value: int | float | bool = values[0].item()
    return value


def _numbers(kind: object, raw: object) -> np.ndarray[Any, Any] | None:
    if not isinstance(kind, NumpyType) or kind.code is None or not isinstance(raw, bytes):
        return None
    dtype = np.dtype(kind.code)
    return np.frombuffer(raw, dtype) if len(raw) % dtype.itemsize == 0 else None


def _product(sizes: tuple[int, ...]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


_PATHS = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
_OF_NO_USE = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in _PATHS),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    # As the type of an argument, or what a defaultdict makes.
    *(f"builtins.{name}" for name in ("bool", "bytes", "dict", "float", "frozenset", "int", "list",
                                      "object", "range", "slice", "str", "tuple")),
    *(f"numpy.{name}" for name in ("bool_", "float16", "float32", "float64", "int8", "int16",
                                   "int32", "int64", "uint8", "uint16", "uint32", "uint64")),
    "torch.torch_version.TorchVersion",
)  # fmt: skip
_DICTS = (
    "collections.defaultdict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
)

# What a name in a pickle becomes, by that name.
HARMLESS: Mapping[str, Callable[..., Any]] = {
    **{name: type(name.rpartition(".")[2], (StandIn,), {}) for name in _OF_NO_USE},
    **dict.fromkeys(_DICTS, PlainDict),
    "collections.deque": PlainList,
    "numpy.dtype": NumpyType,
    "numpy.ndarray": NumpyArray,
    # numpy 2 moved its core; files of both ways are about.
    **{f"numpy.{core}.multiarray.scalar": number for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray._reconstruct": NumpyArray for core in ("core", "_core")},
}
