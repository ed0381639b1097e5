"""Six networks of the family at 224 through every converter: latency, size, conversion time.

Each network goes through ``ghostedge convert --int8``, onnx2tf, litert-torch and, as ONNX, through
onnxruntime.quantization; the branches of GhostNetV3 and RepGhost are fused before anybody gets
them, as their users do. All files of a network, float and int8, are then timed in one process, on
one thread, in turn: ``.tflite`` in LiteRT with XNNPACK, ``.onnx`` in ONNX Runtime, whose float file
is the one that torch's exporter wrote. Every file is loaded several times, because where it comes
to lie in memory decides over some percent; the intervals are over the loads. What was converted
before is kept, with its seconds, until a converter changes or ``--fresh`` is given.

Output: progress on stderr, the tables in Markdown (with ``--readme FILE`` also into that file,
between its markers), and as the last line one JSON object::

    networks.NAME.converters.WHO.conversion_s, conversion_cpu_s, peak_memory_mb, versions, settings
    networks.NAME.files.FILE.p50_ms, p90_ms, min_ms, cpu_p50_ms, runs    of the inference alone
    networks.NAME.files.FILE.p50_low_ms, p50_high_ms   its 95 % interval
    networks.NAME.files.FILE.bytes, sha256, ops, xnnpack_partitions
    networks.NAME.files.FILE.logit_correlation   worst of some photos, with the float ONNX
    networks.NAME.files.FILE.ours_over.value, low, high   our p50 over its, of our file of the same
                                     format and precision; below 1: we are faster
    networks.NAME….skipped           why there is no figure, in the converter's words
    machine.story, facts, trace      in a line, in full, looks at it between the networks
    machine.doubts                   what casts doubt on figures: kind, file or null, text

FILE is ``WHO_PRECISION.FORMAT``, such as ``onnx2tf_int8.tflite``. The converters start from the
same weights and calibrate on the same photos. Our seconds are of one command for all four files,
with the photos' decoding, checks and latency runs; a peer's are of one file. The peers' int8 files
are given their input normalised and quantized, ours normalise raw pixels inside the timed graph.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from support import peers_markdown, report
from support.child import ChildFailedError, use_two_cores
from support.environments import versions
from support.interleaved import PREPROCESSING, TimedModel, by_load, likeness, time_over_loads
from support.peers import (
    ONNXRUNTIME,
    PEERS_IN_FLOAT,
    PEERS_MEASURED,
    Conversion,
    convert_ours,
    convert_with,
    our_file,
)
from support.peers_markdown import NETWORKS, OURS
from support.story import Story, Timed
from support.workload import Workload, add_photo_arguments, workload

from ghostedge_runtime.images import normalize
from ghostedge_runtime.record import Result

COMPARED_PHOTOS = 16


@dataclass(frozen=True)
class Converted:
    """One network's files by name, and how each converter fared."""

    inputs: Workload
    converters: dict[str, Conversion]
    files: dict[str, Path]


def main() -> None:
    args = _arguments()
    use_two_cores()
    converted = {name: _convert(name, args) for name in args.networks}
    story = Story()
    networks, results = {}, []
    for name, network in converted.items():
        print(f"timing {', '.join(network.files)} of {name} …", file=sys.stderr)
        networks[name], timings = _measured(name, network, args.loads)
        results += timings
        story.look()
    inputs = next(iter(converted.values())).inputs
    document = {
        "benchmark": "peers_table",
        "input": "224, batch 1, 1 thread, interleaved",
        "interpreters": versions(Path(sys.executable), ("ai-edge-litert", "onnxruntime")),
        "weights": inputs.weights_source,
        "photos": inputs.photo_source,
        "networks": networks,
        "machine": {**report.machine(), **story.told(results)},
    }
    text = peers_markdown.markdown(document)
    print(text)
    if args.readme:
        report.write_between_markers(args.readme, peers_markdown.MARKERS, text)
    report.finish(document)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--loads", type=int, default=12, help="of every file, each timed")
    parser.add_argument("--fresh", action="store_true", help="convert everything again")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="put the tables into it")
    add_photo_arguments(parser, photos=report.PHOTOS)
    return parser.parse_args()


def _convert(name: str, args: argparse.Namespace) -> Converted:
    """One network through every converter."""
    inputs = workload(args, name)
    converters = {OURS: _ours(inputs, reuse=not args.fresh)}
    _say(name, OURS, converters[OURS])
    for peer in (*PEERS_IN_FLOAT, *PEERS_MEASURED, ONNXRUNTIME):
        key = f"{peer.name}_{peer.writes}"
        converters[key] = convert_with(peer, inputs, reuse=not args.fresh)
        _say(name, key, converters[key])
    files = {f"{ONNXRUNTIME.name}_float.onnx": inputs.onnx}
    files |= {key: done.file for key, done in converters.items() if done.file and key != OURS}
    if converters[OURS].file:
        kinds = [(p, form) for p in ("float", "int8") for form in ("tflite", "onnx")]
        files |= {f"{OURS}_{p}.{form}": our_file(inputs, p, form) for p, form in kinds}
    return Converted(inputs, converters, files)


def _ours(inputs: Workload, *, reuse: bool) -> Conversion:
    try:
        return convert_ours(inputs, reuse=reuse)
    except ChildFailedError as error:
        return Conversion(OURS, "convert --int8", skipped=str(error))


def _say(name: str, key: str, done: Conversion) -> None:
    outcome = f"{done.usage.seconds} s" if done.usage else f"skipped: {done.skipped}"
    print(f"{name}, {key}: {outcome}", file=sys.stderr)


def _measured(
    network: str, converted: Converted, loads: int
) -> tuple[dict[str, Any], list[Result]]:
    """Time one network's files: the network's JSON record, and what the machine's doubts ask of."""
    records, models = _loaded(converted)
    time_over_loads(models, loads)
    reference = _reference(converted.inputs)
    timed = {
        key: Timed(f"{network} {key}", converted.files[key], by_load(model.rounds))
        for key, model in models.items()
    }
    for key, model in models.items():
        p50, ours = timed[key].p50_ms, timed.get(peers_markdown.counterpart(key))
        logits = [model.logits(photo) for photo in _photos(converted.inputs)]
        records[key] |= model.figures() | {
            "p50_low_ms": round(p50.low, 4),
            "p50_high_ms": round(p50.high, 4),
            "logit_correlation": likeness(logits, reference),
        }
        if ours and ours is not timed[key]:
            records[key]["ours_over"] = asdict(ours.over(timed[key]))
    converters = {key: done.as_json() for key, done in converted.converters.items()}
    record = {"converters": converters, "files": records | _skipped(converted.converters)}
    return record, [file.result for file in timed.values()]


def _loaded(converted: Converted) -> tuple[dict[str, dict[str, Any]], dict[str, TimedModel]]:
    """A record for each file, and the files that an interpreter takes."""
    image = _photos(converted.inputs)[0]
    records: dict[str, dict[str, Any]] = {}
    models: dict[str, TimedModel] = {}
    for key, file in converted.files.items():
        digest = sha256(file.read_bytes()).hexdigest()
        records[key] = {"bytes": file.stat().st_size, "sha256": digest}
        try:
            models[key] = TimedModel(file, image)
        except Exception as error:  # a refusal is a finding; ONNX Runtime's have no common base
            records[key]["skipped"] = str(error).strip().splitlines()[0]
    return records, models


def _skipped(converters: Mapping[str, Conversion]) -> dict[str, dict[str, Any]]:
    """A record for each file that a peer did not write."""
    return {
        key: {"skipped": done.skipped}
        for key, done in converters.items()
        if done.skipped and key != OURS
    }


def _photos(inputs: Workload) -> np.ndarray[Any, np.dtype[np.uint8]]:
    photos: np.ndarray[Any, np.dtype[np.uint8]] = np.load(inputs.calibration, mmap_mode="r")
    return photos[:COMPARED_PHOTOS]


def _reference(inputs: Workload) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """Logits of the float ONNX: guards against a file that is fast because it computes less."""
    session = onnxruntime.InferenceSession(str(inputs.onnx), providers=["CPUExecutionProvider"])
    batches = normalize(_photos(inputs), PREPROCESSING).transpose(0, 3, 1, 2)
    return [session.run(None, {"input": batch[None]})[0][0] for batch in batches]


if __name__ == "__main__":
    main()
