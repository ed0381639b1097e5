"""A conversion that scores what it writes, and what its manifest says of each file, in a row."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.peers import ghostedge


def convert(model: Path, calibration: Path, evaluation: Path, output: Path, *extra: str) -> Any:
    """Convert to float and int8 in both formats.

    Args:
        model: A checkpoint.
        calibration: Folder of images for int8's ranges.
        evaluation: Labelled images to score on, a folder per class.
        output: Folder to write.
        extra: More options.

    Returns:
        The manifest as JSON, also where a budget was missed; ``missed`` says which.

    Raises:
        SystemExit: It failed; what it wrote to stderr says how.
    """
    command = [ghostedge(), "convert", str(model), "--int8", "--json", "-o", str(output)]
    command += ["--calib", str(calibration), "--eval", str(evaluation), *extra]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 3):  # 3: done, a budget was missed; the manifest says which
        raise SystemExit(done.returncode)
    return json.loads(done.stdout)


def rows(manifest: Any) -> list[dict[str, Any]]:
    """What is known of each file, under the keys that the benchmarks' JSON has."""
    return [_row(artefact) for artefact in manifest["artefacts"]]


def _row(artefact: dict[str, Any]) -> dict[str, Any]:
    float_agreement = artefact["float_agreement_pct"]
    parity = artefact["parity"]["agreement_pct"]
    return {
        **{key: artefact[key] for key in ("file", "format", "precision", "bytes")},
        "agreement_pct": parity if float_agreement is None else float_agreement,
        "sqnr_db": artefact["float_sqnr_db"],
        "top1_pct": artefact["accuracy"]["top1_pct"],
        "p50_ms": artefact["latency"]["p50_ms"]["value"],
        "speed_up": artefact["speed_up"],
    }


def losses(files: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Points of top-1 that int8 loses, by format."""
    top1 = {(row["format"], row["precision"]): row["top1_pct"] for row in files}
    return {
        kind: round(top1[kind, "float32"] - top1[kind, "int8"], 3) for kind in ("onnx", "tflite")
    }
