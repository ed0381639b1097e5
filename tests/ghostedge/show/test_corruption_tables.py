"""Corrupted images in the tables of the terminal, the page and Markdown, from the records alone."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.table import Table

from ghostedge.show.corruption_tables import HOW_TO_READ, corrupted_tables, drawn_tables
from ghostedge.show.markdown import markdown
from ghostedge.show.page import page
from ghostedge.terminal import TextConsole

STRENGTHS = (1, 2, 3, 4, 5)
CLEAN = {("none", 0): set()}
NOISE = {("noise", strength): set(range(8 * (strength > 2))) for strength in STRENGTHS}
BLUR = {("blur", strength): {0} for strength in STRENGTHS}
WEAK = CLEAN | NOISE | BLUR
"""int8 loses eight of forty images to noise from strength 3 on, and one to blur."""


@pytest.fixture(scope="module")
def results(scored_result):
    right = dict.fromkeys(WEAK, ())
    return [
        scored_result("m.tflite", right),
        scored_result("m_int8.tflite", WEAK, precision="int8", sha256="i"),
    ]


@pytest.fixture(scope="module")
def run(make_run, results):
    return make_run(1, *results)


def test_a_row_has_both_scores_the_drop_and_where_the_file_gives_way(results):
    (table,) = corrupted_tables(results, ["float", "int8"])
    assert table.title == (
        "int8 beside float on corrupted images: top-1 in %, clean 100.0 → 100.0; 40 of 5,000 images"
    )
    noise, blur = table.selection.rows
    assert [(cell.words, cell.beside) for cell in noise[:4]] == [
        ("noise", ""),
        ("100.0 → 100.0", "0.0"),
        ("100.0 → 100.0", "0.0"),
        ("100.0 → 80.0", "20.0 *"),
    ]
    assert (noise[6].words, noise[6].beside) == ("at 3", "20.0 [6.3, 31.8]")
    assert noise[7].words == "12.0"
    assert [blur[1].beside, blur[6].words, blur[7].words] == ["2.5", "not shown", "2.5"]


def test_the_verdict_names_the_corruption_and_the_strength(results):
    (table,) = corrupted_tables(results, ["float", "int8"])
    assert table.verdict == (
        "int8 gives way first to noise, at strength 3: 20.0 [6.3, 31.8] points beyond its clean "
        "drop"
    )


def test_where_nothing_is_shown_the_verdict_says_so(scored_result):
    right = dict.fromkeys(CLEAN | BLUR, ())
    files = [
        scored_result("m.tflite", right),
        scored_result("i.tflite", CLEAN | BLUR, precision="int8", sha256="i"),
    ]
    (table,) = corrupted_tables(files, ["float", "int8"])
    assert table.verdict == (
        "int8: no corruption was shown to cost it more than 1 point beyond its clean drop"
    )


def test_a_file_alone_has_its_own_scores(results):
    (table,) = corrupted_tables(results[1:], ["int8"])
    assert table.title == "int8 on corrupted images: top-1 in %, clean 100.0; 40 of 5,000 images"
    assert [[cell.words for cell in row] for row in table.selection.rows] == [
        ["noise", "100.0", "100.0", "80.0", "80.0", "80.0"],
        ["blur", "97.5", "97.5", "97.5", "97.5", "97.5"],
    ]
    assert table.verdict == ""


def test_the_terminal_gets_title_table_verdict_and_how_to_read_them(results):
    title, table, verdict, how = drawn_tables(results)
    assert isinstance(table, Table)
    assert title.startswith("m_int8.tflite beside m.tflite on corrupted images")
    assert verdict.startswith("m_int8.tflite gives way first to noise")
    assert how == HOW_TO_READ
    console = TextConsole(width=120)
    console.file = io.StringIO()
    console.print(table)
    assert "100.0 → 80.0" in console.file.getvalue()


def test_without_corrupted_images_there_is_nothing(make_result):
    assert list(drawn_tables([make_result("m.tflite", ())])) == []


def test_markdown_has_the_table_and_the_verdict(run, contents_of):
    text = markdown(contents_of(run))
    assert "## Corrupted images" in text
    assert "| noise | 100.0 → 100.0 (0.0) | 100.0 → 100.0 (0.0) | 100.0 → 80.0 (20.0 \\*) |" in text
    assert "gives way first to noise, at strength 3" in text


def test_the_page_has_two_charts_for_each_corruption_and_their_figures(run, contents_of):
    text = page(contents_of(run))
    assert "<h2>Corrupted images</h2>" in text
    for name in ("noise", "blur"):
        assert f"Top-1 over the strength of {name}" in text
        assert f"Points lost beyond the clean drop over the strength of {name}" in text
    assert "m_int8.tflite gives way first to noise, at strength 3" in text
    assert "noise, 3: 20.00 points beyond clean (95 %: 6.29 to 31.81), shown" in text
    plotted = json.loads(re.search(r'id="plotted">(.*?)</script>', text)[1])
    assert plotted["cases"][1]["corrupted_top1_pct"] == {
        "none": [100.0],
        "noise": [100.0, 100.0, 80.0, 80.0, 80.0],
        "blur": [97.5] * 5,
    }


def test_the_page_of_a_file_alone_has_its_curve_and_no_losses(make_run, results, contents_of):
    text = page(contents_of(make_run(2, results[1])))
    assert "Top-1 over the strength of blur" in text
    assert "Points lost beyond" not in text


def test_the_page_without_corrupted_images_says_nothing_of_them(page_of_eight):
    assert "Corrupted images" not in page_of_eight
