"""What documents, docstrings and comments name in this repository is there."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
PACKAGES = (
    "ghostedge",
    "runtime/ghostedge_runtime",
    "convert/ghostedge_convert",
    "quantize/ghostedge_quantize",
)
CODE = (*PACKAGES, "benchmarks", "examples")
PAGES = (
    REPO / "README.md",
    REPO / "CONTRIBUTING.md",
    *sorted((REPO / "docs").glob("*.md")),
    *sorted(REPO.glob("*/README.md")),
    *sorted(REPO.glob("examples/*/README.md")),
)
SOURCES = sorted(path for folder in CODE for path in (REPO / folder).rglob("*.py"))

# Names that stand for a file or a folder of the reader's own.
READERS = frozenset(
    {"FILE.py", "file.py", "net.py", "peers/NAME_int8.py", "test.py"}
    | {"labelled/", "photos/", "shared/", "out/", "runs/ID/", "NAME_ghostedge/"}
)

SPAN = re.compile(r"(?<!`)(`{1,2})(?!`)([^`\n]+)\1(?!`)")
FILE = re.compile(r"[\w*./-]*\w\.py\b(?![\w/])")
FOLDER = re.compile(r"(?:[\w.*-]+/)+")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")
DOTTED = re.compile(r"\bghostedge(?:_(?:runtime|convert|quantize))?(?:\.[A-Za-z_]\w*)+")


def _exists(name: str, beside: Path) -> bool:
    """Whether ``name``, which may hold ``*``, leads somewhere.

    It is read from the repository, from a package, or from a folder that the naming file is in.
    """
    pattern = name.removeprefix("./").rstrip("/")
    folders = [folder for folder in beside.parents if folder.is_relative_to(REPO)]
    roots = (*folders, *(REPO / package for package in PACKAGES), REPO)
    return any(any(root.glob(pattern)) for root in roots)


def _named(text: str) -> Iterator[str]:
    """Paths of Python files and of folders in a text's spans of code."""
    for _, span in SPAN.findall(text):
        for word in span.split():
            name = word.partition(":")[0]
            if FILE.fullmatch(name) or FOLDER.fullmatch(name):
                yield name


def _missing(path: Path) -> list[str]:
    names = set(_named(path.read_text(encoding="utf-8"))) - READERS
    return sorted(name for name in names if not _exists(name, path))


def _stands_for(dotted: str) -> bool:
    """Whether ``dotted`` is a module, or an attribute, of however many names, of one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            if not hasattr(value, name):
                return False
            value = getattr(value, name)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPO)))
def test_every_path_and_link_of_a_page_leads_somewhere(page):
    links = set(LINK.findall(page.read_text(encoding="utf-8")))
    assert _missing(page) == []
    assert [link for link in sorted(links) if not (page.parent / link).exists()] == []


def test_every_path_that_code_names_exists():
    missing = {str(path.relative_to(REPO)): _missing(path) for path in SOURCES}
    assert {path: names for path, names in missing.items() if names} == {}


def test_every_module_that_a_page_or_code_names_exists():
    places: dict[str, list[str]] = {}
    for path in (*PAGES, *SOURCES):
        for dotted in DOTTED.findall(path.read_text(encoding="utf-8")):
            places.setdefault(dotted, []).append(str(path.relative_to(REPO)))
    missing = {dotted: where for dotted, where in places.items() if not _stands_for(dotted)}
    assert missing == {}


def test_a_wrong_path_and_a_wrong_module_would_be_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("`lower/table.py`, `lower/tabel.py`, in `lower/`, `lowered/`: `net.py:make`\n")
    assert _missing(page) == ["lower/tabel.py", "lowered/"]
    assert _stands_for("ghostedge_convert.lower.table.TABLE")
    assert not _stands_for("ghostedge_convert.lower.table.TABEL")
    assert not _stands_for("ghostedge_convert.lowered")
