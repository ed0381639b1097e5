"""A manifest of version 1 as one of version 2.

Version 1 kept a latency of its own, single figures without intervals, and of the machine a few
facts. Where a figure's interval is not known, both of its ends are the figure itself.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ghostedge_runtime.decode import decode
from ghostedge_runtime.formats.table import FORMATS
from ghostedge_runtime.record import Estimate, Settings

_TIMING = Settings(min_seconds=0.5, min_runs=50, max_warmup_seconds=2.0)
"""The bounds that every conversion timed its files by."""
_NO_INTERVALS = "the manifest is of version 1, which kept no intervals"


@dataclass(frozen=True)
class _Latency:
    threads: int
    runs: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    load_ms: float
    first_inference_ms: float
    steady: bool
    peak_rss_mb: float | None
    speed_up: float | None = None


@dataclass(frozen=True)
class _Artefact:
    file: str
    format: Literal["onnx", "tflite"]
    bytes: int
    sha256: str
    latency: _Latency | None = None


@dataclass(frozen=True)
class _Document:
    artefacts: tuple[_Artefact, ...]
    versions: Mapping[str, str]
    host: Mapping[str, Any]


def upgraded(document: Mapping[str, Any], where: str | os.PathLike[str]) -> dict[str, Any]:
    """Version 2's document of the same conversion.

    Args:
        document: As version 1 wrote it.
        where: The file, for errors.

    Raises:
        InputError: It is not what version 1 wrote.
    """
    typed = decode(_Document, document, where=where, place="the document")
    files = zip(document["artefacts"], typed.artefacts, strict=True)
    unchanged = {name: value for name, value in document.items() if name != "host"}
    return unchanged | {"artefacts": [_artefact(*file) for file in files], "run": _run(typed)}


def _artefact(document: Mapping[str, Any], typed: _Artefact) -> dict[str, Any]:
    latency = typed.latency
    if latency is None:
        return dict(document)
    return {
        **document,
        "speed_up": latency.speed_up,
        "latency": {
            "case": {
                "model": typed.file,
                "sha256": typed.sha256,
                "bytes": typed.bytes,
                "backend": FORMATS[typed.format].engines[0],
                "threads": latency.threads,
            },
            "runs": latency.runs,
            "steady": latency.steady,
            "p50_ms": _figure(latency.p50_ms),
            "p90_ms": _figure(latency.p90_ms),
            "p99_ms": _figure(latency.p99_ms),
            "load_ms": latency.load_ms,
            "first_inference_ms": latency.first_inference_ms,
            "peak_rss_mb": latency.peak_rss_mb,
            "notes": [_NO_INTERVALS],
        },
    }


def _figure(value: float) -> dict[str, float]:
    return asdict(Estimate(value, value, value))


def _run(typed: _Document) -> dict[str, Any]:
    """The run, by an id that is always the same for the same files; its date was not kept."""
    files = "".join(artefact.sha256 for artefact in typed.artefacts)
    governor = typed.host.get("governor")
    return {
        "id": hashlib.sha256(files.encode()).hexdigest()[:16],
        "created": "",
        "device": "local",
        "command": [],
        "ghostedge_version": typed.versions.get("ghostedge", ""),
        "settings": asdict(_TIMING),
        "machine": {**typed.host, "governors": {"cpu0": governor} if governor else {}},
        "trace": [],
        "results": [],
    }
