"""What the manifest says of each file that was written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ghostedge.conversion.artefacts import ModelFile
from ghostedge.manifest import Accuracy, Artefact, Latency, Parity, TensorSignature
from ghostedge_runtime import Model
from ghostedge_runtime.backend import TensorInfo


@dataclass(frozen=True)
class Findings:
    """What was measured of one file; see ``Artefact`` for the fields."""

    parity: Parity
    latency: Latency | None = None
    accuracy: Accuracy | None = None
    float_agreement_pct: float | None = None
    float_sqnr_db: float | None = None


def artefacts(
    files: Sequence[ModelFile], models: Mapping[str, Model], findings: Mapping[str, Findings]
) -> tuple[Artefact, ...]:
    """A record of every file; ``models`` and ``findings`` by file name."""
    return tuple(_artefact(f, models[f.path.name], findings[f.path.name]) for f in files)


def _artefact(file: ModelFile, model: Model, found: Findings) -> Artefact:
    data = file.path.read_bytes()
    return Artefact(
        file=file.path.name,
        format=file.format,
        precision=file.precision,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        inputs=_signature((model.io.input,)),
        outputs=_signature(model.io.outputs),
        parity=found.parity,
        float_agreement_pct=found.float_agreement_pct,
        float_sqnr_db=found.float_sqnr_db,
        accuracy=found.accuracy,
        latency=found.latency,
    )


def _signature(tensors: Sequence[TensorInfo]) -> tuple[TensorSignature, ...]:
    return tuple(
        TensorSignature(t.name, t.dtype, tuple(t.shape), t.scale, t.zero_point) for t in tensors
    )
