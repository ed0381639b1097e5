"""The words of a measurement, and the file it is kept in.

A **case** is one model file on one backend with one number of threads. A **run** is several cases
measured on one machine, interleaved: each **round** gives every case a burst of inferences. Around
and between the rounds the machine is looked at (**snapshots**); what would make a reader doubt the
figures is a **mark**.

The JSON document of ``ghostedge bench --json`` is ``{"run_version": 1, "runs": [run, …]}``, a run
for each device, with exactly these fields; ``docs/bench.md`` describes it. A change that an old
reader would misread raises `RUN_VERSION`.

`ghostedge_runtime.decode` reads it back; it says which types a field may have.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ghostedge_runtime.decode import decode, read_json
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.formats.table import ENGINES, PrecisionMode
from ghostedge_runtime.latency import Timing

RUN_VERSION = 1
AS_THEY_ARE = "none"
"""The corruption of images that are not corrupted."""
CORRUPTION_IMAGES = 500
"""How many images are corrupted where nobody says: 35 passes over a whole folder take long."""
_RUN_REMEDY = "name a file that `ghostedge bench … -o FILE` wrote"

if TYPE_CHECKING:
    EngineName = str
else:
    EngineName = Literal[tuple(ENGINES)]
    """Any text to the type checker, but a file with a name outside the table is refused."""
MarkKind = Literal[
    "throttled", "drifted", "unsteady", "under-voltage", "limited", "stolen", "busy", "pinning"
]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % bootstrap interval, in the unit its field's name says."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Case:
    """One model file on one backend.

    Attributes:
        model: The file as it was named on the command line.
        sha256: Of its bytes, in hexadecimal.
        bytes: Its size.
        backend: The name of an engine in `formats.table`.
        threads: CPU threads that one inference may use.
        precision_mode: ``fp16`` computes a float model in half precision.
    """

    model: str
    sha256: str
    bytes: int
    backend: EngineName
    threads: int
    precision_mode: PrecisionMode = "default"


@dataclass(frozen=True)
class Settings:
    """The protocol's bounds, as they held.

    Attributes:
        min_seconds: The counted inferences of each case take at least this long together.
        min_runs: There are at least this many of them in each case.
        max_warmup_seconds: Warm-up of a case ends after this, steady or not.
        preset: Name of the preset they come from.
        cpus: The CPUs that all cases were pinned to; None where they were not.
        images: Real images the inputs were made of; 0 for random numbers.
    """

    min_seconds: float = 3.0
    min_runs: int = 100
    max_warmup_seconds: float = 10.0
    preset: str | None = None
    cpus: tuple[int, ...] | None = None
    images: int = 0


@dataclass(frozen=True)
class BenchJob:
    """What to measure, and where its files are on this machine.

    Attributes:
        cases: In the order of the table; ratios are to the first.
        files: The model files by the cases' ``sha256``.
        settings: The protocol's bounds.
        inputs: Real images to run, at most `bench.inference.MAX_IMAGES`; none: random input.
        data: Folder per class to score every file on; None: not scored.
        skipped: Images of ``data`` that are left out, relative to it.
        corruptions: Also score every file on images of ``data`` corrupted so.
        corruption_images: At most so many of them.
        per_op: Also time every operator.
        command: The command line that asked for it, for the record.
        device: How the machine was named there: ``local`` or ``ssh://user@host``.
    """

    cases: tuple[Case, ...]
    files: Mapping[str, str]
    settings: Settings = Settings()
    inputs: tuple[str, ...] = ()
    data: str | None = None
    skipped: tuple[str, ...] = ()
    corruptions: tuple[str, ...] = ()
    corruption_images: int = CORRUPTION_IMAGES
    per_op: bool = False
    command: tuple[str, ...] = ()
    device: str = "local"


@dataclass(frozen=True)
class Round:
    """One burst of inferences: seconds since the run began, nanoseconds of each inference."""

    start_s: float
    samples_ns: tuple[int, ...]


@dataclass(frozen=True)
class Delegation:
    """How much of a graph a delegate (XNNPACK) or provider took.

    Attributes:
        delegate: Its name, such as ``XNNPACK``; ``none`` where the plain kernels ran all.
        ops: Operators it took.
        ops_total: Operators of the file's graph.
        partitions: Pieces it took them in; 1 is best.
        left: Operators it left to the plain kernels, name by how many.
    """

    delegate: str
    ops: int
    ops_total: int
    partitions: int
    left: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class OpTime:
    """One operator by itself.

    Attributes:
        index: Its place in the graph.
        op: Its kind, such as ``CONV_2D``.
        name: Of its first output.
        p50_ms: Median, in milliseconds; 0 where the note says why it has none of its own.
        output_shape: Of its first output.
        note: How its time is not its own: counted in another's, or it does not run alone.
    """

    index: int
    op: str
    name: str
    p50_ms: float
    output_shape: tuple[int, ...]
    note: str | None = None


@dataclass(frozen=True)
class Score:
    """Accuracy of the very file that was timed, in percent."""

    images: int
    top1_pct: float
    top5_pct: float


@dataclass(frozen=True)
class CorruptedScore:
    """Accuracy on images corrupted in one way at one strength.

    Attributes:
        corruption: A name of `corruptions.CORRUPTIONS`; ``none`` for the images as they are.
        strength: 1 to 5; 0 for the images as they are.
        top1_pct: In percent.
        hits: Which images were right, in the folder's order: a bit each, the first the highest of
            the first byte (``numpy.packbits``), in hexadecimal.
    """

    corruption: str
    strength: int
    top1_pct: float
    hits: str


@dataclass(frozen=True)
class CorruptionScores:
    """Accuracy of the very file that was timed on corrupted images.

    Two files' hits line up where ``pixels_crc32`` is the same.

    Attributes:
        images: How many were corrupted and scored, spread over the folder.
        of_images: How many there are.
        pixels_crc32: Of all these images' pixels as the network takes them, in hexadecimal.
        precision: Of the file, by its metadata.
        source_sha256: Of the weights it was made from, by its metadata; None where that is silent.
        scores: On the images as they are, then each corruption by strength.
    """

    images: int
    of_images: int
    pixels_crc32: str
    precision: str
    source_sha256: str | None
    scores: tuple[CorruptedScore, ...]


@dataclass(frozen=True)
class Result:
    """What one case's measurement gave.

    Attributes:
        case: Which.
        error: Why it could not run; all below is then None or empty.
        runtime: Distribution of the interpreter, ``runtime_version`` its version.
        batch: Images per inference.
        load_ms: Reading the file and readying the interpreter.
        first_inference_ms: The very first, before any warm-up.
        warmup_runs: Inferences before the counted ones, ``steady`` whether they had settled.
        runs: Counted inferences; ``seconds`` they took together.
        p50_ms: Median; p90_ms, p99_ms: percentiles; mean_ms; min_ms.
        ratio: Its p50 over the first case's, from the same rounds; below 1 it is faster.
        drift: Median of the last third of its rounds over that of the first.
        preprocessing: From image to input, if images were given; not part of the inferences.
        peak_rss_mb: Most memory its own process held up to its first inferences, in MB of 10⁶
            bytes: before real images and scoring come into it.
        delegation: None where the interpreter does not say.
        score: Where labelled images were given and the model scores classes.
        corrupted: Scores on corrupted images, where asked for.
        ops: Every operator by itself, slowest first; empty unless asked for.
        rounds: The raw samples.
        notes: What was asked for besides and could not be had, and why, a sentence each.
    """

    case: Case
    error: str | None = None
    runtime: str | None = None
    runtime_version: str | None = None
    batch: int | None = None
    load_ms: float | None = None
    first_inference_ms: float | None = None
    warmup_runs: int = 0
    steady: bool = False
    runs: int = 0
    seconds: float = 0.0
    p50_ms: Estimate | None = None
    p90_ms: Estimate | None = None
    p99_ms: Estimate | None = None
    mean_ms: Estimate | None = None
    min_ms: float | None = None
    ratio: Estimate | None = None
    drift: Estimate | None = None
    preprocessing: Timing | None = None
    peak_rss_mb: float | None = None
    delegation: Delegation | None = None
    score: Score | None = None
    corrupted: CorruptionScores | None = None
    ops: tuple[OpTime, ...] = ()
    rounds: tuple[Round, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class MachineFacts:
    """What does not change while a run lasts; None where the system does not say.

    Attributes:
        board: Name of a single-board computer, as its device tree has it.
        soc: System on chip, such as ``Broadcom BCM2712``.
        cpu: Model name of the processor, such as ``Cortex-A76`` or ``Intel(R) Xeon(R)``.
        machine: Instruction set, such as ``aarch64``.
        features: Instructions that matter to inference, of `machine.cpu.FEATURES`; None where the
            record does not say.
        cores: CPUs this process may use; ``cores_total`` those the machine has.
        memory_mb: Physical memory, in MB of 10⁶ bytes.
        os, kernel, python: Names with versions.
        governors: Frequency governor by CPU policy, such as ``{"policy0": "ondemand"}``.
        max_mhz: Highest clock by CPU policy.
        virtual: Kind of virtual machine or container, such as ``kvm`` or ``docker``.
        cpu_quota: CPUs that the cgroup allows at a time, such as 1.5.
        firmware: Version of the board's firmware.
        bits: Width of this process's addresses: 32 under a 32-bit system, whatever its kernel.
        notes: What could not be read though the machine has it, and what to do about it.
    """

    machine: str
    cores: int
    os: str
    kernel: str
    python: str
    cores_total: int | None = None
    board: str | None = None
    soc: str | None = None
    cpu: str | None = None
    features: tuple[str, ...] | None = None
    memory_mb: int | None = None
    governors: Mapping[str, str] = field(default_factory=dict)
    max_mhz: Mapping[str, float] = field(default_factory=dict)
    virtual: str | None = None
    cpu_quota: float | None = None
    firmware: str | None = None
    bits: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """One look at what changes; counters count since boot, None where there is none.

    Attributes:
        at_s: Seconds since the run began.
        temperatures_c: Degrees Celsius by sensor.
        clocks_mhz: Clock by CPU policy; ``arm`` is what a Raspberry Pi's firmware measured.
        throttle_bits: The firmware's ``get_throttled``.
        thermal_throttle_count: Times an x86 core or package was slowed for heat.
        cgroup_throttled_s: Seconds that the cgroup's quota kept this process waiting.
        steal_s: Seconds that the hypervisor gave to others, over all CPUs.
        load_average: Of the last minute.
    """

    at_s: float
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    clocks_mhz: Mapping[str, float] = field(default_factory=dict)
    throttle_bits: int | None = None
    thermal_throttle_count: int | None = None
    cgroup_throttled_s: float | None = None
    steal_s: float | None = None
    load_average: float | None = None


@dataclass(frozen=True)
class Mark:
    """Something that makes a figure doubtful.

    Attributes:
        kind: Which sort.
        text: A sentence for people, figures included.
        case: Index of the result it is about; None for the whole run.
        fails_strict: Whether ``--strict`` ends with exit code 3 for it.
    """

    kind: MarkKind
    text: str
    case: int | None = None
    fails_strict: bool = False


@dataclass(frozen=True)
class BenchRun:
    """One machine's measurement.

    Attributes:
        id: Sixteen hexadecimal digits, different for every run.
        created: When it began, ISO 8601, UTC.
        device: How the machine was named on the command line.
        command: The command line.
        ghostedge_version: Ours.
        settings: The protocol's bounds.
        machine: What it ran on.
        trace: Looks at the machine before, during and after.
        results: In the order of the command line.
        marks: What makes figures doubtful; empty is good.
    """

    id: str
    created: str
    device: str
    command: tuple[str, ...]
    ghostedge_version: str
    settings: Settings
    machine: MachineFacts
    trace: tuple[Snapshot, ...]
    results: tuple[Result, ...]
    marks: tuple[Mark, ...] = ()

    def marks_of(self, index: int) -> tuple[Mark, ...]:
        """The marks of one result, those of the whole run included."""
        return tuple(mark for mark in self.marks if mark.case in (None, index))


def document(runs: Iterable[BenchRun]) -> dict[str, Any]:
    """The JSON document of some runs, as plain values."""
    return {"run_version": RUN_VERSION, "runs": [asdict(run) for run in runs]}


def read_runs(path: str | os.PathLike[str]) -> tuple[BenchRun, ...]:
    """The runs in a file that ``ghostedge bench -o FILE`` or ``--json > FILE`` wrote.

    Raises:
        InputError: No such file, not such a document, or one of a newer version.
    """
    return runs_of(read_json(path, _RUN_REMEDY), path)


def runs_of(parsed: Any, where: str | os.PathLike[str]) -> tuple[BenchRun, ...]:
    """The runs of a parsed document; ``where`` is named in errors.

    Raises:
        InputError: It is not such a document, or one of a newer version.
    """
    version = parsed.get("run_version") if isinstance(parsed, dict) else None
    if not isinstance(version, int) or not isinstance(parsed.get("runs"), list):
        raise InputError(
            "it is not a measurement: it has no run_version and runs",
            where=where,
            remedy=_RUN_REMEDY,
        )
    if version > RUN_VERSION:
        raise InputError(
            f"it is of format {version}, this GhostEdge reads up to {RUN_VERSION}",
            where=where,
            remedy="pip install -U ghostedge",
        )
    return tuple(
        decode(BenchRun, run, where=where, place=f"runs[{number}]")
        for number, run in enumerate(parsed["runs"])
    )
