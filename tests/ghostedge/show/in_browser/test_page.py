"""The page as Chromium shows it: on a desk and on a phone, in light and in dark."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from ghostedge.show.page import DATA_ID, page
from ghostedge.show.words import ms

PHONES = (360, 375, 400)
DOTS = """[...document.querySelectorAll('svg.%s [data-dot]')].map(dot => {
  const box = dot.getBoundingClientRect();
  return [Number(dot.dataset.dot), box.x + box.width / 2, box.y + box.height / 2,
          dot.getAttribute('aria-label')];
})"""
TIP = "document.getElementById('tip').hidden ? null : document.getElementById('tip').textContent"


@pytest.fixture(scope="module")
def file_of(tmp_path_factory):
    def write(text):
        file = tmp_path_factory.mktemp("page") / "report.html"
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture(scope="module")
def both(file_of, page_of_both):
    return file_of(page_of_both)


@pytest.fixture(scope="module")
def one(file_of, page_of_eight):
    return file_of(page_of_eight)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_complains_in_the_console(browser, both, width, scheme):
    browser.open(both, width=width, scheme=scheme)
    assert browser.script("document.querySelectorAll('svg.chart').length") > 8
    assert browser.complaints == []


@pytest.mark.parametrize(("width", "kind"), [(1280, "wide"), (375, "narrow")])
def test_the_points_that_the_json_holds_are_on_the_page(browser, one, width, kind):
    browser.open(one, width=width)
    data = json.loads(browser.script(f"document.getElementById('{DATA_ID}').textContent"))
    dots = browser.script(DOTS % kind)
    cases = {case["number"]: case for case in data["cases"]}
    assert sorted(number for number, *_ in dots) == sorted(cases)
    for number, _, _, words in dots:
        case = cases[number]
        assert words.splitlines()[0] == case["name"]
        assert f"p50 {ms(case['p50_ms']['value'])} ms" in words
        assert f"top-1 {case['top1_pct']:.2f} %" in words


@pytest.mark.parametrize("factor", [1.0, 30.0], ids=["linear", "logarithmic"])
def test_points_stand_where_their_figures_say(browser, file_of, chart_of, eight, factor):
    slow = eight.results[4]
    figure = replace(slow.p50_ms, value=slow.p50_ms.value * factor)
    results = (*eight.results[:4], replace(slow, p50_ms=figure), *eight.results[5:])
    browser.open(file_of(chart_of(replace(eight, results=results))))
    dots = browser.script(DOTS % "wide")
    latency = np.array([results[number - 1].p50_ms.value for number, *_ in dots])
    accuracy = np.array([results[number - 1].score.top1_pct for number, *_ in dots])
    said = browser.script("document.querySelector('svg.wide').textContent")
    along = np.log(latency) if factor > 1 else latency
    assert ("logarithmic" in said) == (factor > 1)
    for values, pixels in ((along, 1), (accuracy, 2)):
        at = np.array([dot[pixels] for dot in dots])
        fitted = np.polyval(np.polyfit(values, at, 1), values)
        assert np.abs(fitted - at).max() < 0.5
        assert np.ptp(at) > 200


def test_pointing_at_a_point_names_its_model_and_leaving_hides_it(browser, one):
    browser.open(one)
    number, x, y, _ = browser.script(DOTS % "wide")[3]
    assert browser.script(TIP) is None
    browser.point_at(x, y)
    shown = browser.script(TIP)
    assert shown.startswith("ghostnet_100_int8.tflite\n") == (number == 4)
    assert "top-1 92.10 %" in shown
    browser.point_at(5, 5)
    assert browser.script(TIP) is None


def test_the_keyboard_goes_from_point_to_point_by_latency(browser, one):
    browser.open(one)
    browser.press("Tab")
    first = browser.script(TIP)
    browser.press("ArrowRight")
    second = browser.script(TIP)
    assert first.startswith("ghostnet_050_int8.tflite")
    assert second.startswith("ghostnet_050.tflite")
    browser.press("Escape")
    assert browser.script(TIP) is None


def test_a_tap_on_a_phone_names_the_model_inside_the_screen(browser, one):
    browser.open(one, width=375)
    browser.script("document.querySelector('svg.narrow').scrollIntoView()")
    for _, x, y, words in browser.script(DOTS % "narrow"):
        for kind in ("touchStart", "touchEnd"):
            points = [{"x": x, "y": y}] if kind == "touchStart" else []
            browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
        assert browser.script(TIP) is not None, words
        left, right = browser.script(
            "(b => [b.left, b.right])(document.getElementById('tip').getBoundingClientRect())"
        )
        assert left >= 0
        assert right <= 375


@pytest.mark.parametrize("width", PHONES)
def test_nothing_is_wider_than_a_phone(browser, both, width):
    browser.open(both, width=width)
    browser.script("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert browser.script("document.documentElement.scrollWidth <= innerWidth")
    wider = browser.script(
        "[...document.querySelectorAll('main *')].filter(each =>"
        " each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML)"
    )
    assert wider == []


def test_no_text_is_tiny_on_a_phone(browser, both):
    browser.open(both, width=375)
    smallest = browser.script(
        """(scale => Math.min(...[...document.querySelectorAll('main *')]
        .filter(each => each.getClientRects().length && [...each.childNodes].some(
          child => child.nodeType === 3 && child.data.trim()))
        .map(each => parseFloat(getComputedStyle(each).fontSize)
          * (each.ownerSVGElement ? scale(each.getScreenCTM()) : 1))))
        (at => Math.hypot(at.a, at.b))"""
    )
    assert smallest >= 9.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(browser, one, scheme):
    """4.5 to 1, which the web's accessibility guidelines ask for (WCAG 2.2, 1.4.3)."""
    browser.open(one, scheme=scheme)
    found = browser.script(
        """['paper', 'raised', 'warned', 'ink', 'soft', 'warn', 's0', 's1', 's2', 's3', 's4', 's5',
        's6', 's7'].map(name => getComputedStyle(document.documentElement).getPropertyValue(
        '--' + name).trim())"""
    )
    paper, raised, warned, ink, soft, warn, *series = map(luminance, found)
    pairs = [(ink, paper), (ink, raised), (ink, warned), (soft, paper), (soft, raised)]
    pairs += [(soft, warned), (warn, paper), (warn, warned), *((each, paper) for each in series)]
    for text, ground in pairs:
        assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) >= 4.5


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_hostile_name_does_nothing_but_be_read(browser, file_of, contents_of, eight):
    name = "<script>window.harmed=1</script><img src=x onerror=window.harmed=1>.tflite"
    case = replace(eight.results[0].case, model=name)
    run = replace(eight, results=(replace(eight.results[0], case=case),))
    browser.open(file_of(page(contents_of(run))))
    assert browser.script("window.harmed") is None
    assert browser.complaints == []
    shown = browser.script("document.querySelector('.results tbody').textContent")
    assert re.search(r"script><img src=x onerror=window\.harmed=1>\.tflite", shown)


def test_the_policy_stops_a_script_that_got_in(browser, one):
    browser.open(one)
    browser.script(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'window.harmed = 1'}))"
    )
    assert browser.script("window.harmed") is None


def test_thirty_cases_with_long_names_fit_a_phone(browser, file_of, chart_of, result_of, run_of):
    results = tuple(
        result_of(
            f"out/a_network_with_quite_a_long_name_indeed_{n:02d}_int8.tflite",
            2.0 + n * 11 % 30,
            60.0 + n * 7 % 31,
            rounds=2,
            seed=n,
        )
        for n in range(30)
    )
    browser.open(file_of(chart_of(run_of(results))), width=375)
    assert len(browser.script(DOTS % "narrow")) == 30
    assert browser.script("document.documentElement.scrollWidth <= innerWidth")
    assert browser.complaints == []
