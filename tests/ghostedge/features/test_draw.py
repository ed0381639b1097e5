"""Grids hold the channels pixel for pixel, in colours that mean the same in both networks."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ghostedge.features.compare import compare
from ghostedge.features.draw import (
    DIVERGING,
    LEVELS,
    SEQUENTIAL,
    Drawing,
    Grid,
    Tile,
    draw,
    draw_layer,
    indices,
    palette,
)
from ghostedge.features.page import page
from ghostedge.formats.format import Layer
from ghostedge.records.features import (
    FeaturesReport,
    FileFacts,
    ImageFacts,
    LayerFacts,
    Pictures,
)

Maps = npt.NDArray[np.float32]
LOW, HIGH = (68, 1, 84), (253, 231, 37)


def rgb(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def grid(*groups: list[Tile], title: str = "blocks.0.0.ghost1/Concat") -> Grid:
    return Grid(title, ("one", "two"), ("low", "high"), SEQUENTIAL, groups)


def tile(pixels: list[list[int]], label: str = "0") -> Tile:
    return Tile(np.array(pixels, np.uint8), label)


def test_a_palette_runs_through_its_colours_and_then_from_black_to_white() -> None:
    colours = np.array(palette(SEQUENTIAL)).reshape(256, 3)
    assert tuple(colours[0]) == LOW
    assert tuple(colours[LEVELS - 1]) == HIGH
    assert tuple(colours[LEVELS]) == (0, 0, 0)
    assert tuple(colours[255]) == (255, 255, 255)
    brightness = colours[:LEVELS] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) > -1).all()


def test_the_middle_of_a_difference_is_white() -> None:
    middle = np.array(palette(DIVERGING)).reshape(256, 3)[LEVELS // 2]
    assert (middle > 245).all()


@settings(deadline=None, max_examples=50)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.floats(-2e6, 2e6))
def test_every_value_has_a_colour_of_the_map(low: float, span: float, value: float) -> None:
    index = int(indices(np.array([value], np.float32), low, low + span)[0])
    assert 0 <= index < LEVELS


def test_values_beyond_the_ends_have_the_ends_colours() -> None:
    found = indices(np.array([-5, 0, 1, 5], np.float32), 0, 1)
    assert found.tolist() == [0, 0, LEVELS - 1, LEVELS - 1]


def test_a_level_channel_has_the_lowest_colour() -> None:
    assert indices(np.full((2, 2), 7, np.float32), 7, 7).max() == 0


def test_a_small_map_is_enlarged_to_squares_of_one_colour(tmp_path: Path) -> None:
    draw(grid([tile([[0, LEVELS - 1], [LEVELS - 1, 0]])]), tmp_path / "a.png")
    picture = rgb(tmp_path / "a.png")
    rows, columns = np.nonzero((picture == HIGH).all(2))
    below = rows > 140  # under the heading with its colour bar
    bright, left = rows[below], columns[below]
    assert len(bright) == 2 * 39 * 39  # 40 × 40 but for the frame along two sides
    dark = (picture[bright.min() : bright.max() + 1, left.min() : left.max() + 1] == LOW).all(2)
    assert dark.sum() == 2 * 39 * 39


def test_a_large_map_is_thinned_out(tmp_path: Path) -> None:
    wide = Tile(np.zeros((10, 3000), np.uint8), "0")
    draw(grid([wide]), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width == 736


def test_equal_grids_are_equal_bytes_of_few_colours(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, LEVELS, (14, 14)).astype(np.uint8)
    for name in ("a.png", "b.png"):
        draw(grid([Tile(pixels, "0"), Tile(pixels, "1")]), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "P"


def test_a_name_of_any_length_and_script_fits(tmp_path: Path) -> None:
    draw(grid([tile([[0]])], title="层 " * 60 + "x" * 200), tmp_path / "a.png")
    picture = rgb(tmp_path / "a.png")
    assert (picture[:, -8:] == 255).all()  # nothing runs into the margin
    assert picture.shape[0] > 250


@pytest.fixture
def maps() -> Maps:
    return np.random.default_rng(0).normal(size=(8, 6, 6)).astype(np.float32)


def drawn(maps: Maps, other: Maps | None, folder: Path, *, rescaled: bool) -> Pictures:
    layer = Layer("blocks.0.0.ghost1/Concat", "x", (8, 6, 6), primary=4)
    drawing = Drawing(layer, [[0, 4], [1, 5], [2, 6], [3, 7]], "a.pt", "b.tflite", rescaled)
    matched = None if other is None else compare(maps, other, rescaled=rescaled)
    return draw_layer(drawing, maps, matched, folder, "01")


def tiles_of(path: Path) -> npt.NDArray[np.uint8]:
    return rgb(path)[150:]  # below the heading


def test_alone_a_layer_is_one_picture(maps: Maps, tmp_path: Path) -> None:
    assert drawn(maps, None, tmp_path, rescaled=False) == Pictures("01.model.png")
    assert [file.name for file in tmp_path.iterdir()] == ["01.model.png"]


def test_equal_values_have_equal_colours_in_both_networks(maps: Maps, tmp_path: Path) -> None:
    scaled = maps * np.geomspace(0.01, 100, 8, dtype=np.float32)[:, None, None]
    found = drawn(maps, scaled, tmp_path, rescaled=True)
    assert found.against is not None
    one, other = (tiles_of(tmp_path / name) for name in (found.model, found.against))
    np.testing.assert_array_equal(one, other)


def test_without_a_difference_the_third_grid_is_white(maps: Maps, tmp_path: Path) -> None:
    found = drawn(maps, maps, tmp_path, rescaled=False)
    assert found.difference is not None
    picture = tiles_of(tmp_path / found.difference).astype(int)
    spread = picture.max(2) - picture.min(2)  # greys of text and frames have none
    assert spread.max() < 8


def test_a_channel_that_int8_lost_is_dark_in_its_grid_and_coloured_in_the_difference(
    maps: Maps, tmp_path: Path
) -> None:
    positive, lost = np.abs(maps), np.abs(maps)
    positive[3] *= 0.001  # however small the channel is
    lost[3] = 0
    found = drawn(positive, lost, tmp_path, rescaled=False)
    assert found.difference is not None
    picture = tiles_of(tmp_path / found.difference).astype(int)
    coloured = picture.max(2) - picture.min(2) > 60
    rows, columns = np.nonzero(coloured)
    assert coloured.sum() > 1000
    assert columns.max() - columns.min() < 84
    assert rows.max() - rows.min() < 84


class Seen(HTMLParser):
    """Open tags, pictures and addresses of a page."""

    VOID = ("meta", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {key: value or "" for key, value in attrs}
        self.tags.add(tag)
        self.images += [known["src"]] if tag == "img" else []
        self.links += [known["href"]] if tag == "a" else []
        self.ids.update([known["id"]] if "id" in known else [])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def report(maps: Maps, *, against: bool) -> FeaturesReport:
    difference = compare(maps, 0.9 * maps, rescaled=False).difference
    pictures = Pictures("01-001-a.model.png", "01-001-a.against.png", "01-001-a.difference.png")
    alone = Pictures("01-002-b.model.png")
    layers = (
        LayerFacts(0, "a<b>/Add", (8, 6, 6), 4, (0, 4), pictures, difference),
        LayerFacts(0, "b", (8, 6, 6), None, (0,), alone, None),
    )
    other = FileFacts("m_int8.tflite", "0", "tflite", "int8") if against else None
    return FeaturesReport(
        producer="ghostedge",
        model=FileFacts("m & n.pt", "0", "checkpoint", "float32"),
        against=other,
        rescaled=against,
        images=(ImageFacts('cat".jpg', "0", "01-image.png"),),
        layers=layers,
        unmatched=("b",) if against else (),
        notes=("a note",),
    )


@pytest.mark.parametrize("against", [True, False])
def test_the_page_shows_every_picture_and_fetches_nothing(maps: Maps, against: bool) -> None:
    made = report(maps, against=against)
    seen = Seen(page(made))
    assert seen.open == []
    assert sorted(seen.images) == sorted(name for name in made.files if name.endswith(".png"))
    assert not seen.tags & {"script", "link", "iframe", "object"}
    assert "//" not in page(made)
    assert {link.removeprefix("#") for link in seen.links} <= seen.ids


def test_the_page_names_what_could_not_be_matched(maps: Maps) -> None:
    text = page(report(maps, against=True))
    assert "m_int8.tflite has no layer of the name: b" in text
    assert "a&lt;b&gt;/Add" in text
    assert "20.0 dB" in text


def test_every_file_of_a_report_is_named_once(maps: Maps) -> None:
    files = report(maps, against=True).files
    assert len(set(files)) == len(files) == 7
