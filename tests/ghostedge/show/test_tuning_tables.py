"""What was tried, as people read it on the terminal, the page and in Markdown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ghostedge.records.tuning import Trial, TunedFile, TuningReport
from ghostedge.show.markdown import markdown
from ghostedge.show.page import page
from ghostedge.show.tuning_tables import closing_sentences, table_title, trials_table
from ghostedge_runtime.record import Estimate

TRIALS = (
    Trial("int8", 0, "a", 1_000_000, 98.0, 90.0, True, 2.0, Estimate(1, 1, 1), on_front=True),
    Trial("float <b>", 2, "b", 1_500_000, 99.0, 91.0, True, 1.6, Estimate(0.8, 0.7, 0.9)),
    Trial("float32", 9, "c", 4_000_000, 100.0, 92.0, False),
)
FILE = TunedFile(
    file="net_tuned.tflite",
    format="tflite",
    backend="litert",
    threads=2,
    choice="float <b>",
    float_layers=("stem",),
    layer_count=9,
    sha256="b",
    verdict="net_tuned.tflite: float <b>, 1.25 times as fast as int8",
    stopped="search done",
    trials=TRIALS,
)
REPORT = TuningReport(
    device="ssh://pi@board",
    machine=None,
    budget="at most 2 MB",
    image_source="40 evaluation images",
    files=(FILE,),
    loads=12,
    marks={"throttled": 3},
)


def test_the_fastest_comes_first_and_what_was_not_timed_is_counted() -> None:
    rows = trials_table(FILE).rows
    assert [row[0].words for row in rows] == ["float <b>", "int8"]
    assert (rows[0][2].words, rows[0][3].words, rows[0][3].beside) == (
        "1.60 ms",
        "0.800×",
        "0.700–0.900",
    )
    assert closing_sentences(REPORT) == [
        FILE.verdict,
        "net_tuned.tflite: 1 choice not timed, 1 of which miss the budget",
        "! doubtful: 3 measurements throttled, of 12",
    ]


def test_a_files_title_says_what_it_was_measured_and_scored_on() -> None:
    assert table_title(REPORT, FILE) == (
        "net_tuned.tflite by LiteRT with XNNPACK, 2 threads; answers on 40 evaluation images; "
        "budget: at most 2 MB"
    )


def test_a_recipe_shows_its_files_though_nothing_was_timed() -> None:
    file = replace(FILE, stopped="recipe", trials=(replace(TRIALS[2], holds=True),))
    assert [row[0].words for row in trials_table(file).rows] == ["float32"]
    assert closing_sentences(replace(REPORT, files=(file,), marks={})) == [file.verdict]


@pytest.mark.parametrize("write", [page, markdown])
def test_both_forms_of_the_report_show_it(write: Any, eight: Any, contents_of: Any) -> None:
    bare = replace(eight, results=tuple(replace(r, rounds=(), ops=()) for r in eight.results))
    text = write(replace(contents_of(bare), tunings=(REPORT,)))
    assert "Tuned files" in text
    assert "0.800×" in text
    assert "float <b>" not in text  # a layer may be called anything
