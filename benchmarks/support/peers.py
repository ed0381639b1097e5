"""The converters we are measured against, and ours, behind one call each."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from support.child import ChildFailedError, Usage, measure
from support.environments import PEERS, PeerUnavailableError, environment, versions
from support.report import REPO
from support.workload import Workload


@dataclass(frozen=True)
class Peer:
    """One converter.

    Attributes:
        name: In reports and file names, and of its requirements file.
        script: In ``benchmarks/peers``.
        reads: Option and workload attribute of the model it starts from.
        variants: Extra arguments in order of preference; the first that converts is used.
        packages: Whose versions are reported.
        settings: In words.
        python: Command it wants where the machine has it.
    """

    name: str
    script: str
    reads: tuple[str, str]
    variants: tuple[tuple[str, ...], ...]
    packages: tuple[str, ...]
    settings: str
    python: str | None = None


PEERS_MEASURED = (
    Peer(
        name="onnx2tf",
        script="onnx2tf_int8.py",
        reads=("--onnx", "onnx"),
        variants=(("--backend", "flatbuffer_direct"), ("--backend", "tf_converter")),
        packages=("onnx2tf", "tensorflow", "onnx", "ai-edge-litert"),
        settings="-oiqt, per-channel weights, int8 input and output",
        python="python3.12",
    ),
    Peer(
        name="litert_torch",
        script="litert_torch_int8.py",
        reads=("--checkpoint", "checkpoint"),
        variants=((),),
        packages=("litert-torch", "litert-converter", "ai-edge-quantizer", "torch"),
        settings="to_channel_last_io, recipe static_wi8_ai8, int8 input and output",
    ),
)


@dataclass(frozen=True)
class Conversion:
    """How one converter fared; ``skipped`` says why there is no file, ``notes`` what was tried."""

    name: str
    settings: str
    file: Path | None = None
    usage: Usage | None = None
    versions: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    skipped: str | None = None

    def as_json(self) -> dict[str, object]:
        """For the report: units in the names, no paths of this machine."""
        record: dict[str, object] = {"settings": self.settings, "versions": self.versions}
        if self.usage:
            record |= {
                "conversion_s": self.usage.seconds,
                "conversion_cpu_s": self.usage.cpu_seconds,
                "peak_memory_mb": self.usage.peak_memory_mb,
            }
        if self.file:
            record["bytes"] = self.file.stat().st_size
        if self.notes:
            record["notes"] = list(self.notes)
        if self.skipped:
            record["skipped"] = self.skipped
        return record


def convert_ours(workload: Workload) -> Conversion:
    """Run ``ghostedge convert`` as a user would, checks, timing and all four artefacts included.

    Raises:
        ChildFailedError: It failed. A missed budget (exit 3) does not count as that: random weights
            may disagree with their int8 where trained ones do not.
    """
    output = workload.folder / "ours"
    shutil.rmtree(output, ignore_errors=True)
    command = [ghostedge(), "convert", str(workload.checkpoint), "--int8"]
    command += ["--calib", str(workload.photo_folder), "-o", str(output)]
    usage = measure(command, log=workload.folder / "ours.log", allowed=(0, 3))
    (file,) = output.glob("*_int8.tflite")
    found = versions(
        Path(sys.executable), ("ghostedge", "torch", "onnx", "onnxruntime", "ai-edge-litert")
    )
    settings = "convert --int8: float and int8, ONNX and TFLite, checked and timed"
    return Conversion("ghostedge", settings, file, usage, found)


def convert_with(peer: Peer, workload: Workload, *, reuse: bool = False) -> Conversion:
    """Let a peer convert the workload; where it cannot, the result says why.

    Args:
        peer: Which one.
        workload: What to convert.
        reuse: Take the file and the figures of an earlier run over the same workload.
    """
    output = workload.folder / f"{peer.name}_int8.tflite"
    kept = output.with_suffix(".json")
    try:
        python = environment(peer.name, preferred_python=peer.python)
    except PeerUnavailableError as error:
        return Conversion(peer.name, peer.settings, skipped=str(error))
    found = versions(python, peer.packages)
    if reuse and kept.exists() and output.exists():
        earlier = json.loads(kept.read_text(encoding="utf-8"))
        if earlier["versions"] == found:
            usage = Usage(**earlier["usage"])
            notes = (*earlier["notes"], "conversion_s and peak_memory_mb are of an earlier run")
            return Conversion(peer.name, earlier["settings"], output, usage, found, notes)
    done = _first_that_converts(peer, python, workload, output, found)
    if done.usage:
        record = {**asdict(done), "file": output.name}
        kept.write_text(json.dumps(record), encoding="utf-8")
    return done


def _first_that_converts(
    peer: Peer, python: Path, workload: Workload, output: Path, found: dict[str, str]
) -> Conversion:
    notes: list[str] = []
    for variant in peer.variants:
        output.unlink(missing_ok=True)
        settings = " ".join([peer.settings, *variant])
        command = _command(peer, python, workload, output, variant)
        log = workload.folder / f"{peer.name}.log"
        try:
            usage = measure(command, log=log, env=_environment(python))
        except ChildFailedError as error:
            notes.append(" ".join([*variant, f"failed: {error}"]))
            continue
        return Conversion(peer.name, settings, output, usage, found, tuple(notes))
    return Conversion(peer.name, peer.settings, versions=found, skipped="; ".join(notes))


def _command(
    peer: Peer, python: Path, workload: Workload, output: Path, variant: Sequence[str]
) -> list[str]:
    option, attribute = peer.reads
    model = getattr(workload, attribute)
    copy = output.with_name(f"{peer.name}_input{model.suffix}")
    shutil.copyfile(model, copy)  # onnx2tf rewrites the file it is given
    command = [str(python), str(PEERS / peer.script), option, str(copy)]
    return [*command, "--calibration", str(workload.calibration), "--output", str(output), *variant]


def _environment(python: Path) -> dict[str, str]:
    """What a peer's script finds: its environment's commands, and the definition of the network.

    onnx2tf calls ``onnxsim`` as a command; the definition needs torch alone.
    """
    return {
        "PATH": os.pathsep.join([str(python.parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(REPO / "convert"), str(REPO / "runtime")]),
    }


def ghostedge() -> str:
    """The command line of the environment this benchmark runs in."""
    command = Path(sys.executable).parent / "ghostedge"
    if not command.exists():
        raise SystemExit(
            "the benchmarks need GhostEdge in the environment they run in\n"
            "  → pip install -e runtime -e convert -e quantize -e '.[convert]', or `make bench`"
        )
    return str(command)
