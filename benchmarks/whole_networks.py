"""Do whole networks that people build of ghost modules keep their function, and on which kernels?

Each network of ``benchmarks/networks`` is exported as ``--factory`` exports it, simplified, lowered
and quantized with 16 images for calibration; eight other images are compared with torch's answers.

Output: progress on stderr, a table, and as the last line one JSON object::

    networks.NAME.onnx_difference, tflite_difference    largest, over the output's largest number
    networks.NAME.int8_sqnr_db, int8_worst              of the TFLite file's worst output or part
    networks.NAME.float_ops, int8_ops                   operators of the TFLite file
    networks.NAME.float_xnnpack_ops, int8_xnnpack_ops   of them in XNNPACK
    networks.NAME.float_left, int8_left                 the others, by operator

Weights are random (seeded) behind batch norms that have seen images, which is harder on int8 than
training: see docs/outputs.md.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import networks
from networks.measure import (
    by_onnx_runtime,
    by_tflite,
    by_torch,
    int8,
    relative_difference,
    worst_part,
)
from support import report

from ghostedge_convert import export_onnx, to_deploy_graph

CALIBRATION, COMPARED = 16, 8


def measure(name: str) -> dict[str, Any]:
    """The figures of one network."""
    network, module = networks.NETWORKS[name], networks.make(name)
    images = networks.images(COMPARED, network.size, seed=5).numpy()
    calibration = networks.images(CALIBRATION, network.size, seed=6).numpy()
    wanted = by_torch(module, images)
    deploy = to_deploy_graph(export_onnx(module, input_size=network.size)).model
    lowered = by_tflite(deploy, images)
    integer = by_tflite(int8(deploy, calibration), images)
    ratio, worst = worst_part(deploy, integer.outputs, wanted)
    figures = {
        "title": network.title,
        "onnx_difference": relative_difference(by_onnx_runtime(deploy, images), wanted),
        "tflite_difference": relative_difference(lowered.outputs, wanted),
        "int8_sqnr_db": ratio,
        "int8_worst": worst,
    }
    for kind, file in (("float", lowered), ("int8", integer)):
        figures[f"{kind}_ops"] = file.delegation.ops_total
        figures[f"{kind}_xnnpack_ops"] = file.delegation.ops
        figures[f"{kind}_left"] = dict(file.delegation.left)
    return figures


def _share(figures: dict[str, Any], kind: str) -> str:
    share = 100 * figures[f"{kind}_xnnpack_ops"] / figures[f"{kind}_ops"]
    left = ", ".join(f"{count} {op}" for op, count in figures[f"{kind}_left"].items())
    return f"{share:.0f} % of {figures[f'{kind}_ops']}" + (f" (not {left})" if left else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=networks.NETWORKS, metavar="NAME")
    args = parser.parse_args()
    results = {}
    for name in args.networks or networks.NETWORKS:
        print(name, file=sys.stderr, flush=True)
        results[name] = measure(name)
    head = ["network", "ONNX", "TFLite", "int8, dB", "float in XNNPACK", "int8 in XNNPACK"]
    rows = [
        [
            figures["title"],
            f"{figures['onnx_difference']:.0e}",
            f"{figures['tflite_difference']:.0e}",
            f"{figures['int8_sqnr_db']:.1f} ({figures['int8_worst']})",
            _share(figures, "float"),
            _share(figures, "int8"),
        ]
        for figures in results.values()
    ]
    print(report.table(head, rows))
    report.finish({"benchmark": "whole_networks", "networks": results, "machine": report.machine()})


if __name__ == "__main__":
    main()
