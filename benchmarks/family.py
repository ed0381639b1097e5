"""What int8 keeps of the family's trained members: the networks of ``examples/cifar10``.

Each is converted by one ``ghostedge convert MODEL --int8 --calib … --eval … --json``, RepGhost from
its training form: 500 training images of CIFAR-10 set the ranges, the test images score. The images
are not part of the repository: ``--shared`` names the folder that holds
``data/cifar10/{train,test}.zip``.

Output: progress on stderr, a Markdown table, and as the last line one JSON object::

    networks[].name, size_px
    networks[].artefacts[]         as in accuracy.py
    networks[].loss_points.onnx, tflite
    budget.drop_points, agreement_pct
    missed                         in words, empty where every network holds the budget
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from support import report, scored
from support.studies import CALIBRATION_IMAGES, CIFAR_TEST, CIFAR_TRAIN, extract, need

MAX_DROP_POINTS = 0.3
MIN_AGREEMENT_PCT = 98.5
NETWORKS = report.REPO / "examples" / "cifar10"
WORK = report.CACHE / "family"


def main() -> None:
    args = _arguments()
    train, test = (need(args.shared, name) for name in (CIFAR_TRAIN, CIFAR_TEST))
    calibration = extract(train, WORK / "calibration", CALIBRATION_IMAGES)
    evaluation = extract(test, WORK / "test", args.test_images)
    networks = []
    for model in sorted(NETWORKS.glob("*/model.safetensors")):
        name = model.parent.name
        manifest = scored.convert(model, calibration, evaluation, WORK / name, *args.extra)
        networks.append(_network(name, manifest))
    print(_table(networks))
    report.finish(
        {
            "benchmark": "family",
            "calibration_images": CALIBRATION_IMAGES,
            "test_images": networks[0]["test_images"],
            "extra_arguments": args.extra,
            "networks": networks,
            "budget": {"drop_points": MAX_DROP_POINTS, "agreement_pct": MIN_AGREEMENT_PCT},
            "missed": [sentence for network in networks for sentence in _missed(network)],
            "machine": report.machine(),
        }
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=report.SHARED, help="the data")
    parser.add_argument("--test-images", type=int, help="score fewer, for a quick look")
    parser.add_argument("extra", nargs="*", help="after --: more options for ghostedge convert")
    return parser.parse_args()


def _network(name: str, manifest: Any) -> dict[str, Any]:
    files = scored.rows(manifest)
    return {
        "name": name,
        "architecture": manifest["metadata"]["architecture"]["name"],
        "size_px": manifest["metadata"]["preprocessing"]["input_size"][0],
        "test_images": manifest["artefacts"][0]["accuracy"]["images"],
        "artefacts": files,
        "loss_points": scored.losses(files),
        "missed_by_convert": manifest["missed"],
    }


def _missed(network: dict[str, Any]) -> list[str]:
    """What of the budget a network does not hold."""
    sentences = list(network["missed_by_convert"])
    for row in network["artefacts"]:
        if row["precision"] != "int8":
            continue
        drop, agreement = network["loss_points"][row["format"]], row["agreement_pct"]
        place = f"{network['name']}, {row['file']}"
        if drop > MAX_DROP_POINTS:
            sentences.append(f"{place}: int8 loses {drop} points, at most {MAX_DROP_POINTS}")
        if agreement < MIN_AGREEMENT_PCT:
            sentences.append(f"{place}: agrees on {agreement} %, at least {MIN_AGREEMENT_PCT} %")
    return sentences


def _table(networks: list[dict[str, Any]]) -> str:
    head = ["network", "px", "format", "float: top-1 %", "int8: top-1 %", "drop"]
    head += ["agreement %", "SQNR dB", "MB", "p50 ms"]
    lines = []
    for network in networks:
        files = {(row["format"], row["precision"]): row for row in network["artefacts"]}
        for kind in ("onnx", "tflite"):
            full, int8 = files[kind, "float32"], files[kind, "int8"]
            lines.append(
                [
                    network["architecture"],
                    str(network["size_px"]),
                    kind,
                    f"{full['top1_pct']:.2f}",
                    f"{int8['top1_pct']:.2f}",
                    f"{network['loss_points'][kind]:.2f}",
                    f"{int8['agreement_pct']:.2f}",
                    f"{int8['sqnr_db']:.1f}",
                    f"{full['bytes'] / 1e6:.2f} → {int8['bytes'] / 1e6:.2f}",
                    f"{full['p50_ms']:.2f} → {int8['p50_ms']:.2f}",
                ]
            )
    return report.table(head, lines)


if __name__ == "__main__":
    main()
