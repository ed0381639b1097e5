"""The converters we are measured against, and ours, behind one call each."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from support.child import ChildFailedError, Usage, measure
from support.environments import PEERS, PeerUnavailableError, environment, versions
from support.report import REPO
from support.workload import Workload

_OUR_PACKAGES = ("ghostedge", "torch", "onnx", "onnxruntime", "ai-edge-litert")
EARLIER = "conversion_s and peak_memory_mb are of an earlier run"


@dataclass(frozen=True)
class Peer:
    """One converter.

    Attributes:
        name: In reports and file names, and of its requirements file.
        script: In ``benchmarks/peers``.
        writes: Precision and format of its file: ``int8.tflite``.
        reads: Option and workload attribute of the model it starts from.
        variants: Extra arguments in order of preference; the first that converts is used.
        packages: Whose versions are reported.
        settings: In words.
        python: Command it wants where the machine has it.
    """

    name: str
    script: str
    writes: str
    reads: tuple[str, str]
    variants: tuple[tuple[str, ...], ...]
    packages: tuple[str, ...]
    settings: str
    python: str | None = None


_BACKENDS = (("--backend", "flatbuffer_direct"), ("--backend", "tf_converter"))

PEERS_MEASURED = (
    Peer(
        name="onnx2tf",
        script="onnx2tf_int8.py",
        writes="int8.tflite",
        reads=("--onnx", "onnx"),
        variants=_BACKENDS,
        packages=("onnx2tf", "tensorflow", "onnx", "ai-edge-litert"),
        settings="-oiqt, per-channel weights, int8 input and output",
        python="python3.12",
    ),
    Peer(
        name="litert_torch",
        script="litert_torch_int8.py",
        writes="int8.tflite",
        reads=("--checkpoint", "checkpoint"),
        variants=((),),
        packages=("litert-torch", "litert-converter", "ai-edge-quantizer", "torch"),
        settings="to_channel_last_io, recipe static_wi8_ai8, int8 input and output",
    ),
)
_ONNX2TF, _LITERT_TORCH = PEERS_MEASURED

PEERS_IN_FLOAT = (
    replace(
        _ONNX2TF, script="onnx2tf_float.py", writes="float.tflite", settings="float32 and float16"
    ),
    replace(
        _LITERT_TORCH,
        script="litert_torch_float.py",
        writes="float.tflite",
        settings="to_channel_last_io",
    ),
)
ONNXRUNTIME = Peer(
    name="onnxruntime",
    script="onnxruntime_int8.py",
    writes="int8.onnx",
    reads=("--onnx", "onnx"),
    variants=(("--per-channel",),),
    packages=("onnxruntime", "onnx"),
    settings="quant_pre_process, quantize_static, QDQ",
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


def convert_ours(workload: Workload, *, reuse: bool = False) -> Conversion:
    """Run ``ghostedge convert`` as a user would, checks, timing and all four artefacts included.

    Args:
        workload: What to convert.
        reuse: Take the files and the figures of an earlier run, if our converter is still the same.

    Raises:
        ChildFailedError: It failed. A missed budget (exit 3) does not count as that: random weights
            may disagree with their int8 where trained ones do not.
    """
    settings = "convert --int8: float and int8, ONNX and TFLite, checked and timed"
    python = Path(sys.executable)
    packages = versions(python, _OUR_PACKAGES)
    file, key = our_file(workload, "int8", "tflite"), _key(packages, *_our_sources())
    record_file = workload.folder / "ours.json"
    if reuse and (earlier := _kept(record_file, key, file)):
        return earlier
    output = file.parent
    shutil.rmtree(output, ignore_errors=True)
    command = [ghostedge(), "convert", str(workload.checkpoint), "--int8"]
    command += ["--calib", str(workload.photo_folder), "-o", str(output)]
    usage = measure(command, log=workload.folder / "ours.log", allowed=(0, 3))
    done = Conversion("ghostedge", settings, file, usage, packages)
    _keep(record_file, key, done)
    return done


def our_key(*inputs: Path) -> str:
    """Changes with these files, our code that converts and the packages that it uses."""
    return _key(versions(Path(sys.executable), _OUR_PACKAGES), *_our_sources(), *inputs)


def our_file(workload: Workload, precision: str, form: str) -> Path:
    """The file of ours: ``float`` or ``int8``, ``tflite`` or ``onnx``."""
    suffix = "_int8" if precision == "int8" else ""
    return workload.folder / "ours" / f"{workload.checkpoint.stem}{suffix}.{form}"


def convert_with(peer: Peer, workload: Workload, *, reuse: bool = False) -> Conversion:
    """Let a peer convert the workload; where it cannot, the result says why.

    Args:
        peer: Which one.
        workload: What to convert.
        reuse: Take the file and the figures, or the failure, of an earlier run over the same
            workload.
    """
    output = workload.folder / f"{peer.name}_{peer.writes}"
    record_file = output.with_suffix(".json")
    try:
        python = environment(peer.name, preferred_python=peer.python)
    except PeerUnavailableError as error:
        return Conversion(peer.name, peer.settings, skipped=str(error))
    packages = versions(python, peer.packages)
    key = _key(packages, PEERS / peer.script)
    if reuse and (earlier := _kept(record_file, key, output)):
        return earlier
    done = _first_that_converts(peer, python, workload, output, packages)
    _keep(record_file, key, done)
    return done


def _key(packages: dict[str, str], *sources: Path) -> str:
    """Changes with the versions and the code that converts."""
    digest = hashlib.sha256(json.dumps(packages).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _our_sources() -> list[Path]:
    return sorted(path for room in ("convert", "quantize") for path in (REPO / room).rglob("*.py"))


def _keep(record_file: Path, key: str, done: Conversion) -> None:
    record = {**asdict(done), "file": None, "key": key}
    record_file.write_text(json.dumps(record), encoding="utf-8")


def _kept(record_file: Path, key: str, output: Path) -> Conversion | None:
    """What an earlier run found, its failure too; None where it was none or another converter."""
    earlier = json.loads(record_file.read_text(encoding="utf-8")) if record_file.exists() else {}
    if earlier.pop("key", None) != key or not (earlier["skipped"] or output.exists()):
        return None
    if earlier["skipped"]:
        return Conversion(**earlier)
    changed = {"file": output, "usage": Usage(**earlier["usage"])}
    return Conversion(**{**earlier, **changed, "notes": (*earlier["notes"], EARLIER)})


def _first_that_converts(
    peer: Peer, python: Path, workload: Workload, output: Path, packages: dict[str, str]
) -> Conversion:
    notes: list[str] = []
    for variant in peer.variants:
        output.unlink(missing_ok=True)
        settings = " ".join([peer.settings, *variant])
        command = _command(peer, python, workload, output, variant)
        log = output.with_suffix(".log")
        try:
            usage = measure(command, log=log, env=_environment(python))
        except ChildFailedError as error:
            notes.append(" ".join([*variant, f"failed: {error}"]))
            continue
        return Conversion(peer.name, settings, output, usage, packages, tuple(notes))
    return Conversion(peer.name, peer.settings, versions=packages, skipped="; ".join(notes))


def _command(
    peer: Peer, python: Path, workload: Workload, output: Path, variant: Sequence[str]
) -> list[str]:
    option, attribute = peer.reads
    model = getattr(workload, attribute)
    copy = output.with_name(f"{output.stem}_input{model.suffix}")
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
