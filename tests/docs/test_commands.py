"""Every ``ghostedge`` command line in the README and in docs/ is one that the program takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ghostedge.cli import cli

REPO = Path(__file__).resolve().parents[2]
PAGES = (REPO / "README.md", *sorted((REPO / "docs").glob("*.md")))

# A line of its own, in a block that is indented or fenced, alone or after another command.
BLOCK = re.compile(r"^(?: {4,}|)(?:.*&& )?(?:\S*/)?ghostedge (.*)$")
INLINE = re.compile(r"(?<!`)`(?:\S*/)?ghostedge ([^`]+)`(?!`)")
SHELL = frozenset({"|", ">", ">>", "2>", "&&", ";"})


def _arguments(text: str) -> list[str]:
    """The words up to a comment, a pipe or a redirection; an ellipsis stands for anything."""
    found = []
    for word in shlex.split(text, comments=True):
        if word in SHELL:
            break
        if word not in {"…", "[…]"}:
            found.append(word)
    return found


def _blocks(page: Path) -> Iterator[list[str]]:
    fenced = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        found = BLOCK.match(line) if fenced or line.startswith("    ") else None
        if found is not None:
            yield _arguments(found[1])


def _inline(page: Path) -> Iterator[list[str]]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for span in INLINE.findall(text):
        yield _arguments(" ".join(span.split()))


def _cases(find) -> list:
    return [
        pytest.param(words, id=f"{page.stem}: {' '.join(words)}")
        for page in PAGES
        for words in {tuple(each): list(each) for each in find(page)}.values()
    ]


def _subcommand(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None, f"there is no `ghostedge {name}`"
    return found


@pytest.mark.parametrize("words", _cases(_blocks))
def test_a_command_line_is_taken_as_it_stands(words):
    """Its options exist, their values are of the right kind, and what it needs is given."""
    options = [each for each in words if each != "--debug"]
    _subcommand(options[0]).make_context(options[0], options[1:])


@pytest.mark.parametrize("words", _cases(_inline))
def test_a_command_named_in_a_sentence_exists_with_its_options(words):
    name = next(word for word in words if not word.startswith("-"))
    known = {"--debug", "--help", "-h"} | {
        option for each in _subcommand(name).params for option in (*each.opts, *each.secondary_opts)
    }
    assert {word for word in words if word.startswith("--")} <= known


def test_the_pages_are_found_and_a_wrong_option_would_be(tmp_path):
    assert len(_cases(_blocks)) > 40
    page = tmp_path / "page.md"
    page.write_text("    ghostedge bench m.tflite --thread 2 | cat   # no such option\n")
    ((name, *words),) = _blocks(page)
    with pytest.raises(click.NoSuchOption, match="--thread"):
        _subcommand(name).make_context(name, words)
