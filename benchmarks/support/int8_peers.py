"""The quantizers that int8's accuracy is measured against, with every setting that is tried.

For each peer its defaults, its documented advice for convolutional networks on a CPU, and its
options one by one from there. The best of them is picked by the test images themselves, which
favours the peer. A file is kept and taken again while settings, inputs, script and versions stay.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from support.child import ChildFailedError, Usage, measure
from support.environments import PEERS, PeerUnavailableError, environment, versions
from support.report import REPO
from support.studies import Study

_SOURCES = {
    "deploy": ("--onnx", "deploy_onnx"),
    "exported": ("--onnx", "exported_onnx"),
    "tflite": ("--tflite", "float_tflite"),
    "litert_torch": ("--checkpoint", "checkpoint"),
}


@dataclass(frozen=True)
class Setting:
    """One way to call a peer.

    Attributes:
        source: What it starts from: ``deploy`` (ONNX with batch norm folded, ours), ``exported``
            (ONNX from torch's exporter), ``tflite`` (float TFLite, ours) or ``litert_torch``
            (the weights or program, converted to float TFLite by litert-torch).
        arguments: For the peer's script.
    """

    source: str
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([f"from {self.source}:", *(self.arguments or ("defaults",))])


@dataclass(frozen=True)
class Quantizer:
    """One peer.

    Attributes:
        name: In reports.
        slug: In file names.
        environment: Of its requirements file.
        script: In ``benchmarks/peers``.
        suffix: Of the file it writes; ``.npy`` for logits of the test images, where only the peer's
            own runtime reads what it writes (its seconds then include answering them).
        packages: Whose versions are reported.
        settings: To try, the documented advice first.
        python: Command its environment wants where the machine has it.
    """

    name: str
    slug: str
    environment: str
    script: str
    suffix: str
    packages: tuple[str, ...]
    settings: tuple[Setting, ...]
    python: str | None = None


def _each(source: str, *lines: str) -> tuple[Setting, ...]:
    return tuple(Setting(source, tuple(line.split())) for line in lines)


_NNCF_PACKAGES = ("nncf", "onnx", "onnxruntime")
ORT_DEFAULT = Setting("deploy")

QUANTIZERS = (
    Quantizer(
        name="onnxruntime.quantization",
        slug="onnxruntime",
        environment="onnxruntime",
        script="onnxruntime_int8.py",
        suffix=".onnx",
        packages=("onnxruntime", "onnx", "neural-compressor"),
        settings=(
            *_each(
                "deploy",
                "--per-channel",
                "",
                "--per-channel --activations QInt8",
                "--per-channel --moving-average",
                "--per-channel --method Entropy",
                "--per-channel --method Percentile",
                "--per-channel --method Percentile --percentile 99.99",
                "--per-channel --method Percentile --percentile 99.9",
                "--per-channel --smooth-quant 0.5",
            ),
        ),
    ),
    Quantizer(
        name="NNCF, fast bias correction",
        slug="nncf_fast",
        environment="nncf",
        script="nncf_int8.py",
        suffix=".onnx",
        packages=_NNCF_PACKAGES,
        settings=(
            *_each(
                "deploy",
                "--preset MIXED",
                "",
                "--preset MIXED --full-range",
                "--preset MIXED --ranges MINMAX",
                "--preset MIXED --ranges HISTOGRAM",
                "--preset MIXED --smooth-convolutions 0.5",
            ),
        ),
    ),
    Quantizer(
        name="NNCF, full bias correction",
        slug="nncf_full",
        environment="nncf",
        script="nncf_int8.py",
        suffix=".onnx",
        packages=_NNCF_PACKAGES,
        settings=(
            # One setting: it fails in cutting the graph, whatever the others are.
            *_each("deploy", "--full-bias-correction --preset MIXED"),
        ),
    ),
    Quantizer(
        name="NNCF, full bias correction, OpenVINO",
        slug="nncf_openvino",
        environment="nncf_openvino",
        script="nncf_openvino_int8.py",
        suffix=".npy",
        packages=("nncf", "openvino", "onnx"),
        settings=_each(
            "deploy",
            "--full-bias-correction --preset MIXED --ranges MINMAX",
            "--full-bias-correction --preset MIXED",
            "--full-bias-correction",
            "--preset MIXED --ranges MINMAX",
        ),
    ),
    Quantizer(
        name="ai-edge-quantizer",
        slug="ai_edge_quantizer",
        environment="litert_torch",
        script="ai_edge_quantizer_int8.py",
        suffix=".tflite",
        packages=("ai-edge-quantizer", "litert-torch", "ai-edge-litert"),
        settings=(
            *_each("litert_torch", "", "--algorithm OCTAV", "--algorithm MSE"),
            *_each(
                "tflite",
                "",
                "--algorithm OCTAV",
                "--algorithm MSE",
                "--algorithm GPTQ",
                "--algorithm OSCAR",
            ),
        ),
    ),
    Quantizer(
        name="onnx2tf",
        slug="onnx2tf",
        environment="onnx2tf",
        script="onnx2tf_int8.py",
        suffix=".tflite",
        packages=("onnx2tf", "tensorflow"),
        settings=(
            *_each(
                "deploy",
                "--backend flatbuffer_direct",
                "--backend tf_converter",
                "--backend tf_converter --io float32",
            ),
            *_each(
                "exported",
                "--backend tf_converter",
            ),
        ),
        python="python3.12",
    ),
)


@dataclass(frozen=True)
class Attempt:
    """One setting's outcome: the file it wrote, or why there is none."""

    setting: Setting
    file: Path | None = None
    usage: Usage | None = None
    failed: str | None = None


@dataclass(frozen=True)
class Attempts:
    """All of a peer's outcomes on one study; ``skipped`` where it could not be installed."""

    quantizer: Quantizer
    versions: dict[str, str] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    skipped: str | None = None


def attempt_all(quantizer: Quantizer, study: Study, settings: tuple[Setting, ...]) -> Attempts:
    """Let a peer quantize the study's network with each of the settings.

    Args:
        quantizer: The peer.
        study: The network and its calibration images.
        settings: Those of the peer, or some of them.
    """
    try:
        python = environment(quantizer.environment, preferred_python=quantizer.python)
    except PeerUnavailableError as error:
        return Attempts(quantizer, skipped=str(error))
    packages = versions(python, quantizer.packages)
    done = _attempts(quantizer, study, settings, python, json.dumps(packages))
    return Attempts(quantizer, packages, tuple(done))


def _attempts(
    quantizer: Quantizer, study: Study, settings: tuple[Setting, ...], python: Path, packages: str
) -> Iterator[Attempt]:
    folder = study.folder / "peers"
    folder.mkdir(exist_ok=True)
    for setting in settings:
        key = _key(quantizer, study, setting, packages)
        output = folder / f"{quantizer.slug}-{key}{quantizer.suffix}"
        record_file = output.with_suffix(".json")
        if not record_file.exists():
            record_file.write_text(json.dumps(_run(quantizer, study, setting, python, output)))
        record = json.loads(record_file.read_text(encoding="utf-8"))
        if record["failed"]:
            yield Attempt(setting, failed=record["failed"])
        else:
            yield Attempt(setting, output, Usage(**record["usage"]))


def _run(
    quantizer: Quantizer, study: Study, setting: Setting, python: Path, output: Path
) -> dict[str, object]:
    option, attribute = _SOURCES[setting.source]
    model: Path = getattr(study, attribute)
    copy = output.with_name(f"{output.stem}_input{model.suffix}")
    shutil.copyfile(model, copy)  # onnx2tf rewrites the file it is given
    command = [str(python), str(PEERS / quantizer.script), option, str(copy)]
    command += ["--calibration", str(study.calibration_pixels), "--output", str(output)]
    command += _normalisation(study)
    paths = [str(REPO / room) for room in ("convert", "runtime")]
    if quantizer.suffix == ".npy":
        command += ["--test", str(study.test_pixels)]
    env = {
        "PATH": os.pathsep.join([str(python.parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(paths),
    }
    try:
        log = output.with_suffix(".log")
        usage = measure([*command, *setting.arguments], log=log, env=env)
    except ChildFailedError as error:
        return {"failed": str(error)}
    finally:
        copy.unlink(missing_ok=True)
    return {"failed": None, "usage": asdict(usage)}


def _normalisation(study: Study) -> list[str]:
    mean, std = (map(str, values) for values in (study.preprocessing.mean, study.preprocessing.std))
    return ["--mean", *mean, "--std", *std]


def _key(quantizer: Quantizer, study: Study, setting: Setting, packages: str) -> str:
    """Changes with the script, the settings, the versions and the files that go in."""
    _, attribute = _SOURCES[setting.source]
    digest = hashlib.sha256("\n".join([str(setting), packages, *_normalisation(study)]).encode())
    for path in (PEERS / quantizer.script, getattr(study, attribute), study.calibration_pixels):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
