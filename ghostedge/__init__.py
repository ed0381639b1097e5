"""GhostEdge: trained GhostNets to the device.

``ghostedge.convert`` is the command of the same name as a function. It needs the ``convert``
extra; everything else here, and the ``ghostedge`` command itself, runs on the base install, so the
import is put off until it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostedge.conversion.api import convert as convert
    from ghostedge.records.manifest import Manifest as Manifest

__version__ = "0.1.0"
__all__ = ["Manifest", "__version__", "convert"]


def __getattr__(name: str) -> Any:
    if name == "convert":
        from ghostedge.conversion.api import convert

        return convert
    if name == "Manifest":
        from ghostedge.records.manifest import Manifest

        return Manifest
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
