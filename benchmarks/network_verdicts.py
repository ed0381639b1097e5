"""Are weights that were not trained as their network told from those that were?

Trained networks as they are and with a fault in the graph, each shown images like those of its
training once. Then sets of these are drawn, and each is judged.

    python benchmarks/network_verdicts.py --lite0 lite0.onnx

The bundled glyph network takes part always; GhostNet and ``examples/cifar10``'s RepGhostNet and
GhostNetV2 where ``--shared`` has CIFAR-10 and its network; EfficientNet-Lite0 where ``--lite0``
names its float ONNX with the batch norms still in it, on ``data/imagenet_sample``. The fault "no
identity shortcuts" in RepGhostNet is its variant ``wo``.

Output: progress on stderr, a table of each network as it is done, and as the last line one JSON
object::

    draws, fitting_draws              sets of each size, with a fault and without one
    verdicts.NETWORK.FAULT.IMAGES     how many sets of so many images had each verdict
    verdicts.NETWORK.FAULT.same_answer_pct    of the images, the same top-1 as without the fault
    verdicts.NETWORK.FAULT.begins     of sets of 32 images, the batch norm most often named
    verdicts.NETWORK.FAULT.fits_with  what is named in place of the fault, on 64 images
    verdicts.NETWORK.FAULT.naming_s   seconds that looking for it took
    verdicts.NETWORK.FAULT.largest_jump       over the sets of each size; null below 32 images

Any verdict but ``fits`` on the fault ``none`` is a false alarm; ``fits`` where answers change is a
miss. ``unclear`` says that network or images differ from training's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from calibration_findings import Subject, of_checkpoint, of_lite0, of_study
from onnx import helper
from support import report
from support.studies import NAMES, checkpoint_and_calibration

from ghostedge_convert.statistics import edits
from ghostedge_convert.statistics.fault import name_fault
from ghostedge_convert.statistics.measure import NormStatistics, measure_norms
from ghostedge_convert.statistics.network import judge_network
from ghostedge_runtime.images import normalize, prepare

SIZES = (16, 32, 64)
SHOWN = 32
NAMED = 64
"""As many images as ``ghostedge convert`` looks at."""
FAMILY = ("repghostnet", "ghostnetv2")
Graph = onnx.ModelProto
Images = npt.NDArray[np.float32]


def main() -> None:
    args = _arguments()
    verdicts = {}
    for subject in _subjects(args):
        verdicts[subject.name] = dict(_judged(subject, args))
        print(_table(subject.name, verdicts[subject.name]), end="\n\n", flush=True)
    report.finish(
        {
            "benchmark": "network_verdicts",
            "images": args.images,
            "draws": args.draws,
            "fitting_draws": args.fitting_draws,
            "verdicts": verdicts,
            "machine": report.machine(),
        }
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=report.SHARED, help="data, weights")
    parser.add_argument("--lite0", type=Path, help="EfficientNet-Lite0's float ONNX")
    parser.add_argument("--images", type=int, default=160, help="to draw from")
    parser.add_argument("--draws", type=int, default=20, help="sets of each size")
    parser.add_argument("--fitting-draws", type=int, default=100, help="where there is no fault")
    return parser.parse_args()


def _subjects(args: argparse.Namespace) -> Iterator[Subject]:
    cifar, glyphs = NAMES
    yield of_study(glyphs, args.shared)
    if not (args.shared / "data" / "cifar10").exists():
        print(f"no CIFAR-10 in {args.shared}: the glyph network alone", file=sys.stderr)
    else:
        yield of_study(cifar, args.shared)
        _, images = checkpoint_and_calibration(cifar, args.shared)
        for name in FAMILY:
            weights = report.REPO / "examples" / "cifar10" / name / "model.safetensors"
            yield of_checkpoint(name, weights, images)
    if args.lite0 is not None:
        yield of_lite0(args.lite0, args.shared)


def _judged(subject: Subject, args: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    images = _images(subject, args.images)
    right = _answers(subject.network, images)
    for fault, edit in FAULTS.items():
        changed = Graph()
        changed.CopyFrom(subject.network)
        if not edit(changed):
            continue
        print(f"{subject.name}: {fault}", file=sys.stderr, flush=True)
        statistics = measure_norms(changed, [images])
        assert statistics is not None
        draws = args.draws if fault != "none" else args.fitting_draws
        same = float((_answers(changed, images) == right).mean() * 100)
        start = time.perf_counter()
        named = name_fault(changed, images[:NAMED], statistics.of(range(NAMED)))
        yield (
            fault,
            {
                "same_answer_pct": round(same, 1),
                **_of_sets(statistics, draws),
                "fits_with": named.fits_with,
                "naming_s": round(time.perf_counter() - start, 1),
            },
        )


def _of_sets(statistics: NormStatistics, draws: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    figures: dict[str, Any] = {"largest_jump": {}}
    for size in SIZES:
        sets = [random.choice(statistics.images, size, replace=False) for _ in range(draws)]
        judged = [judge_network(statistics.of(images.tolist())) for images in sets]
        figures[str(size)] = dict(Counter(verdict.verdict for verdict in judged))
        jumps = [round(verdict.jump, 2) for verdict in judged if verdict.jump is not None]
        figures["largest_jump"][str(size)] = max(jumps, default=None)
        if size == SHOWN:
            named = Counter(verdict.begins for verdict in judged if verdict.begins)
            figures["begins"] = named.most_common(1)[0][0].split("/")[0] if named else None
    return figures


def _images(subject: Subject, count: int) -> Images:
    order = np.random.default_rng(0).permutation(len(subject.images))[:count]
    pixels = [prepare(str(subject.images[place]), subject.preprocessing) for place in order]
    normal = normalize(np.stack(pixels), subject.preprocessing)
    return np.ascontiguousarray(normal.transpose(0, 3, 1, 2))


def _answers(model: Graph, images: Images) -> npt.NDArray[np.int64]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    name = session.get_inputs()[0].name
    return np.array([session.run(None, {name: image[None]})[0].argmax() for image in images])


def _without_gates(model: Graph, at_most: int | None = None) -> bool:
    """Squeeze-and-excitation leaves its input as it is."""
    gates = {node.output[0] for node in model.graph.node if node.op_type == "HardSigmoid"}
    products = [n for n in model.graph.node if n.op_type == "Mul" and gates & set(n.input)]
    for node in products[:at_most]:
        node.op_type = "Identity"
        node.input[:] = [name for name in node.input if name not in gates]
    return bool(products)


def _with_strides_before(model: Graph, at_most: int | None = None) -> bool:
    """The depthwise convolutions' strides are on the pointwise ones before them.

    But for blocks of attention (GhostNetV2), whose product of both then has no shape.
    """
    nodes = {node.name: node for node in model.graph.node}
    strided = [
        name
        for name in nodes
        if name.endswith(".conv_dw/Conv")
        and name.replace(".conv_dw/Conv", ".ghost1/Mul") not in nodes
    ]
    for name in strided[:at_most]:
        before = nodes[name.replace(".conv_dw/", ".ghost1.primary_conv.0/")]
        _set_stride(nodes[name], 1)
        _set_stride(before, 2)
    del model.graph.value_info[:]
    return bool(strided)


def _set_stride(conv: onnx.NodeProto, stride: int) -> None:
    others = [attribute for attribute in conv.attribute if attribute.name != "strides"]
    del conv.attribute[:]
    conv.attribute.extend([*others, helper.make_attribute("strides", [stride, stride])])


FAULTS: dict[str, Callable[[Graph], bool]] = {
    "none": lambda _: True,
    "ReLU6 for ReLU": edits.relu6_for_relu,
    "ReLU for ReLU6": edits.relu_for_relu6,
    "Sigmoid for HardSigmoid": edits.sigmoid_for_hard_sigmoid,
    "no identity shortcuts": edits.without_identity_shortcuts,
    "no squeeze-and-excitation": _without_gates,
    "none in the first block that has it": lambda model: _without_gates(model, 1),
    "strides before the depthwise convolutions": _with_strides_before,
    "the same in the first such block": lambda model: _with_strides_before(model, 1),
    "epsilon 1e-3": edits.epsilon_of_1e3,
    "epsilon 1e-5": edits.epsilon_of_1e5,
}
"""In words → edits a graph in place and says whether there was anything to edit."""


def _table(network: str, faults: dict[str, dict[str, Any]]) -> str:
    sizes = [f"{size} images" for size in SIZES]
    rows = [
        [fault, f"{figures['same_answer_pct']:.1f}"]
        + [_in_words(figures[str(size)]) for size in SIZES]
        + [figures["begins"] or "", figures["fits_with"] or ""]
        for fault, figures in faults.items()
    ]
    return report.table([network, "same top-1, %", *sizes, "begins", "named"], rows)


def _in_words(verdicts: dict[str, int]) -> str:
    return ", ".join(f"{verdict} {count}" for verdict, count in sorted(verdicts.items()))


if __name__ == "__main__":
    main()
