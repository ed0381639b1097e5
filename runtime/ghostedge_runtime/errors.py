"""Every error GhostEdge raises on purpose.

    GhostEdgeError                    a fault of ours                          exit 1
    ├── InputError                    the input or the arguments are wrong     exit 2
    │   ├── CheckpointError           a weights file we cannot use
    │   ├── ModelFileError            an .onnx or .tflite we cannot use
    │   ├── ImageError                an image or image folder we cannot use
    │   ├── UnsupportedOpError        a node outside the op table
    │   ├── MissingDependencyError    a package that has to be installed first
    │   └── DeviceError               a device that cannot be reached or used
    └── BudgetMissedError             done, but a stated budget was missed     exit 3

A message says what is wrong, where, and what to do about it; the three parts are separate so
that none is forgotten and a program can show them apart.
"""

from __future__ import annotations

from os import PathLike


class GhostEdgeError(Exception):
    """Base of the tree.

    Args:
        what: What is wrong, one sentence without a full stop.
        where: The file, node, key or argument it concerns.
        remedy: What the user can do about it.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | PathLike[str] | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = None if where is None else str(where)
        self.remedy = remedy

    def __str__(self) -> str:
        head = self.what if self.where is None else f"{self.where}: {self.what}"
        return head if self.remedy is None else f"{head}\n  → {self.remedy}"


class InputError(GhostEdgeError):
    """The input or the arguments are wrong."""

    exit_code = 2


class CheckpointError(InputError):
    """A weights file that cannot be used."""


class ModelFileError(InputError):
    """An ``.onnx`` or ``.tflite`` file that cannot be used."""


class ImageError(InputError):
    """An image, or a folder of images, that cannot be used."""


class UnsupportedOpError(InputError):
    """A graph node that the op table does not cover."""


class MissingDependencyError(InputError):
    """A package is needed that is not installed."""


class DeviceError(InputError):
    """A device over SSH that cannot be reached or used."""


class BudgetMissedError(GhostEdgeError):
    """The work is done, but a stated budget (parity, accuracy, latency) was missed."""

    exit_code = 3
