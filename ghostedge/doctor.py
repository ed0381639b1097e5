"""What this machine has and lacks for each of the jobs.

Nothing heavy is imported: versions are read from the installed distributions' metadata.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ghostedge.formats.table import TARGETS, Target
from ghostedge_runtime.formats.table import ENGINES, FORMATS
from ghostedge_runtime.machine.facts import machine_facts
from ghostedge_runtime.record import MachineFacts

# What each job but running files needs, and the line that installs it. One distribution of a tuple
# is enough.
_JOBS: tuple[tuple[str, tuple[tuple[str, ...], ...], str], ...] = (
    (
        "convert, inspect checkpoints and .onnx",
        (
            ("ghostedge-convert",),
            ("ghostedge-quantize",),
            ("torch",),
            ("onnx",),
            ("onnxruntime",),
            ("onnxscript",),
            ("safetensors",),
        ),
        "pip install 'ghostedge[convert]'",
    ),
    ("convert Keras models", (("keras",), ("tensorflow",)), "pip install 'ghostedge[keras]'"),
    ("report, inspect --plot", (("matplotlib",),), "pip install 'ghostedge[report]'"),
)


@dataclass(frozen=True)
class Job:
    """One thing GhostEdge can do here, or not.

    Attributes:
        found: The distributions it uses, with their versions.
        missing: Those it lacks; where one of several will do, all are named.
        remedy: The line that installs them.
    """

    name: str
    found: tuple[str, ...]
    missing: tuple[str, ...]
    remedy: str

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


@dataclass(frozen=True)
class Diagnosis:
    """The machine and what can be done on it.

    Attributes:
        machine: What is known of it; `machine.words.fact_rows` puts it into words.
        free_disk_mb: Of the working folder.
        jobs: What can be done.
    """

    machine: MachineFacts
    free_disk_mb: int
    jobs: tuple[Job, ...]


def examine() -> Diagnosis:
    """Look at the machine and the installed distributions."""
    return Diagnosis(
        machine=machine_facts(),
        free_disk_mb=shutil.disk_usage(Path.cwd()).free // 10**6,
        jobs=(
            *(_running(TARGETS[name]) for name in FORMATS),
            *(_job(*job) for job in _JOBS),
            _devices_job(),
        ),
    )


def _running(target: Target) -> Job:
    """Running a format's files, and inspecting them where that needs nothing more."""
    engine = ENGINES[target.format.engines[0]]
    verbs = "run, bench, inspect" if target.extra == engine.extra else "run, bench"
    remedy = f"'ghostedge-runtime[{engine.extra}]'" if engine.extra else "ghostedge"
    return _job(f"{verbs} {target.format.suffix}", (engine.distributions,), f"pip install {remedy}")


def _job(name: str, needs: tuple[tuple[str, ...], ...], remedy: str) -> Job:
    present, missing = [], []
    for any_of in needs:
        installed = [f"{d} {v}" for d in any_of if (v := _version(d)) is not None]
        if installed:
            present.append(installed[0])
        else:
            missing.append(" or ".join(any_of))
    return Job(name, tuple(present), tuple(missing), remedy)


def _devices_job() -> Job:
    """The one that takes a program, not a distribution."""
    ssh = shutil.which("ssh")
    present, missing = ((ssh,), ()) if ssh else ((), ("OpenSSH's ssh",))
    return Job("bench --device", present, missing, "sudo apt install openssh-client")


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
