"""The page shows each batch norm and each int8 range of a conversion, with its name."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from ghostedge.records.image_fit import ImageFinding, ImageFit, NormFit, RangeFit
from ghostedge.show.contents import NamedFit
from ghostedge.show.page import DATA_ID, page

FIT = ImageFit(
    40,
    "40 images of --calib",
    layers=(NormFit("stem.1/BatchNormalization", 0.0), NormFit("late.1/BatchNormalization", 0.25)),
    findings=(ImageFinding("blurred", "the images are blurred", "sharpen them"),),
    ranges=(RangeFit("stem", 0.5, "a.jpg", 1.0), RangeFit("late", 0.0, "<b>.jpg", 2.5)),
)


def _plotted(text: str) -> list[dict]:
    return json.loads(re.search(f'id="{DATA_ID}">(.*?)</script>', text)[1])["image_fits"]


@pytest.fixture(scope="module")
def shown(bare, contents_of) -> str:
    """A page with what one conversion's images showed."""
    results = tuple(replace(result, rounds=(), ops=()) for result in bare.results)
    contents = contents_of(replace(bare, results=results, trace=()))
    return page(replace(contents, image_fits=(NamedFit("net", FIT),)))


def test_findings_stand_over_the_charts(shown) -> None:
    assert "<h3>net, 40 images of --calib</h3>" in shown
    assert "<p>the images are blurred; sharpen them</p>" in shown


def test_every_batch_norm_and_every_range_can_be_pointed_at(shown) -> None:
    labels = re.findall(r'aria-label="([^"]*)"', shown)
    assert sum("stem.1\ndivergence 0" in label.replace("&#10;", "\n") for label in labels) == 2
    assert sum("late.1\ndivergence 0.25" in label.replace("&#10;", "\n") for label in labels) == 2
    assert sum("clips 0.5 % of the numbers" in label for label in labels) == 2
    assert sum("2.50 times as wide as without &lt;b&gt;.jpg" in label for label in labels) == 2


def test_programs_read_the_same(shown) -> None:
    (drawn,) = _plotted(shown)
    assert drawn["name"] == "net"
    assert drawn["layers"][1] == {"layer": "late.1/BatchNormalization", "divergence": 0.25}
    assert drawn["ranges"][1]["widest_image"] == "<b>.jpg"


def test_a_page_without_images_has_no_section_of_them(page_of_both) -> None:
    assert "<h2>The images</h2>" not in page_of_both
    assert _plotted(page_of_both) == []
