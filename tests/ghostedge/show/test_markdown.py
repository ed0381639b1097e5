"""Tables that stay tables, whatever the names hold."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ghostedge.show.markdown import code, markdown, plain


def rows_of(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading."""
    table = text[text.index(f"## {heading}\n") :].split("\n\n|", 1)[1].split("\n\n", maxsplit=1)[0]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
        for line in table.splitlines()
    ]


def test_the_results_are_the_measured_figures(eight, contents_of):
    head, _, *rows = rows_of(markdown(contents_of(eight)), "Results")
    assert head[:3] == ["case", "size", "p50"]
    for row, result in zip(rows, eight.results, strict=True):
        assert f"`{result.case.model}`" in row[0]
        assert row[2].startswith(f"{result.p50_ms.value:.2f} ms (")
        assert row[head.index("top-1")] == f"{result.score.top1_pct:.2f} %"


def test_a_doubtful_case_is_marked_at_the_top_and_in_every_table(eight, contents_of):
    text = markdown(contents_of(eight))
    assert text.index("> **⚠ These figures are doubtful**") < text.index("## Results")
    for heading in ("Results", "More figures"):
        (marked,) = [row for row in rows_of(text, heading) if "⚠ drifted" in row[0]]
        assert "ghostnet_100.tflite" in marked[0]


def test_every_row_of_every_table_has_as_many_cells_as_its_heading(eight, bare, contents_of):
    name = "a|b`c\n_d_<script>.tflite"
    case = replace(eight.results[0].case, model=name)
    run = replace(eight, results=(replace(eight.results[0], case=case), *eight.results[1:]))
    text = markdown(contents_of(run, bare))
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) > 8
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("a_b", "a_b"),
        ("_a_", "\\_a\\_"),
        ("<b>*x*</b>", "\\<b\\>\\*x\\*\\</b\\>"),
        ("a|b", "a\\|b"),
    ],
)
def test_words_mean_themselves(words, shown):
    assert plain(words) == shown


def test_code_holds_backticks_and_bars():
    assert code("a.tflite") == "`a.tflite`"
    assert code("a`b``c|d") == "``` a`b``c\\|d ```"


def test_what_the_machine_told_and_how_to_measure_again_are_in_it(eight, contents_of):
    text = markdown(contents_of(eight))
    assert "| temperature | cpu-thermal 50 to 67.29 °C" in text
    assert "```sh\nghostedge bench 'a model.tflite' --data 'eval set/' -o run.json\n```" in text
    assert eight.results[0].case.sha256 in text
