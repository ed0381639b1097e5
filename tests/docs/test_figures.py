"""Figures that stand in two places are the same in both."""

from __future__ import annotations

from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


def test_the_peers_table_in_the_readme_is_the_one_that_the_benchmark_wrote() -> None:
    written = (REPO / "benchmarks" / "README.md").read_text(encoding="utf-8").splitlines()
    start, end = (
        written.index(f"<!-- {words} -->") for words in ("peers_table.py", "end of peers_table.py")
    )
    shown = [
        line
        for line in (REPO / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith(("| GhostNet", "| RepGhost"))
        and line.count("|") >= 7  # other tables of ours are narrower
    ]
    assert len(shown) == 18  # latency in float and int8, and conversion, of six networks
    assert [line for line in shown if line not in written[start:end]] == []
