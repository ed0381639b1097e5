"""How long a whole conversion takes and how much memory, ours beside the peers'.

Each converter starts from the same GhostNet 1.0x weights at 224 with the same calibration photos,
in a process of its own on two cores. Ours is all of ``ghostedge convert MODEL --int8 --calib
PHOTOS -o OUT``: it decodes the photos, writes four artefacts, checks and times each. A peer gets
the photos decoded and cropped and writes one int8 TFLite, without checks.

Output: progress on stderr, a table, and as the last line one JSON object::

    converters.NAME.conversion_s     wall seconds from start of the process to its end
    converters.NAME.conversion_cpu_s   of all its processes and threads
    converters.NAME.peak_memory_mb   of the process tree, MB of 10⁶ bytes
    converters.NAME.versions, settings, bytes; skipped with the reason where it could not run
    converters.NAME.stages_s         of ours alone: wall seconds, by stage
    budget.conversion_s, peak_memory_mb, within   what ours is held to
"""

from __future__ import annotations

import argparse
import json
import sys

from support import report
from support.child import use_two_cores
from support.peers import PEERS_MEASURED, Conversion, convert_ours, convert_with
from support.workload import ARCHITECTURE, add_arguments, workload

BUDGET_SECONDS = 25
BUDGET_MEMORY_MB = 1500


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--skip-peers", action="store_true", help="measure ours only")
    parser.add_argument("--architecture", default=ARCHITECTURE, help="of the random weights")
    add_arguments(parser, photos=report.PHOTOS)
    args = parser.parse_args()
    use_two_cores()
    inputs = workload(args, args.architecture)
    machine = report.machine()
    conversions = [_said("ghostedge", convert_ours(inputs))]
    if not args.skip_peers:
        conversions += [_said(peer.name, convert_with(peer, inputs)) for peer in PEERS_MEASURED]
    print(
        report.table(
            ["converter", "seconds", "CPU seconds", "peak MB"], [_row(c) for c in conversions]
        )
    )
    report.finish(
        {
            "benchmark": "conversion",
            "model": f"{inputs.architecture}, 224, to int8",
            "weights": inputs.weights_source,
            "photos": inputs.photo_source,
            "converters": {c.name: c.as_json() for c in conversions}
            | {"ghostedge": conversions[0].as_json() | {"stages_s": _stages(conversions[0])}},
            "budget": _budget(conversions[0]),
            "machine": machine,
        }
    )


def _said(name: str, conversion: Conversion) -> Conversion:
    usage = conversion.usage
    text = f"{usage.seconds} s, {usage.peak_memory_mb} MB" if usage else conversion.skipped
    print(f"{name}: {text}", file=sys.stderr)
    return conversion


def _row(conversion: Conversion) -> list[str]:
    if not conversion.usage:
        return [conversion.name, "skipped", "–", "–"]
    usage = conversion.usage
    figures = (usage.seconds, usage.cpu_seconds, usage.peak_memory_mb)
    return [conversion.name, *(f"{figure:.1f}" for figure in figures)]


def _stages(ours: Conversion) -> dict[str, float]:
    if ours.file is None:
        return {}
    manifest = json.loads((ours.file.parent / "manifest.json").read_text(encoding="utf-8"))
    return {stage["name"]: stage["seconds"] for stage in manifest["stages"]}


def _budget(ours: Conversion) -> dict[str, object]:
    within = (
        ours.usage is not None
        and ours.usage.seconds <= BUDGET_SECONDS
        and ours.usage.peak_memory_mb <= BUDGET_MEMORY_MB
    )
    return {
        "conversion_s": BUDGET_SECONDS,
        "peak_memory_mb": BUDGET_MEMORY_MB,
        "within": within,
    }


if __name__ == "__main__":
    main()
