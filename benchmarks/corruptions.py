"""Where does int8 give way first on images that are noisy, blurred, pale or hazy?

Two networks, each converted by one ``ghostedge convert MODEL --int8 --calib …``; their float and
int8 TFLite files are then scored as ``ghostedge bench --data … --corruptions all`` scores them:
seven corruptions at five strengths (docs/bench.md#corrupted-images). GhostNet 1.0x trained on
CIFAR-10 is calibrated on 500 training images and scored on test images; EfficientNet-Lite0 with its
published ImageNet weights (``support.imagenet``) is calibrated on 84 photographs and scored on
others. The images are not in the repository: ``--shared`` names the folder that holds them.

Output: progress on stderr, the tables, and as the last line one JSON object::

    networks.NAME.images, of_images
    networks.NAME.clean            float_pct, int8_pct
    networks.NAME.first            corruption and strength at which int8 gives way first, or null
    networks.NAME.corruptions.CORRUPTION.strengths[]   float_pct, int8_pct, beyond_points with its
                                   95 % interval, shown
    networks.NAME.corruptions.CORRUPTION.mean_beyond_points   over the strengths
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from support import imagenet, report
from support.studies import CIFAR_MODEL, CIFAR_TEST, CIFAR_TRAIN, Study, extract, need

from ghostedge.comparison.corrupted import CorruptedPair, CorruptionLoss, corrupted_pairs
from ghostedge.show.corruption_tables import corrupted_tables
from ghostedge.show.markdown import table
from ghostedge_runtime import Model, host_facts
from ghostedge_runtime.bench.job import make_job
from ghostedge_runtime.corruptions import CORRUPTIONS
from ghostedge_runtime.evaluation import score_corrupted
from ghostedge_runtime.folders import list_labelled
from ghostedge_runtime.record import Result

WORK = report.CACHE / "corruptions"


def main() -> None:
    args = _arguments()
    networks = {name: NETWORKS[name](args.shared, args.images) for name in args.networks}
    report.finish({"benchmark": "corruptions", "networks": networks, "machine": report.machine()})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=report.SHARED, help="data and weights")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--images", type=int, help="of each network; by default 1,000 and 250")
    return parser.parse_args()


def _cifar(shared: Path, images: int | None) -> dict[str, Any]:
    model, train, test = (need(shared, name) for name in (CIFAR_MODEL, CIFAR_TRAIN, CIFAR_TEST))
    folder = WORK / "cifar"
    calibration = extract(train, folder / "calibration", None)  # ours takes 500 of them
    study = Study("cifar", model, calibration, extract(test, folder / "test", None))
    return _scored(study, images or 1000)


def _lite0(shared: Path, images: int | None) -> dict[str, Any]:
    network, test = imagenet.NETWORKS["lite0"], WORK / "lite0" / "test"
    weights, factory = imagenet.installed(network)
    if not test.exists():
        with zipfile.ZipFile(need(shared, imagenet.PHOTOGRAPHS)) as archive:
            archive.extractall(test)
    study = Study(
        name="lite0",
        model=weights,
        calibration=need(shared, Path("data", "photos")),
        test=test,
        preprocessing=network.preprocessing,
        factory=factory,
        labels=need(shared, imagenet.LABELS),
    )
    return _scored(study, images or 250)


def _scored(study: Study, images: int) -> dict[str, Any]:
    """Score the float and the int8 TFLite file in one pass; what was converted is kept."""
    converted = WORK / study.name / "out"
    if not converted.exists():
        command = [*study.command, "--int8", "--calib", str(study.calibration)]
        environment = os.environ | study.environment
        command += ["-o", str(converted)]
        subprocess.run(command, check=True, stdout=sys.stderr, env=environment)
    name = json.loads((converted / "manifest.json").read_text(encoding="utf-8"))["name"]
    files = [converted / f"{name}.tflite", converted / f"{name}_int8.tflite"]
    models = [Model(file) for file in files]
    every = list_labelled(study.test, models[0].described.labels, models[0].num_classes)
    scores = score_corrupted(
        models, every.spread(images), list(CORRUPTIONS), workers=host_facts().cores
    )
    results = [
        Result(case, corrupted=replace(of_file, of_images=len(every.paths)))
        for case, of_file in zip(make_job(files).cases, scores, strict=True)
    ]
    (pair,) = corrupted_pairs(results)
    (shown,) = corrupted_tables(results, [file.name for file in files])
    print(f"{shown.title}\n\n{table(shown.selection)}\n\n{shown.verdict}\n", flush=True)
    return _document(pair)


def _document(pair: CorruptedPair) -> dict[str, Any]:
    first = pair.first
    way = first.gives_way if first else None
    return {
        "images": pair.scores.images,
        "of_images": pair.scores.of_images,
        "clean": dict(zip(("float_pct", "int8_pct"), pair.clean, strict=True)),
        "first": way and first and {"corruption": first.corruption, "strength": way.strength},
        "corruptions": {loss.corruption: _of_corruption(loss) for loss in pair.losses},
    }


def _of_corruption(loss: CorruptionLoss) -> dict[str, Any]:
    return {
        "strengths": [
            {
                "float_pct": each.reference_pct,
                "int8_pct": each.top1_pct,
                "beyond_points": asdict(each.beyond),
                "shown": each.shown,
            }
            for each in loss.strengths
        ],
        "mean_beyond_points": asdict(loss.mean),
    }


NETWORKS: Mapping[str, Callable[[Path, int | None], dict[str, Any]]] = {
    "ghostnet_100_cifar10": _cifar,
    "efficientnet_lite0": _lite0,
}

if __name__ == "__main__":
    main()
