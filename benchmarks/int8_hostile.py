"""Does int8 hold where a checkpoint's channels are of very different size?

In every first ghost module the primary conv's channels are rescaled by random factors, drawn
log-uniformly from [1/spread, spread], and the factors are undone in all consumers, so that the
network computes the same function (``support/hostile.py``). The result is written as a checkpoint
a user could have (.pt, state_dict) and goes through ``ghostedge convert --int8 --calib …`` with
nothing left float; onnxruntime.quantization with per-channel weights gets its float ONNX.

Output: progress on stderr, a Markdown table, and as the last line one JSON object::

    budget.agreement_pct, float_difference
    cases[].study, spread, seed
    cases[].float_difference      largest difference of logits from the original's over the largest
                                  logit, float64 arithmetic on the float32 weights of the file
    cases[].onnx, tflite, onnxruntime …  top1_pct, drop_points, agreement_pct, sqnr_db against float
    cases[].missed                what ours misses of ``budget``
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from support import report
from support.child import use_two_cores
from support.int8_peers import QUANTIZERS, attempt_all
from support.ours import INT8_FORMATS, convert
from support.scoring import COLUMNS, Score, Scorer
from support.studies import NAMES, EvaluationImages, Study, evaluation_images, study

SPREADS = (8, 64)
BUDGET_AGREEMENT_PCT = 98.5
BUDGET_FLOAT_DIFFERENCE = 1e-6
PEER = next(quantizer for quantizer in QUANTIZERS if quantizer.slug == "onnxruntime")
PEER_SETTINGS = PEER.settings[:1]  # per-channel weights: its defaults' single scale is far worse


def main() -> None:
    args = _arguments()
    use_two_cores()
    cases, rows = [], []
    for name in args.studies:
        inputs = study(name, args.shared)
        images = evaluation_images(inputs, args.test_images)
        for spread in args.spreads:
            for seed in range(args.seeds):
                case, scores = _case(inputs, images, spread, seed, args)
                cases.append(case)
                rows += [[name, str(spread), str(seed), k, *s.cells()] for k, s in scores.items()]
    print(report.table(["study", "spread", "seed", "file", *COLUMNS], rows))
    report.finish(
        {
            "benchmark": "int8_hostile",
            "budget": {
                "agreement_pct": BUDGET_AGREEMENT_PCT,
                "float_difference": BUDGET_FLOAT_DIFFERENCE,
            },
            "extra_arguments": args.extra,
            "cases": cases,
            "missed": [text for case in cases for text in case["missed"]],
            "machine": report.machine(),
        }
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=report.SHARED, help="data and weights")
    parser.add_argument("--studies", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--spreads", nargs="+", type=float, default=list(SPREADS))
    parser.add_argument("--seeds", type=int, default=3, help="how many of each spread")
    parser.add_argument("--skip-peer", action="store_true", help="measure ours only")
    parser.add_argument("--test-images", type=int, help="score fewer, for a quick look")
    parser.add_argument("extra", nargs="*", help="after --: more options for ghostedge convert")
    return parser.parse_args()


def _case(
    inputs: Study, images: EvaluationImages, spread: float, seed: int, args: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, Score]]:
    hostile, difference = _rescaled(inputs, spread, seed)
    ours = convert(hostile, hostile.deploy_onnx.parent, args.extra)
    scorer = Scorer.of(hostile.deploy_onnx, images)
    scores = ours.scores(scorer)
    missed = [
        f"{hostile.name}: {kind} agrees on {scores[kind].agreement_pct} %"
        for kind in INT8_FORMATS
        if scores[kind].agreement_pct < BUDGET_AGREEMENT_PCT
    ]
    if difference > BUDGET_FLOAT_DIFFERENCE:
        missed.append(f"{hostile.name}: float differs by {difference:.1e}")
    if not args.skip_peer:
        scores |= _peers(hostile, scorer)
    case = {
        "study": inputs.name,
        "spread": spread,
        "seed": seed,
        "float_difference": difference,
        **{name: score.as_json() for name, score in scores.items()},
        "conversion_s": ours.usage.seconds,
        "missed": missed,
    }
    print(json.dumps(case), file=sys.stderr, flush=True)
    return case, scores


def _rescaled(inputs: Study, spread: float, seed: int) -> tuple[Study, float]:
    """The study with a rescaled checkpoint, and how far float logits moved."""
    name = f"{inputs.name}_hostile_{spread:g}_{seed}"
    hostile = Study(name, inputs.folder.parent / name / "model.pt", inputs.calibration, inputs.test)
    hostile.folder.mkdir(exist_ok=True)
    shutil.copyfile(inputs.model.with_name("config.json"), hostile.folder / "config.json")
    if not hostile.calibration_pixels.exists():
        os.link(inputs.calibration_pixels, hostile.calibration_pixels)
    command = [
        sys.executable,
        "-m",
        "support.hostile_files",
        "--checkpoint",
        str(inputs.checkpoint),
    ]
    command += ["--calibration", str(inputs.calibration_pixels), "--output", str(hostile.model)]
    command += ["--spread", str(spread), "--seed", str(seed)]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, cwd=report.REPO / "benchmarks"
    )
    return hostile, json.loads(done.stdout)["relative_difference"]


def _peers(hostile: Study, scorer: Scorer) -> dict[str, Score]:
    """The peer's score by its name, nothing where it could not be installed or failed."""
    tried = attempt_all(PEER, hostile, PEER_SETTINGS)
    names = (f"{PEER.slug} {attempt.setting}" for attempt in tried.attempts)
    return {
        name: scorer.stored(attempt.file)
        for name, attempt in zip(names, tried.attempts, strict=True)
        if attempt.file
    }


if __name__ == "__main__":
    main()
