"""Class names are read from the files that people have them in."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ghostedge.conversion.labels import read_labels
from ghostedge_runtime.errors import InputError

FISH = ("tench, Tinca tinca", "goldfish", "great white shark")
CARDS = ("3 of clubs", "4 of clubs", "5 of clubs")


def read(folder: Path, content: str | bytes, name: str = "labels.txt") -> tuple[str, ...]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_labels(path, 3).names


def lines(form: str, first: int = 0, names: tuple[str, ...] = FISH) -> str:
    return "\n".join(form.format(n=n, name=name) for n, name in enumerate(names, first))


@pytest.mark.parametrize(
    "content",
    [
        lines("{name}"),
        lines("{name}") + "\n\n \n",
        lines("{name}  ").replace("\n", "\r\n") + "\r\n",
        lines("{name}").replace("\n", "\r"),
        codecs.BOM_UTF8 + lines("{name}").encode(),
        lines("{name}\r\n").encode("utf-16"),
        codecs.BOM_UTF16_BE + lines("{name}").encode("utf-16-be"),
        lines("{n}: {name}"),
        lines("{n} {name}"),
        lines("{n},{name}"),
        lines("{n}\t{name}"),
        lines("{n}. {name}"),
        lines("{n}) {name}"),
        lines("{n} : {name}", 1),
        lines("{n:04} {name}", 1),
        lines("n0144{n}764 {name}"),
        "2: great white shark\n0: tench, Tinca tinca\n1: goldfish",
    ],
)
def test_a_name_a_line_with_or_without_its_number(tmp_path: Path, content: str | bytes) -> None:
    assert read(tmp_path, content) == FISH


@pytest.mark.parametrize(
    "names",
    [
        CARDS,
        ("0: tench", "goldfish", "2: shark"),  # not every line has a number
        ("12:30", "13:45", "14:00"),
        ("2 euro", "1 euro", "0 euro"),  # counts down behind a blank
        ("n01440764", "n01443537", "n01484850"),
        ("[red]x", "{blue}", "[b]"),
        ("{x", "[y", "z]"),
        ("names:", "a", "b"),
    ],
)
def test_what_begins_a_name_stays(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert read(tmp_path, "\n".join(names)) == names


PAIRS = {str(n): name for n, name in enumerate(FISH)}


@pytest.mark.parametrize(
    "document",
    [
        list(FISH),
        PAIRS,
        {str(n): name for n, name in enumerate(FISH, 1)},
        dict(reversed(PAIRS.items())),
        {n: [f"n0144{n}764", name] for n, name in PAIRS.items()},
        {name: n for n, name in enumerate(FISH)},
        {"id2label": PAIRS, "label2id": {name: n for n, name in PAIRS.items()}, "depths": [2, 2]},
        {"nc": 3, "names": list(FISH)},
        {"categories": [{"id": n, "name": name} for n, name in enumerate(FISH, 1)]},
    ],
    ids=lambda document: str(document)[:40],
)  # fmt: skip
@pytest.mark.parametrize("name", ["x.json", "x.txt", "x.yaml"])
def test_json_and_yaml_documents(tmp_path: Path, document: object, name: str) -> None:
    assert read(tmp_path, json.dumps(document), name) == FISH


@pytest.mark.parametrize(
    "content",
    [
        "nc: 3\nnames:\n  0: tench, Tinca tinca\n  1: goldfish\n  2: great white shark",
        "names:\n- tench, Tinca tinca\n- goldfish\n- great white shark\n",
        "names: ['tench, Tinca tinca', goldfish, great white shark]  # classes",
        "0: tench, Tinca tinca\n1: goldfish\n2: great white shark",
    ],
)
def test_yaml_as_detectors_have_it(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content, "data.yaml") == FISH
    assert read(tmp_path, codecs.BOM_UTF8 + content.encode(), "data.yml") == FISH


def test_a_python_dict_as_it_is_passed_around_for_imagenet(tmp_path: Path) -> None:
    text = "{0: 'tench, Tinca tinca',\n 1: 'goldfish',\n 2: 'great white shark'}"
    assert read(tmp_path, text) == FISH


def test_yaml_words_and_numbers_are_names(tmp_path: Path) -> None:
    assert read(tmp_path, "names: [no, 1_000, 2024-01-01]", "x.yaml") == (
        "no",
        "1_000",
        "2024-01-01",
    )
    assert read(tmp_path, "[7, 8, 9]", "x.json") == ("7", "8", "9")
    assert read(tmp_path, '{"7": 0, "8": 1, "9": 2}', "x.json") == ("7", "8", "9")


@pytest.mark.parametrize(
    ("content", "name", "complaint"),
    [
        ("a\nb", "x.txt", "2 labels for a network of 3 classes"),
        (b"\xff\xfea", "x.txt", "cannot be read"),
        ("caf\u00e9".encode("latin-1"), "x.txt", "cannot be read"),
        ("{", "x.json", "cannot be read as .json"),
        ("[" * 100_000, "x.json", "cannot be read as .json"),
        ("[" * 100_000, "x.yaml", "cannot be read as .yaml"),
        ("names: [", "x.yaml", "cannot be read as .yaml"),
        ('"tench"', "x.json", "no list of labels"),
        ('{"0": "a", "2": "b", "3": "c"}', "x.json", "no 1 among 3"),
        ('{"a": 0, "b": 0, "c": 1}', "x.json", "no 2 among 3"),
        ('{"a": "b"}', "x.json", "neither a list of labels"),
        ('[["a"], {"b": 1}, "c"]', "x.json", "is no label"),
        ("[true, null, 1]", "x.json", "is no label"),
        (json.dumps({"9" * 5000: 0}), "x.json", "1 labels for a network of 3"),
        (json.dumps({"a": 10**4000}), "x.json", "do not count"),
    ],
)
def test_what_does_not_name_each_class_once_is_refused(
    tmp_path: Path, content: str | bytes, name: str, complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        read(tmp_path, content, name)
    assert caught.value.where == str(tmp_path / name)


def test_what_was_taken_off_is_said(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("1: a\n2: b")
    assert read_labels(path, 2).how == ", by the numbers 1 to 2 before them"
    path.write_text("n01440764 a\nn01443537 b")
    assert read_labels(path, 2).how == ", the WordNet ids before them left out"
    path.write_text("a\nb")
    assert read_labels(path, 2).how == ""


NAMES = st.lists(
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs")), min_size=1)
    .filter(lambda name: name[0] not in "{[" and not name[0].isdigit()),
    min_size=1,
    max_size=12,
)  # fmt: skip
ONCE = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


FORMS = ("{name}", "{n}: {name}", "{n},{name}", "{n}\t{name}", "{n} {name}", "{n}. {name}")
WRITTEN = st.tuples(
    st.sampled_from(FORMS),
    st.sampled_from([0, 1]),
    st.sampled_from(["\n", "\r\n", " \n", "\t\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)


@ONCE
@given(names=NAMES, written=WRITTEN)
def test_any_names_come_back_from_any_form(
    tmp_path: Path, names: list[str], written: tuple[str, int, str, str]
) -> None:
    form, first, ending, encoding = written
    assume(not any(name[0] in ":,;.)\ufeff" for name in names))
    text = "".join(form.format(n=n, name=name) + ending for n, name in enumerate(names, first))
    path = tmp_path / "labels.txt"
    path.write_bytes(text.encode(encoding))
    assert list(read_labels(path, len(names)).names) == names


@ONCE
@given(names=NAMES, name=st.sampled_from(["x.json", "x.yaml", "x.txt"]))
def test_any_names_come_back_from_json(tmp_path: Path, names: list[str], name: str) -> None:
    path = tmp_path / name
    path.write_text(json.dumps({str(n): each for n, each in enumerate(names)}))
    assert list(read_labels(path, len(names)).names) == [each.strip() for each in names]


@ONCE
@given(content=st.binary(max_size=60), suffix=st.sampled_from([".txt", ".json", ".yaml"]))
def test_any_bytes_are_labels_or_an_input_error(
    tmp_path: Path, content: bytes, suffix: str
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    try:
        names = read_labels(path, 2).names
    except InputError:
        return
    assert len(names) == 2
