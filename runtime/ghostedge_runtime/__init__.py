"""Load, run, time and score a model file on the device.

Importing the package imports nothing heavy: the names below are looked up when first used, an
interpreter is imported when a file of its format is opened.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostedge_runtime.bench.inference import Benchmark as Benchmark
    from ghostedge_runtime.bench.inference import benchmark as benchmark
    from ghostedge_runtime.evaluation import ClassScore as ClassScore
    from ghostedge_runtime.evaluation import Evaluation as Evaluation
    from ghostedge_runtime.evaluation import evaluate as evaluate
    from ghostedge_runtime.formats.backend import ModelIO as ModelIO
    from ghostedge_runtime.formats.backend import TensorInfo as TensorInfo
    from ghostedge_runtime.latency import Latency as Latency
    from ghostedge_runtime.latency import Timing as Timing
    from ghostedge_runtime.machine.facts import Host as Host
    from ghostedge_runtime.machine.facts import host_facts as host_facts
    from ghostedge_runtime.metadata import ModelMetadata as ModelMetadata
    from ghostedge_runtime.metadata import Preprocessing as Preprocessing
    from ghostedge_runtime.model import Classification as Classification
    from ghostedge_runtime.model import Model as Model

__version__ = "0.1.0"

_HOMES = {
    "Benchmark": "bench.inference",
    "ClassScore": "evaluation",
    "Classification": "model",
    "Evaluation": "evaluation",
    "Host": "machine.facts",
    "Latency": "latency",
    "Model": "model",
    "ModelIO": "formats.backend",
    "ModelMetadata": "metadata",
    "Preprocessing": "metadata",
    "TensorInfo": "formats.backend",
    "Timing": "latency",
    "benchmark": "bench.inference",
    "evaluate": "evaluation",
    "host_facts": "machine.facts",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605  # a list of strings, made of the one table


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
