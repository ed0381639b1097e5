"""The files of a conversion, what was found of each, and what the manifest says of it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ghostedge.conversion.task import Kind
from ghostedge.formats.table import Budget, Target
from ghostedge.records.manifest import Artefact, Parity
from ghostedge_runtime import Model, host_facts
from ghostedge_runtime.formats.loading import companion_files, whole_digest
from ghostedge_runtime.metadata import Precision
from ghostedge_runtime.record import Result, Score


@dataclass(frozen=True)
class HeldTo:
    """Whose bounds a file keeps: those of the files of one format in one precision."""

    target: Target
    precision: Precision

    def budget(self, kind: Kind) -> Budget:
        """The bound on a file of a network of this kind."""
        if kind.classes is None:
            return self.target.output_budgets[self.precision]
        return self.target.class_budget(self.precision, assumed=kind.assumed)


@dataclass(frozen=True)
class ModelFile:
    """A file we wrote.

    Attributes:
        path: Where it is.
        format: The name of what it is.
        precision: Of its weights and numbers.
        reference: The artefact it was made from, None for the first.
        held_to: Whose bounds it keeps.
        output_orders: Where an output's axes stand in another order than in ONNX:
            ``file = onnx.transpose(order)``.
    """

    path: Path
    format: str
    precision: Precision
    reference: str | None
    held_to: HeldTo
    output_orders: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@contextmanager
def opened(files: Sequence[ModelFile]) -> Iterator[dict[str, Model]]:
    """The files loaded in the runtime, by file name; closed at the end."""
    with ExitStack() as stack:
        yield {f.path.name: stack.enter_context(Model(f.path)) for f in files}


@dataclass(frozen=True)
class Findings:
    """What was measured of one file; see ``Artefact`` for the fields."""

    parity: Parity | None = None
    accuracy: Score | None = None
    float_agreement_pct: float | None = None
    float_sqnr_db: float | None = None


def artefacts(
    files: Sequence[ModelFile], findings: Mapping[str, Findings], results: Sequence[Result]
) -> tuple[Artefact, ...]:
    """A record of every file.

    Args:
        files: In the order they were made.
        findings: By file name; empty where the check failed.
        results: Of timing the files, in their order; empty where that failed.
    """
    timed = dict(zip((file.path.name for file in files), results, strict=False))
    p50_ms = {name: result.p50_ms.value for name, result in timed.items() if result.p50_ms}
    originals = {file.format: file.path.name for file in files if file.precision == "float32"}
    with ThreadPoolExecutor(host_facts().cores) as pool:  # most of it is zlib's work
        of_files = pool.map(lambda f: _artefact(f, findings.get(f.path.name, Findings())), files)
    records = []
    for file, of_file in zip(files, of_files, strict=True):
        record, name, original = of_file, file.path.name, originals.get(file.format)
        if name in timed:
            record = replace(record, latency=_without_samples(timed[name], name))
        if original in p50_ms and original != name:
            record = replace(record, speed_up=p50_ms[original] / p50_ms[name])
        records.append(record)
    return tuple(records)


def _without_samples(result: Result, name: str) -> Result:
    """A file's result without the raw samples, under its name beside the manifest."""
    return replace(result, case=replace(result.case, model=name), rounds=())


def _artefact(file: ModelFile, findings: Findings) -> Artefact:
    data = file.path.read_bytes()
    sha256, size = whole_digest(data, file.path)
    beside = (path.read_bytes() for path in companion_files(data, file.path).values())
    with Model(file.path) as model:
        signature = model.io
    return Artefact(
        file=file.path.name,
        format=file.format,
        precision=file.precision,
        bytes=size,
        sha256=sha256,
        zipped_bytes=sum(len(zlib.compress(part)) for part in (data, *beside)),
        inputs=(signature.input,),
        outputs=signature.outputs,
        parity=findings.parity,
        float_agreement_pct=findings.float_agreement_pct,
        float_sqnr_db=findings.float_sqnr_db,
        accuracy=findings.accuracy,
    )
