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
    artefacts[].sqnr_db            of int8's logits, against those of the float artefact
    artefacts[].p50_ms, speed_up   one thread, inference alone
    loss_points.onnx, tflite       top-1 of float minus int8; budget_points is the most allowed
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from support import report, scored
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
    manifest = scored.convert(model, calibration, evaluation, WORK / "out", *args.extra)
    rows = scored.rows(manifest)
    print(_table(rows))
    report.finish(
        {
            "benchmark": "accuracy",
            "model": "GhostNet 1.0x, CIFAR-10, 64×64",
            "calibration_images": CALIBRATION_IMAGES,
            "test_images": manifest["artefacts"][0]["accuracy"]["images"],
            "extra_arguments": args.extra,
            "artefacts": rows,
            "loss_points": scored.losses(rows),
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
