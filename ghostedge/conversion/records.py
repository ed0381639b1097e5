"""What the manifest says of each file that was written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ghostedge.conversion.artefacts import ModelFile
from ghostedge.records.manifest import Accuracy, Artefact, Latency, Parity, TensorSignature
from ghostedge_runtime import Model
from ghostedge_runtime.errors import GhostEdgeError
from ghostedge_runtime.formats.backend import TensorInfo

T = TypeVar("T")


@dataclass(frozen=True)
class Findings:
    """What was measured of one file; see ``Artefact`` for the fields."""

    parity: Parity | None = None
    latency: Latency | None = None
    accuracy: Accuracy | None = None
    float_agreement_pct: float | None = None
    float_sqnr_db: float | None = None


class Failures:
    """What went wrong while finished files were looked at: it is said, and costs no file."""

    def __init__(self) -> None:
        self._errors: list[Exception] = []

    def attempt(self, work: Callable[[], T]) -> T | None:
        """What ``work`` returns, None where it failed."""
        try:
            return work()
        except Exception as error:  # files that took hours are kept, whatever this is
            self._errors.append(error)
            return None

    @property
    def last(self) -> Exception | None:
        """The latest of them."""
        return self._errors[-1] if self._errors else None

    def words(self) -> tuple[str, ...]:
        """Each in a message of its own."""
        return tuple(
            str(each) if isinstance(each, GhostEdgeError) else f"{type(each).__name__}: {each}"
            for each in self._errors
        )

    def raise_faults(self) -> None:
        """Raise what is a fault of ours, once the files are in place."""
        for error in self._errors:
            if not isinstance(error, GhostEdgeError):
                raise error


def with_latency(
    names: Iterable[str], findings: Mapping[str, Findings], latency: Mapping[str, Latency]
) -> dict[str, Findings]:
    """What was found of each file and how long it takes, as far as either is known."""
    return {
        name: replace(findings.get(name, Findings()), latency=latency.get(name)) for name in names
    }


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
