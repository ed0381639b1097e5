"""What one scale per layer's weights costs, and what equalization and bias correction bring there.

Some kernels and accelerators take weights with a single scale, which lost MobileNetV3 62 points
elsewhere. Each row is one ``ghostedge convert MODEL --int8 --per-tensor --calib …`` of the same
network, with the remedies on (as they are by default) and off.

Output: progress on stderr, a Markdown table, and as the last line one JSON object::

    budget.drop_points             for the row with everything on
    studies.NAME[].arguments
    studies.NAME[].onnx, tflite    top1_pct, drop_points, agreement_pct, sqnr_db against float
    studies.NAME[].conversion_s    wall seconds of the whole command
    missed                         what misses the budget
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from support import report
from support.child import use_two_cores
from support.ours import convert
from support.scoring import COLUMNS, Scorer
from support.studies import NAMES, evaluation_images, study

VARIANTS = (
    (),
    ("--no-equalize",),
    ("--bias-correction", "none"),
    ("--no-equalize", "--bias-correction", "none"),
)
BUDGET_DROP_POINTS = 1.0


def main() -> None:
    args = _arguments()
    use_two_cores()
    studies = {name: _measure(name, args) for name in args.studies}
    missed = [
        f"{name}: {kind} drops {rows[0][kind]['drop_points']} points"
        for name, rows in studies.items()
        for kind in ("onnx", "tflite")
        if rows[0][kind]["drop_points"] > BUDGET_DROP_POINTS
    ]
    report.finish(
        {
            "benchmark": "int8_per_tensor",
            "budget": {"drop_points": BUDGET_DROP_POINTS},
            "extra_arguments": args.extra,
            "studies": studies,
            "missed": missed,
            "machine": report.machine(),
        }
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=report.SHARED, help="data and weights")
    parser.add_argument("--studies", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--test-images", type=int, help="score fewer, for a quick look")
    parser.add_argument("extra", nargs="*", help="after --: more options for ghostedge convert")
    return parser.parse_args()


def _measure(name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    inputs = study(name, args.shared)
    scorer = Scorer.of(inputs.deploy_onnx, evaluation_images(inputs, args.test_images))
    records: list[dict[str, Any]] = []
    rows: list[list[str]] = []
    for variant in VARIANTS:
        arguments = ["--per-tensor", *variant]
        ours = convert(inputs, inputs.folder / "per_tensor", [*arguments, *args.extra])
        scores = ours.scores(scorer)
        flags = " ".join(arguments)
        rows += [[name, kind, *score.cells(), flags] for kind, score in scores.items()]
        records.append(
            {
                "arguments": arguments,
                **{kind: score.as_json() for kind, score in scores.items()},
                "conversion_s": ours.usage.seconds,
            }
        )
    print(report.table(["study", "file", *COLUMNS, "arguments"], rows), flush=True)
    return records


if __name__ == "__main__":
    main()
