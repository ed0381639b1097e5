"""Whatever a terminal can show, and whatever a name holds, the command says it and ends well."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from PIL import Image

from ghostedge.terminal import TextConsole, narrowed, printable
from ghostedge_convert import embed_onnx_metadata
from ghostedge_runtime.metadata import InputSpec, ModelMetadata, Preprocessing

REPO = Path(__file__).parents[2]
MODEL = REPO / "examples" / "glyphs" / "ghostnet_050_glyphs_int8.tflite"
LABELS = ("\x1b[31mred\x1b]0;owned\x07", "[/b][red]x[/red]:smile:", "na\u00efve \u4e2d \u202egpj")
QUICK = ("--min-seconds", "0", "--min-runs", "1", "--max-warmup-seconds", "0")
Done = subprocess.CompletedProcess[bytes]


def ghostedge(*arguments: object, **environ: str) -> Done:
    """Run the command as a user does, with pipes for a terminal."""
    plain = {k: v for k, v in os.environ.items() if k not in ("LANG", "LC_ALL", "LC_CTYPE")}
    return subprocess.run(
        [sys.executable, "-m", "ghostedge", *map(str, arguments)],
        capture_output=True,
        env={**plain, **environ},
        check=False,
    )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a classifier and an image whose names and labels are hostile."""
    folder = tmp_path_factory.mktemp("x") / "[red]files[/red]"
    (folder / "br[").mkdir(parents=True)
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    mean = helper.make_node("ReduceMean", ["input", "axes"], ["logits"], keepdims=0)
    graph = helper.make_graph([mean], "net", [image], [logits], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    metadata = ModelMetadata(
        Preprocessing(input_size=(8, 8)), InputSpec("NCHW", "float32", True), labels=LABELS
    )
    onnx.save(embed_onnx_metadata(model, metadata), folder / "m[b].onnx")
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(folder / "br[/b].png")
    return folder


def commands(folder: Path) -> dict[str, tuple[object, ...]]:
    """Each command once, small."""
    model, image = folder / "m[b].onnx", folder / "br[/b].png"
    return {
        "help": ("convert", "--help"),
        "version": ("--version",),
        "usage": ("bench", "--treads", "\u2192"),
        "missing": ("run", folder / "n\u00f6 [b]\x1b[1m.onnx", image),
        "run": ("run", model, image),
        "json": ("run", model, image, "--json"),
        "inspect": ("inspect", model),
        "features": ("features", MODEL, "--list"),
        "doctor": ("doctor",),
        "bench": ("bench", model, *QUICK),
    }


CODES = {"usage": 2, "missing": 2}


@pytest.mark.parametrize("name", commands(Path()))
def test_a_terminal_without_utf_8_gets_ascii_and_no_error(hostile: Path, name: str) -> None:
    done = ghostedge(*commands(hostile)[name], PYTHONIOENCODING="ascii")
    assert done.returncode == CODES.get(name, 0), done.stderr
    said = done.stdout + done.stderr
    assert said.isascii()
    assert b"Traceback" not in said
    assert b"\x1b" not in said
    assert b"\\u2026" not in said  # ours are spelt out, not escaped


@pytest.mark.parametrize(
    "environ",
    [
        {"LANG": "C"},
        {"LC_ALL": "POSIX"},
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "cp437"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
    ids=str,
)
def test_every_such_terminal_gets_ascii_tables_and_arrows(
    hostile: Path, environ: dict[str, str]
) -> None:
    table = ghostedge("run", hostile / "m[b].onnx", hostile / "br[/b].png", **environ).stdout
    assert table.startswith(b"+--")
    assert (
        b"na\\xefve" in table or "naïve".encode(environ.get("PYTHONIOENCODING", "ascii")) in table
    )
    said = ghostedge("run", hostile / "none.onnx", "x", **environ).stderr
    assert b"\n  -> " in said


def test_a_utf_8_terminal_keeps_its_signs(hostile: Path) -> None:
    done = ghostedge("run", hostile / "none.onnx", "x", LANG="C.UTF-8")
    assert "\n  → " in done.stderr.decode()
    stated = ghostedge("run", hostile / "none.onnx", "x", LANG="C", PYTHONIOENCODING="utf-8")
    assert "\n  → " in stated.stderr.decode()


def test_names_and_labels_are_text_in_every_table(hostile: Path) -> None:
    model, image = hostile / "m[b].onnx", hostile / "br[/b].png"
    for arguments in (("run", model, image), ("inspect", model)):
        done = ghostedge(*arguments, LANG="C.UTF-8", COLUMNS="400")
        said = done.stdout.decode()
        assert done.returncode == 0, done.stderr
        assert "\\x1b[31mred\\x1b]0;owned\\x07" in said
        assert "[/b][red]x[/red]:smile:" in said
        assert "naïve 中 \\u202egpj" in said
        assert "\x1b" not in said
        assert "br[/b].png" in said or "m[b].onnx" in said


def test_labels_in_json_are_the_labels(hostile: Path) -> None:
    done = ghostedge("run", hostile / "m[b].onnx", hostile / "br[/b].png", "--json")
    classes = json.loads(done.stdout)[0]["classes"]
    assert {each["label"] for each in classes} == set(LABELS)


def test_a_name_that_is_no_utf_8_is_shown(hostile: Path) -> None:
    name = os.fsencode(hostile) + b"/\xff.png"
    Path(os.fsdecode(name)).write_bytes((hostile / "br[/b].png").read_bytes())
    done = ghostedge("run", hostile / "m[b].onnx", os.fsdecode(name), LANG="C.UTF-8")
    os.unlink(name)  # noqa: PTH108 - a bytes name
    assert done.returncode == 0, done.stderr
    assert "\\udcff.png" in done.stdout.decode()


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_results_that_find_no_room_end_with_2(
    hostile: Path, tmp_path: Path, form: tuple[str, ...], unbuffered: str
) -> None:
    resource = pytest.importorskip("resource")  # POSIX only
    code = (
        "import resource, sys; from ghostedge.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "main()"
    )
    with (tmp_path / "full").open("wb") as small:
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                code,
                "run",
                hostile / "m[b].onnx",
                hostile / "br[/b].png",
                *form,
            ],
            stdout=small,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert resource
    assert done.returncode == 2, done.stderr
    assert done.stderr.decode().startswith("error: standard output: it cannot be written")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_reader_that_has_gone_is_no_error(hostile: Path, form: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "ghostedge", "inspect", hostile / "m[b].onnx", *form],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_progress_that_finds_no_room_costs_no_result(hostile: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "ghostedge", "bench", hostile / "m[b].onnx", *QUICK, "--json"],
        stdout=subprocess.PIPE,
        stderr=writer,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 0
    assert json.loads(done.stdout)


@given(st.text())
def test_printable_text_is_one_line_without_controls(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", shown)
    if text.isprintable():
        assert shown == text


@given(st.text(), st.sampled_from(["ascii", "cp1252", "cp437", "latin-1", "cp932", "koi8-r"]))
def test_narrowed_text_fits_and_keeps_what_does(text: str, codec: str) -> None:
    narrowed(text, codec).encode(codec)
    ascii_only = text.encode("ascii", "ignore").decode()
    assert narrowed(ascii_only, codec) == ascii_only


def test_our_signs_have_ascii_forms() -> None:
    assert narrowed("a → b ± 1×2 … – ✓", "cp1252") == "a -> b +/- 1x2 ... - ok"
    assert narrowed("é→", "cp1252") == "é->"
    assert narrowed("é→", "ascii") == "\\xe9->"


def test_nothing_prints_but_through_the_one_console() -> None:
    outside = re.compile(r"from rich\S* import (?:Console|Text)\b|from_markup|\bclick\.s?echo\(")
    found = {
        file.name
        for file in (REPO / "ghostedge").rglob("*.py")
        if outside.search(file.read_text(encoding="utf-8"))
    }
    assert found == {"terminal.py", "_common.py"}  # the latter writes JSON


def test_strings_on_the_console_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stdout", said)
    TextConsole(width=200).say("[b]a[/b] :x: \x1b[1m")
    assert said.getvalue() == "[b]a[/b] :x: \\x1b[1m\n"


@pytest.fixture
def device() -> Callable[[Path, int, int], None]:
    """device(path, major, minor): a character device's node, where this user may make one."""

    def make(path: Path, major: int, minor: int) -> None:
        try:
            os.mknod(path, 0o20666, os.makedev(major, minor))
            path.open("rb").close()
        except (OSError, AttributeError) as error:
            pytest.skip(f"no device node can be made here: {error}")

    return make


def test_a_full_device_ends_with_2_and_stays_a_device(
    tmp_path: Path, hostile: Path, device: Callable[[Path, int, int], None]
) -> None:
    full = tmp_path / "full"
    device(full, 1, 7)
    done = ghostedge("bench", hostile / "m[b].onnx", *QUICK, "-o", full, LANG="C.UTF-8")
    assert done.returncode == 2
    assert f"error: {full}: it cannot be written (No space left on device)" in done.stderr.decode()
    assert b"p50" in done.stdout  # what could not be kept was shown
    assert full.is_char_device()
    assert [each.name for each in tmp_path.iterdir()] == ["full"]
