"""The tables of ``peers_table.py`` in Markdown, drawn from its JSON alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from support.report import table

OURS = "ghostedge"
NETWORKS = {
    "ghostnet_050": "GhostNet 0.5x",
    "ghostnet_100": "GhostNet 1.0x",
    "ghostnet_130": "GhostNet 1.3x",
    "ghostnetv2_100": "GhostNetV2 1.0x",
    "ghostnetv3_100": "GhostNetV3 1.0x",
    "repghostnet_100": "RepGhostNet 1.0x",
}
_FILES = {
    "ours, TFLite": "ghostedge_{}.tflite",
    "onnx2tf": "onnx2tf_{}.tflite",
    "litert-torch": "litert_torch_{}.tflite",
    "ours, ONNX": "ghostedge_{}.onnx",
    "ONNX Runtime's": "onnxruntime_{}.onnx",
}
_CONVERTERS = {
    "ours, all four files": OURS,
    "onnx2tf, float": "onnx2tf_float.tflite",
    "onnx2tf, int8": "onnx2tf_int8.tflite",
    "litert-torch, float": "litert_torch_float.tflite",
    "litert-torch, int8": "litert_torch_int8.tflite",
    "ONNX Runtime's, int8": "onnxruntime_int8.onnx",
}
_PRECISIONS = ("float", "int8")
MARKERS = ("<!-- peers_table.py -->", "<!-- end of peers_table.py -->")
_MB = 1e6


def counterpart(file: str) -> str:
    """The name of our file that a file is compared with: of its precision and format."""
    return f"{OURS}_{file.rpartition('_')[2]}"


def markdown(document: Mapping[str, Any]) -> str:
    """The tables under their headings, the machine's story in the first line."""
    networks = document["networks"]
    return "\n\n".join(
        [
            _story(document),
            "Latency, p50 in ms; behind a peer's, our time over it with its 95 % interval "
            "(below 1: ours is faster).",
            _of_files(networks, _latency),
            "Size in MB.",
            _of_files(networks, lambda record: f"{record['bytes'] / _MB:.2f}"),
            "Is it the same network? Worst correlation of a photo's logits with the float ONNX's.",
            _of_files(networks, lambda record: f"{record['logit_correlation']:.3f}"),
            "Conversion: seconds, and the most memory it held in GB.",
            _of_converters(networks),
        ]
    )


def _story(document: Mapping[str, Any]) -> str:
    machine = document["machine"]
    whole = [doubt["text"] for doubt in machine["doubts"] if doubt["file"] is None]
    of_files: dict[str, list[str]] = {}
    for doubt in machine["doubts"]:
        if doubt["file"]:
            of_files.setdefault(doubt["kind"], []).append(doubt["file"])
    doubts = [*whole, *(f"{kind}: {', '.join(files)}" for kind, files in of_files.items())]
    runtimes = document["interpreters"]
    return (
        f"Measured on {machine['story']}, {machine['os']}, {machine['kernel']}; "
        f"LiteRT {runtimes['ai-edge-litert']}, ONNX Runtime {runtimes['onnxruntime']}. "
        f"Doubts about the figures: {'; '.join(doubts) or 'none'}."
    )


def _of_files(networks: Mapping[str, Any], cell: Callable[[Mapping[str, Any]], str]) -> str:
    rows = []
    for name, network in networks.items():
        for precision in _PRECISIONS:
            files = [network["files"].get(file.format(precision)) for file in _FILES.values()]
            cells = ["skipped" if not f or "skipped" in f else cell(f) for f in files]
            rows.append([NETWORKS[name], precision, *cells])
    return table(["network", "", *_FILES], rows)


def _latency(record: Mapping[str, Any]) -> str:
    over = record.get("ours_over")
    if not over:
        return f"{record['p50_ms']:.2f}"
    return f"{record['p50_ms']:.2f} · {over['value']:.2f} [{over['low']:.2f}, {over['high']:.2f}]"


def _of_converters(networks: Mapping[str, Any]) -> str:
    rows = []
    for name, network in networks.items():
        records = [network["converters"][converter] for converter in _CONVERTERS.values()]
        rows.append([NETWORKS[name], *map(_conversion, records)])
    return table(["network", *_CONVERTERS], rows)


def _conversion(record: Mapping[str, Any]) -> str:
    if "conversion_s" not in record:
        return "skipped"
    return f"{record['conversion_s']:.0f} s · {record['peak_memory_mb'] / 1000:.1f} GB"
