"""``ghostedge report``: what it writes, and what it refuses before it writes anything."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from ghostedge.commands.report import command
from ghostedge_runtime.errors import InputError, MissingDependencyError
from ghostedge_runtime.record import document


@pytest.fixture
def run_file(tmp_path, bare):
    file = tmp_path / "run.json"
    file.write_text(json.dumps(document([bare])))
    return file


def report(*arguments):
    """Run it; what it refuses is raised, as the command line's own handler gets it."""
    return CliRunner().invoke(
        command, [str(each) for each in arguments], catch_exceptions=False, standalone_mode=False
    )


@pytest.mark.parametrize(
    ("name", "start"),
    [("r.html", b"<!doctype html>"), ("r.png", b"\x89PNG"), ("r.md", b"# 4 cases on AMD")],
)
def test_the_name_s_ending_chooses_the_form(tmp_path, run_file, name, start):
    done = report(run_file, "-o", tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert done.stdout == ""
    assert f"written to {tmp_path / name}" in done.stderr.replace("\n", "")


@pytest.mark.parametrize("name", ["r.pdf", "r"])
def test_an_ending_of_no_form_is_refused_unless_the_form_is_said(tmp_path, run_file, name):
    with pytest.raises(InputError, match="names none of html, png, markdown"):
        report(run_file, "-o", tmp_path / name)
    assert not (tmp_path / name).exists()
    report(run_file, "-o", tmp_path / name, "--format", "markdown")
    assert (tmp_path / name).read_bytes().startswith(b"# 4 cases")


def test_a_report_replaces_an_earlier_one_and_leaves_nothing_beside_it(tmp_path, run_file):
    target = tmp_path / "r.md"
    target.write_text("old")
    report(run_file, "-o", target)
    assert target.read_text().startswith("# 4 cases")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.md", "run.json"]


def test_several_files_become_one_report(tmp_path, run_file, eight):
    other = tmp_path / "pi.json"
    other.write_text(json.dumps(document([eight])))
    report(other, run_file, "-o", tmp_path / "both.md")
    assert (tmp_path / "both.md").read_text().startswith("# 12 cases on Raspberry Pi 5")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "cannot be read"),
        ("{", "not JSON"),
        ('{"run_version": 99, "runs": []}', "format 99"),
        ('{"run_version": 1, "runs": []}', "holds no results"),
    ],
)
def test_a_file_that_is_no_measurement_is_named_and_the_old_report_stays(tmp_path, content, what):
    file, target = tmp_path / "x.json", tmp_path / "r.md"
    target.write_text("old")
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=what) as raised:
        report(file, "-o", target)
    assert raised.value.where == str(file)
    assert raised.value.remedy
    assert target.read_text() == "old"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("-o", "r.png", "--format", "html"), "promises png"),
        (("-o", "nowhere/r.html"), "no such folder"),
        (("-o", "run.json", "--format", "markdown"), "that the report is made of"),
    ],
)
def test_a_target_that_cannot_be_meant_is_refused(monkeypatch, tmp_path, run_file, arguments, what):
    monkeypatch.chdir(tmp_path)
    before = run_file.read_text()
    with pytest.raises(InputError, match=what):
        report(run_file, *arguments)
    assert run_file.read_text() == before


@pytest.mark.parametrize("form", ["html", "png"])
def test_without_matplotlib_the_extra_is_named(monkeypatch, tmp_path, run_file, form):
    for name in [each for each in sys.modules if each.startswith("ghostedge.show.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [each for each in sys.modules if each.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"ghostedge\[report\]"):
        report(run_file, "--format", form, "-o", tmp_path / f"r.{form}")
    assert not (tmp_path / f"r.{form}").exists()


def test_markdown_needs_neither_matplotlib_nor_a_framework(tmp_path, run_file):
    code = (
        "import sys; from ghostedge.commands.report import command\n"
        f"command({[str(run_file), '-o', str(tmp_path / 'r.md')]!r}, standalone_mode=False)\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"matplotlib", "torch", "onnx", "onnxruntime", "tensorflow"}
    assert not heavy & set(done.stdout.split())
