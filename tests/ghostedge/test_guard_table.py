"""The guard's outcome as people see it."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from ghostedge.records.manifest import GuardCheck, GuardedLayer, GuardReport
from ghostedge.show.tables import guard_tables

REPORT = GuardReport(
    kind="max_drop",
    limit=0.5,
    budget="a drop of at most 0.5 points",
    image_source="5000 evaluation images",
    float_top1_pct=83.3,
    met=False,
    stopped="no choice holds",
    loss_points=0.75,
    layers=(
        GuardedLayer("worst", -12.5, 1.25, left_float=True),
        GuardedLayer("unmeasured", None, 2.0, left_float=True),
        GuardedLayer("good", -60.0, 3.0, left_float=False),
    ),
    layer_count=3,
    checks=(
        GuardCheck("int8", 0, 3.5, 256, holds=False),
        GuardCheck("ranking", 2, 0.75, 5000, holds=False),
        GuardCheck("ranking", 1, 2.25, 1024, holds=False),
    ),
    resumed=0,
    seconds=61.0,
)


def shown(report: GuardReport) -> list[str]:
    written = io.StringIO()
    console = Console(file=written, width=120)
    for each in guard_tables(report):
        console.print(each)
    return written.getvalue().splitlines()


def test_the_curve_rises_from_none_to_most_layers_float() -> None:
    lines = shown(REPORT)
    assert lines[0] == "guard: a drop of at most 0.5 points; 5000 evaluation images"
    rows = [line.split("│")[1:4] for line in lines if " of 3" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["0 of 3", "3.50", "256"],
        ["1 of 3", "2.25", "1,024"],
        ["2 of 3", "0.75", "5,000"],
    ]


def test_only_layers_left_float_are_listed_with_their_cost() -> None:
    text = "\n".join(shown(REPORT))
    assert "worst" in text
    assert "-12.5 dB" in text
    assert "unmeasured" in text
    assert "good" not in text


def test_agreement_is_shown_as_such() -> None:
    text = "\n".join(shown(replace(REPORT, kind="min_agreement")))
    assert "agreement, %" in text
    assert "96.50" in text


def test_full_int8_needs_no_table() -> None:
    assert shown(replace(REPORT, stopped="int8 holds", met=True)) == []


@pytest.mark.parametrize(
    ("stopped", "said"),
    [("time is up", "--guard-minutes gives it longer"), ("no choice holds", "no choice of layers")],
)
def test_a_missed_budget_is_one_sentence_with_figures_and_the_reason(
    stopped: str, said: str
) -> None:
    (sentence,) = replace(REPORT, stopped=stopped).missed()
    assert sentence.startswith("int8: drop 0.75 points with 2 of 3 layers float")
    assert said in sentence
    assert replace(REPORT, met=True).missed() == ()
