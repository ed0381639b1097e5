"""What int8 costs and brings on real weights: the result table of the README.

GhostNet 1.0x trained on CIFAR-10 at 64×64, calibrated on 500 training images and scored on the
test images, all by one ``ghostedge convert MODEL --int8 --calib … --eval … --json``. The weights
and images are not part of the repository: ``--shared`` names the folder that holds
``models/ghostnet_100_cifar10_64`` and ``data/cifar10/{train,test}.zip``.

Output: progress on stderr, a Markdown table, and as the last line one JSON object::

    artefacts[].file, format, precision, bytes
    artefacts[].top1_pct           on the test images
    artefacts[].agreement_pct      same top-1 as the float artefact of its format (float: as the
                                   checkpoint), on the images that the conversion compared
    artefacts[].p50_ms, speed_up   one thread, inference alone
    loss_points.onnx, tflite       top-1 of float minus int8; budget_points is the most allowed
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

from support import report
from support.peers import ghostedge
from support.studies import (
    CALIBRATION_IMAGES,
    CIFAR_MODEL,
    CIFAR_TEST,
    CIFAR_TRAIN,
    extract,
    need,
)

BUDGET_POINTS = 1.0
WORK = report.CACHE / "accuracy"


def main() -> None:
    args = _arguments()
    model, train, test = (
        need(args.shared, name) for name in (CIFAR_MODEL, CIFAR_TRAIN, CIFAR_TEST)
    )
    calibration = extract(train, WORK / "calibration", CALIBRATION_IMAGES)
    evaluation = extract(test, WORK / "test", args.test_images)
    output = WORK / "out"
    command = [ghostedge(), "convert", str(model), "--int8", "--json", "-o", str(output)]
    command += ["--calib", str(calibration), "--eval", str(evaluation), *args.extra]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 3):  # 3: done, a budget was missed; the manifest says which
        raise SystemExit(done.returncode)
    manifest = json.loads(done.stdout)
    rows = [_row(artefact) for artefact in manifest["artefacts"]]
    print(_table(rows))
    report.finish(
        {
            "benchmark": "accuracy",
            "model": "GhostNet 1.0x, CIFAR-10, 64×64",
            "calibration_images": CALIBRATION_IMAGES,
            "test_images": manifest["artefacts"][0]["accuracy"]["images"],
            "extra_arguments": args.extra,
            "artefacts": rows,
            "loss_points": _losses(rows),
            "budget_points": BUDGET_POINTS,
            "missed": manifest["missed"],
            "stages_s": {stage["name"]: stage["seconds"] for stage in manifest["stages"]},
            "versions": manifest["versions"],
            "machine": report.machine(),
        }
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=report.SHARED, help="data and weights")
    parser.add_argument("--test-images", type=int, help="score fewer, for a quick look")
    parser.add_argument("extra", nargs="*", help="after --: more options for ghostedge convert")
    return parser.parse_args()


def _row(artefact: dict[str, Any]) -> dict[str, Any]:
    float_agreement = artefact["float_agreement_pct"]
    parity = artefact["parity"]["agreement_pct"]
    return {
        **{key: artefact[key] for key in ("file", "format", "precision", "bytes")},
        "agreement_pct": parity if float_agreement is None else float_agreement,
        "top1_pct": artefact["accuracy"]["top1_pct"],
        "p50_ms": artefact["latency"]["p50_ms"]["value"],
        "speed_up": artefact["speed_up"],
    }


def _losses(rows: list[dict[str, Any]]) -> dict[str, float]:
    top1 = {(row["format"], row["precision"]): row["top1_pct"] for row in rows}
    return {
        kind: round(top1[kind, "float32"] - top1[kind, "int8"], 3) for kind in ("onnx", "tflite")
    }


def _table(rows: list[dict[str, Any]]) -> str:
    head = ["artefact", "precision", "MB", "agreement %", "top-1 %", "p50 ms", "speed-up"]
    cells = [
        [
            row["format"],
            row["precision"],
            f"{row['bytes'] / 1e6:.2f}",
            f"{row['agreement_pct']:.2f}",
            f"{row['top1_pct']:.2f}",
            f"{row['p50_ms']:.3f}",
            f"{row['speed_up']:.2f}×" if row["speed_up"] else "–",
        ]
        for row in rows
    ]
    return report.table(head, cells)


if __name__ == "__main__":
    main()
