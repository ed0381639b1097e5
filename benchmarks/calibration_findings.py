"""How often does the calibration doctor err: findings on fitting images, and ailments it misses?

A pool of each network's images is measured as it is, and ill in one way after another. Sets of 16,
32, 64 and 128 are drawn of each pool, and it is counted on how many of them what
``ghostedge convert --calib`` says is said: ``odd`` and ``unlike`` of the batch norms, ``turned`` of
the answers. On fitting sets whatever is found is wrong. Then one set of each ailment is examined
whole, which also names the cause.

    python benchmarks/calibration_findings.py --draws 100

EfficientNet-Lite0 takes part where ``--lite0`` names its float ONNX with the batch norms still in
it; its images are ``data/imagenet_sample``.

Output: a Markdown table, and as the last line one JSON object::

    rows[].network, pool, images  what was drawn from, how many images a set has
    rows[].draws                  how many sets
    rows[].odd, unlike, turned    on how many of them that is found; turned by any angle
    rows[].named                  kinds that one whole examination of 32 images names
    wrong_pct                     share of all fitting sets with any of the three
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from PIL import Image, ImageFilter
from support import report
from support.studies import NAMES, checkpoint_and_calibration

from ghostedge_convert import build, detect_architecture, load_checkpoint, resolve_preprocessing
from ghostedge_convert.export import export_onnx
from ghostedge_convert.statistics.doctor import (
    divergences_alone,
    early_divergence,
    examine_images,
    odd_images,
    unlike_bound,
)
from ghostedge_convert.statistics.measure import NormStatistics, measure_norms
from ghostedge_convert.statistics.trials import SURE, Entropies, ExaminedImages, standard_errors
from ghostedge_runtime.images import list_images
from ghostedge_runtime.metadata import Preprocessing

SIZES = (16, 32, 64, 128)
EXAMINED = 32
LITE0 = Preprocessing((224, 224), "bicubic", 0.875, (127 / 255,) * 3, (128 / 255,) * 3)


@dataclass(frozen=True)
class Subject:
    """A network with its batch norms, how it takes images, and images like those of training."""

    name: str
    network: onnx.ModelProto
    preprocessing: Preprocessing
    images: list[Path]


def main() -> None:
    args = _arguments()
    subjects = [of_study(name, args.shared) for name in args.studies]
    if args.lite0 is not None:
        subjects.append(of_lite0(args.lite0, args.shared))
    rows = [row for subject in subjects for row in _rows(subject, args)]
    counted = ("network", "pool", "images", "draws", "odd", "unlike", "turned", "named")
    print(report.table(counted, [[str(row[name]) for name in counted] for row in rows]))
    fitting = [row for row in rows if row["pool"] == "fitting"]
    wrong = sum(row["wrong"] for row in fitting)
    report.finish(
        {
            "benchmark": "calibration_findings",
            "rows": rows,
            "wrong_pct": 100 * wrong / sum(row["draws"] for row in fitting),
            "machine": report.machine(),
        }
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=report.SHARED, help="data and weights")
    parser.add_argument("--studies", nargs="*", default=list(NAMES), choices=NAMES)
    parser.add_argument("--lite0", type=Path, help="EfficientNet-Lite0's float ONNX")
    parser.add_argument("--pool", type=int, default=256, help="images of each pool")
    parser.add_argument("--draws", type=int, default=100, help="sets of each pool and size")
    return parser.parse_args()


def of_study(name: str, shared: Path) -> Subject:
    """A trained network of ``support.studies``, with its calibration images."""
    model, calibration = checkpoint_and_calibration(name, shared)
    return of_checkpoint(name, model, calibration)


def of_checkpoint(name: str, model: Path, images: Path) -> Subject:
    """A checkpoint that says how its images are prepared, and the folder of these."""
    checkpoint = load_checkpoint(model)
    architecture = detect_architecture(checkpoint).architecture
    preprocessing = resolve_preprocessing(checkpoint, architecture).preprocessing
    network = export_onnx(
        build(checkpoint, architecture), input_size=preprocessing.input_size, batch=1
    )
    return Subject(name, network, preprocessing, list_images(images))


def of_lite0(file: Path, shared: Path) -> Subject:
    """EfficientNet-Lite0's float ONNX, with photographs."""
    folder = report.CACHE / "imagenet_sample"
    if not folder.exists():
        with zipfile.ZipFile(shared / "data" / "imagenet_sample" / "images.zip") as archive:
            archive.extractall(folder)
    return Subject("efficientnet_lite0", onnx.load(file), LITE0, list_images(folder))


def _rows(subject: Subject, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(0)
    places = random.permutation(len(subject.images))[: args.pool]
    images = [Image.open(subject.images[place]).convert("RGB") for place in places]
    geometry = subject.preprocessing
    pools = {"fitting": (images, geometry)}
    for title, ail in _AILMENTS.items():
        pools[title] = ([ail(image, random) for image in images[: max(SIZES)]], geometry)
    for crop in (0.5, 0.7):
        pools[f"crop_pct {crop}"] = (images[: max(SIZES)], replace(geometry, crop_pct=crop))
    if geometry != LITE0:
        photos = list_images(args.shared / "data" / "photos")
        pools["photographs"] = ([Image.open(path).convert("RGB") for path in photos], geometry)
    for title, (pool, preprocessing) in pools.items():
        print(f"{subject.name}: {title}", file=sys.stderr)
        yield from _pool_rows(replace(subject, preprocessing=preprocessing), title, pool, args)


def _pool_rows(
    subject: Subject, title: str, images: Sequence[Image.Image], args: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    examined = ExaminedImages.prepared(images, subject.preprocessing)
    statistics = _measured(subject, examined)
    alone = divergences_alone(statistics)
    entropies = Entropies(subject.network)
    given, *turned = (entropies.of(examined, turn) for turn in range(4))
    random = np.random.default_rng(1)
    for size in SIZES:
        counts: Counter[str] = Counter()
        for _ in range(args.draws if size <= len(images) else 0):
            drawn = random.choice(len(images), size, replace=False)
            odd = odd_images(alone, drawn.tolist())
            usable = [int(place) for place in drawn if place not in odd]
            divergence = early_divergence(statistics, usable)
            kinds = {
                "odd": bool(odd),
                "unlike": divergence > unlike_bound(len(usable)),
                "turned": any(standard_errors((given - t)[drawn]) > SURE for t in turned),
            }
            counts.update({**kinds, "wrong": any(kinds.values())})
        named = _named(subject, images[:EXAMINED]) if size == EXAMINED else ""
        if size <= len(images):
            row = {"network": subject.name, "pool": title, "images": size, "draws": args.draws}
            found = {kind: counts[kind] for kind in ("odd", "unlike", "turned", "wrong")}
            yield {**row, **found, "named": named}


def _measured(subject: Subject, images: ExaminedImages) -> NormStatistics:
    statistics = measure_norms(subject.network, images.batches(lambda pixels: pixels))
    if statistics is None:
        raise ValueError(f"{subject.name} has no batch norms")
    return statistics


def _named(subject: Subject, images: Sequence[Image.Image]) -> str:
    examined = ExaminedImages.prepared(images, subject.preprocessing)
    findings = examine_images(subject.network, examined, _measured(subject, examined))
    return ", ".join(finding.kind for finding in findings) or "none"


def _noisy(sigma: float) -> Callable[[Image.Image, np.random.Generator], Image.Image]:
    def ail(image: Image.Image, random: np.random.Generator) -> Image.Image:
        noise = random.normal(0, sigma, (*image.size[::-1], 3))
        return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))

    return ail


_AILMENTS: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "upside down": lambda image, _: image.transpose(Image.Transpose.ROTATE_180),
    "on their side": lambda image, _: image.transpose(Image.Transpose.ROTATE_90),
    "noise of 10": _noisy(10),
    "noise of 25": _noisy(25),
    "noise of 50": _noisy(50),
    "blurred, 1/64 of the side": lambda image, _: image.filter(
        ImageFilter.GaussianBlur(min(image.size) / 64)
    ),
    "blurred, 1/32 of the side": lambda image, _: image.filter(
        ImageFilter.GaussianBlur(min(image.size) / 32)
    ),
}
"""What is done to every image of a set; noise is a standard deviation, of 255."""


if __name__ == "__main__":
    main()
