"""The tables of ``imagenet_weights.py`` in Markdown, drawn from its JSON alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from support.imagenet import NETWORKS
from support.report import table

MARKERS = ("<!-- imagenet_weights.py -->", "<!-- end of imagenet_weights.py -->")
_OURS = {"ours, TFLite": "tflite", "ours, ONNX": "onnx"}
_FIGURES = ("top1_pct", "drop_points", "agreement_pct", "expected_agreement_pct", "sqnr_db")
_HEAD = ("top-1 %", "drop", "agreement %", "expected %", "SQNR dB")


def markdown(document: Mapping[str, Any]) -> str:
    """The tables under their headings, the machine in the first line."""
    machine, networks = document["machine"], document["networks"]
    images = document["images_per_fold"] * len(document["folds"])
    parts = [
        f"Measured on {machine['cpu']}, {machine['os']}; load average "
        f"{machine['load_average_1min']} at the end. Scored on {images} photographs.",
        "Int8 beside float. ms: CPU time of an inference on one thread, p50; behind it our file of "
        "the same format over it, with the 95 % interval (below 1: ours is faster).",
        _scores(networks),
    ]
    if document["wrong_guess"]:
        parts += [
            "The cost of a wrong guess: ImageNet's mean and std in place of (pixel - 127) / 128; "
            "int8 is held to the float network that was given the same.",
            _guesses(networks, document["wrong_guess"]),
        ]
    return "\n\n".join(parts)


def _scores(networks: Mapping[str, Any]) -> str:
    rows = []
    for name, network in networks.items():
        latency, title = network["latency"], NETWORKS[name].title
        top1 = f"{network['float']['top1_pct']:.1f}"
        milliseconds = latency["ghostedge_float.tflite"]["cpu_p50_ms"]
        rows.append([title, "float", "", top1, "", "", "", "", f"{milliseconds:.1f}"])
        for who, kind in _OURS.items():
            timed = latency[f"ghostedge.{kind}"]
            rows.append([title, who, "", *_figures(network["ours"][kind]), _ms(timed)])
        for who, peer in network["peers"].items():
            rows.append([title, who, *_peer(peer, latency)])
    return table(["network", "int8 by", "setting", *_HEAD, "ms"], rows)


def _peer(peer: Mapping[str, Any], latency: Mapping[str, Any]) -> list[str]:
    if peer["best"] is None:
        return ["", "failed" if "skipped" not in peer else "skipped", "", "", "", "", ""]
    record = peer["settings"][peer["best"]]
    names = [name for name in latency if name.rpartition(".")[0] == peer["slug"]]
    timed = _ms(latency[names[0]]) if names else "–"
    return [record["setting"], *_figures(record), timed]


def _figures(record: Mapping[str, Any]) -> list[str]:
    return [f"{record[figure]:.2f}" for figure in _FIGURES]


def _ms(record: Mapping[str, Any]) -> str:
    over = record.get("ours_over")
    if not over:
        return f"{record['cpu_p50_ms']:.1f}"
    return (
        f"{record['cpu_p50_ms']:.1f} · {over['median']:.2f} [{over['low']:.2f}, {over['high']:.2f}]"
    )


def _guesses(networks: Mapping[str, Any], guesses: Mapping[str, Any]) -> str:
    rows = []
    for name, guess in guesses.items():
        own = {"float": networks[name]["float"], **networks[name]["ours"]}
        for words, record in (("its own", own), ("ImageNet's", guess)):
            int8 = record["tflite"]
            figures = (record["float"]["top1_pct"], int8["top1_pct"], int8["agreement_pct"])
            cells = [f"{figure:.1f}" for figure in figures]
            rows.append([NETWORKS[name].title, words, *cells, f"{int8['sqnr_db']:.1f}"])
    head = ["network", "mean and std", "float top-1 %", "int8 top-1 %", "agreement %", "SQNR dB"]
    return table(head, rows)
