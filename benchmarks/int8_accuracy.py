"""Does int8 keep the float network's answers, ours and other quantizers' side by side?

Every quantizer gets the same weights, the same 500 calibration images and the same preprocessing;
every file it writes is scored on the same 5,000 test images in the same runtimes (ONNX Runtime and
LiteRT of this environment; OpenVINO where a peer writes for that alone). Each peer is tried with
its defaults and with its documented options; the table shows the setting with the highest
agreement on the test images themselves, which favours the peers. Expected agreement stands beside
it, in which the luck of single images counts less (see ``support.scoring``). Ours is one
``ghostedge convert MODEL --int8 --calib … --eval …`` with its defaults, on two cores.

Output: progress on stderr, a Markdown table per study, and as the last line one JSON object::

    studies.NAME.float.top1_pct
    studies.NAME.ours.onnx, tflite    top1_pct, agreement_pct (same top-1 as float),
                                      expected_agreement_pct, drop_points (float's top-1 minus this
                                      one's), sqnr_db (power of the float logits over that of the
                                      difference)
    studies.NAME.ours.conversion_s    wall seconds of the whole command, export, checks and timing
                                      included; stages_s says how they divide
    studies.NAME.peers.PEER.best      index into settings; null where none worked
    studies.NAME.peers.PEER.settings[]   setting, its scores and conversion_s, or failed
    studies.NAME.missed               what ours misses of ``budget``, or where a peer is as good
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from support import report
from support.child import use_two_cores
from support.int8_peers import QUANTIZERS, Attempt, Attempts, Quantizer, attempt_all
from support.ours import Ours, convert
from support.scoring import COLUMNS, Score, Scorer, file_logits, score, standard_errors
from support.studies import (
    CALIBRATION_IMAGES,
    NAMES,
    Study,
    evaluation_images,
    study,
)

BUDGET_DROP_POINTS = 0.2
BUDGET_AGREEMENT_PCT = 99.0
BUDGET_SECONDS = 180


def main() -> None:
    args = _arguments()
    use_two_cores()
    studies = {name: _measure(study(name, args.shared), args) for name in args.studies}
    report.finish(
        {
            "benchmark": "int8_accuracy",
            "calibration_images": CALIBRATION_IMAGES,
            "extra_arguments": args.extra,
            "budget": {
                "drop_points": BUDGET_DROP_POINTS,
                "agreement_pct": BUDGET_AGREEMENT_PCT,
                "conversion_s": BUDGET_SECONDS,
            },
            "studies": studies,
            "machine": report.machine(),
        }
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=report.SHARED, help="data and weights")
    parser.add_argument("--studies", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--peers", nargs="*", help="slugs of those to measure; all by default")
    parser.add_argument("--settings", type=int, help="try only a peer's first so many")
    parser.add_argument("--test-images", type=int, help="score fewer, for a quick look")
    parser.add_argument("extra", nargs="*", help="after --: more options for ghostedge convert")
    return parser.parse_args()


def _measure(inputs: Study, args: argparse.Namespace) -> dict[str, Any]:
    images = evaluation_images(inputs, args.test_images)
    scorer = Scorer.of(inputs.deploy_onnx, images)
    float_score = score(scorer.reference, scorer.reference, images.labels)
    ours = convert(inputs, inputs.folder / "ours", ["--eval", str(inputs.test), *args.extra])
    ours_scores = ours.scores(scorer)
    peers = {}
    for quantizer in QUANTIZERS:
        if args.peers is None or quantizer.slug in args.peers:
            peers[quantizer.name] = _peer(quantizer, inputs, scorer, args.settings)
    print(f"\n{inputs.name}: float top-1 {float_score.top1_pct:.2f} %\n")
    print(_table(ours_scores, ours, peers), flush=True)
    errors = standard_errors(file_logits(ours.int8_file("tflite"), images), scorer.reference)
    print(f"\nstandard errors of our TFLite's, in points: {errors}", flush=True)
    return {
        "test_images": len(images.labels),
        "float": float_score.as_json(),
        "ours": _ours(ours, ours_scores),
        "peers": peers,
        "missed": [*_missed(ours_scores), *_not_better(ours_scores, peers), *_too_slow(ours)],
    }


def _peer(quantizer: Quantizer, inputs: Study, scorer: Scorer, limit: int | None) -> dict[str, Any]:
    tried = attempt_all(quantizer, inputs, quantizer.settings[:limit])
    records = [_record(tried, attempt, scorer) for attempt in tried.attempts]
    worked = [index for index, record in enumerate(records) if "failed" not in record]
    best = max(worked, key=lambda index: _sharpness(records[index]), default=None)
    return {
        "versions": tried.versions,
        **({"skipped": tried.skipped} if tried.skipped else {}),
        "best": best,
        "settings": records,
    }


def _record(tried: Attempts, attempt: Attempt, scorer: Scorer) -> dict[str, Any]:
    record: dict[str, Any] = {"setting": str(attempt.setting)}
    if attempt.file is None or attempt.usage is None:
        record["failed"] = attempt.failed
    else:
        record |= {**scorer.stored(attempt.file).as_json(), "conversion_s": attempt.usage.seconds}
    print(f"{tried.quantizer.name}: {record}", file=sys.stderr, flush=True)
    return record


def _sharpness(record: dict[str, Any]) -> tuple[float, float]:
    """Agreement decides, then the distance of the logits."""
    return record["agreement_pct"], record["sqnr_db"]


def _score(record: dict[str, Any]) -> Score:
    return Score(**{field.name: record[field.name] for field in fields(Score)})


def _ours(ours: Ours, scores: dict[str, Score]) -> dict[str, Any]:
    return {
        **{kind: score.as_json() for kind, score in scores.items()},
        "conversion_s": ours.usage.seconds,
        "stages_s": ours.stages_s,
        "versions": ours.manifest["versions"],
        "notes": ours.manifest["notes"],
    }


def _missed(scores: dict[str, Score]) -> list[str]:
    missed = []
    for kind, ours in scores.items():
        if ours.drop_points > BUDGET_DROP_POINTS:
            missed.append(f"{kind}: drop of {ours.drop_points} points")
        if ours.agreement_pct < BUDGET_AGREEMENT_PCT:
            missed.append(f"{kind}: agreement of {ours.agreement_pct} %")
    return missed


def _not_better(scores: dict[str, Score], peers: dict[str, dict[str, Any]]) -> list[str]:
    """Where a peer's best file is as close to float as ours, or closer."""
    best = {
        name: peer["settings"][peer["best"]]
        for name, peer in peers.items()
        if peer["best"] is not None
    }
    return [
        f"{kind}: {name} has {figure} {record[figure]}"
        for kind, ours in scores.items()
        for name, record in best.items()
        for figure in ("agreement_pct", "expected_agreement_pct", "sqnr_db")
        if record[figure] >= getattr(ours, figure)
    ]


def _too_slow(ours: Ours) -> list[str]:
    seconds = ours.usage.seconds
    return [f"{seconds} s"] if seconds > BUDGET_SECONDS else []


def _table(scores: dict[str, Score], ours: Ours, peers: dict[str, dict[str, Any]]) -> str:
    head = ["quantizer", "file", *COLUMNS, "seconds", "setting"]
    seconds = f"{ours.usage.seconds:.0f}"
    setting = " ".join(ours.arguments[2:]) or "defaults"
    rows = [["GhostEdge", kind, *score.cells(), seconds, setting] for kind, score in scores.items()]
    for name, peer in peers.items():
        if peer["best"] is None:
            why = peer.get("skipped") or "no setting worked"
            rows.append([name, "–", *("–" for _ in COLUMNS), "–", why])
            continue
        best = peer["settings"][peer["best"]]
        suffix = next(q.suffix for q in QUANTIZERS if q.name == name)
        seconds = f"{best['conversion_s']:.0f}"
        kind = "OpenVINO" if suffix == ".npy" else suffix[1:]
        rows.append([name, kind, *_score(best).cells(), seconds, best["setting"]])
    return report.table(head, rows)


if __name__ == "__main__":
    main()
