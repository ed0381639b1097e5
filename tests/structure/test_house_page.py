"""docs/house.md names every room, and nothing imports against the order that it lists them in."""

from __future__ import annotations

import re

import pytest

# (importing room, imported room): why it is so.
EXCEPTIONS = {
    ("ghostedge_runtime.record", "ghostedge_runtime.formats"): "names of engines are its values",
    ("ghostedge.show", "ghostedge.layer_errors"): "its picture has a module of its own: matplotlib",
}


@pytest.fixture(scope="module")
def rows(measure) -> dict[str, int]:
    """Room → its row, counted from the top of its package's table."""
    page = (measure.REPO / "docs" / "house.md").read_text(encoding="utf-8")
    places = {}
    for section in re.split(r"^### ", page, flags=re.MULTILINE)[1:]:
        package = section.split("`")[1]
        table = section.partition("\n## ")[0]
        for number, line in enumerate(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)):
            for room in re.findall(r"`([^`]+)`", line):
                places[f"{package}.{room.removesuffix('.py').removesuffix('/')}"] = number
    return places


@pytest.fixture(scope="module")
def modules(measure):
    return measure.read(measure.REPO)


def test_the_page_names_every_room_and_no_other(measure, modules, rows):
    assert set(rows) == {module.room for module in modules.values()} - measure.PACKAGES.keys()


def test_a_room_imports_only_those_below_it(measure, modules, rows):
    against = []
    for module in modules.values():
        for edge in measure.imports_of(module, modules):
            pair = (module.room, modules[edge.target].room)
            if pair in EXCEPTIONS or not set(pair) <= rows.keys() or pair[0] == pair[1]:
                continue
            same = pair[0].partition(".")[0] == pair[1].partition(".")[0]
            if same and rows[pair[0]] > rows[pair[1]]:
                against.append(f"{module.path}:{edge.line}: {pair[0]} imports {edge.target}")
    assert not against, "\n".join(against)
