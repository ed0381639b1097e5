"""What the page holds, without a browser."""

from __future__ import annotations

import html
import json
import re
import shlex
from dataclasses import replace

from ghostedge.show.page import DATA_ID, page
from ghostedge_runtime.record import Estimate


def plotted(text: str):
    return json.loads(re.search(f'id="{DATA_ID}">(.*?)</script>', text)[1])


def words(text: str) -> str:
    """What a reader sees, tables and charts in one line."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body)))


def test_nothing_on_the_page_is_fetched(page_of_both):
    assert "http:" not in page_of_both
    assert "https:" not in page_of_both
    assert not re.findall(r'(?:src|href)="(?!#|data:,)', page_of_both)
    assert "url(" not in re.sub(r"url\(#c\d+-\d+\)", "", page_of_both)
    assert " style=" not in page_of_both


def test_the_policy_allows_only_the_page_s_own_style_and_script(page_of_both):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page_of_both)[1]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == 2


def test_equal_measurements_give_equal_pages(eight, bare, contents_of, page_of_both):
    assert page(contents_of(eight, bare)) == page_of_both


def test_eight_cases_stay_under_a_megabyte_whatever_they_measured(eight, contents_of):
    long = replace(
        eight,
        results=tuple(
            replace(
                result,
                rounds=tuple(
                    replace(result.rounds[n % 60], start_s=float(n)) for n in range(5_000)
                ),
            )
            for result in eight.results
        ),
    )
    assert len(page(contents_of(long))) < 1_000_000


def test_the_page_s_json_holds_the_measured_figures(eight, bare, page_of_both):
    cases = plotted(page_of_both)["cases"]
    results = (*eight.results, *bare.results)
    assert [case["sha256"] for case in cases] == [r.case.sha256 for r in results]
    for case, result in zip(cases, results, strict=True):
        p50 = case["p50_ms"] and Estimate(**case["p50_ms"])
        assert p50 == result.p50_ms
        assert case["top1_pct"] == (result.score and result.score.top1_pct)
        assert case["error"] == result.error
    on_front = [case["number"] for case in cases if case["on_front"]]
    assert on_front == [1, 2, 4, 5, 6, 8]


def test_a_doubtful_case_is_marked_everywhere_it_is_shown(eight, page_of_eight):
    text = page_of_eight
    assert "drifted: ghostnet_100.tflite: its last third took 4.1 % longer" in words(text)
    heading, results = text.index("<h2>Results"), text.index("<h2>Distribution")
    machine = text.index("<h2>The machine")
    badge = '<span class="badge">⚠ drifted</span>'
    assert text[heading:results].count(badge) == 1
    assert text[results:machine].count(badge) == 1
    assert text[machine:].count(badge) == 1
    dots = re.findall(r'<use[^>]*data-dot="3"[^>]*aria-label="([^"]*)"', text[:heading])
    assert len(dots) == 2  # the wide chart and the narrow one
    assert all("⚠ drifted" in dot for dot in dots)


def test_a_case_that_failed_says_why_and_is_in_no_chart(page_of_both):
    assert "broken.tflite could not be measured: it has no outputs" in words(page_of_both)
    assert 'data-dot="12"' not in page_of_both[: page_of_both.index("<h2>Results")]


def test_a_measurement_without_scores_says_that_it_is_latency_alone(bare, contents_of):
    text = page(contents_of(bare))
    assert "<h2>Latency</h2>" in text
    assert "None of the files was scored" in text
    assert "Pareto" not in text


def test_cases_without_a_score_are_said_to_be_missing_from_the_front(page_of_both):
    assert "3 cases without an accuracy cannot be in the chart above" in words(page_of_both)


def test_a_machine_without_sensors_says_so(page_of_both):
    assert "This machine told no temperature." in words(page_of_both)


def test_the_command_can_be_pasted_into_a_shell(eight, page_of_eight):
    shown = re.search(r"<pre>(.*?)</pre>", page_of_eight)[1]
    assert tuple(shlex.split(html.unescape(shown))) == eight.command


def test_the_machine_the_versions_and_the_hashes_are_told(eight, page_of_eight):
    found = words(page_of_eight)
    for told in (
        "Broadcom BCM2712",
        "Cortex-A76",
        "dotprod fp16",
        "ondemand",
        "2400 MHz",
        "0x0 before, 0x0 after",
        "ai-edge-litert 2.3.0",
        "GhostEdge 0.1.0",
        "84 real images",
        "XNNPACK took 60 of 62 operators in 2 pieces; left 2 RESIZE_BILINEAR",
        *(result.case.sha256 for result in eight.results),
    ):
        assert told in found


def test_operators_are_shown_slowest_first_with_their_share(eight, page_of_eight):
    text = page_of_eight
    ops = eight.results[0].ops
    total = sum(op.p50_ms for op in ops)
    section = text[text.index("<h2>Operators") :]
    assert f"30 operators, each by itself, {total:.2f} ms in sum" in section
    shares = [float(share) for share in re.findall(r'class="b">([\d.]+) %<svg', section)[:30]]
    assert shares == [round(100 * op.p50_ms / total, 1) for op in ops]


HOSTILE = '</script><script>alert(1)</script>"><img src=x onerror=alert(2)>&amp;$x^2$'


def test_a_hostile_name_is_only_ever_text(eight, contents_of):
    case = replace(eight.results[0].case, model=HOSTILE)
    run = replace(
        eight,
        results=(replace(eight.results[0], case=case), *eight.results[1:]),
        command=("ghostedge", "bench", HOSTILE),
    )
    text = page(contents_of(run))
    assert "<img" not in text
    assert text.count("<script") == text.count("</script>") == 2
    assert plotted(text)["cases"][0]["name"].endswith(
        'script>"><img src=x onerror=alert(2)>&amp;$x^2$'
    )
