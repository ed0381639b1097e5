"""An output folder is whole or not there, and a user's files are never lost."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from ghostedge.records.output import staged_folder
from ghostedge_runtime.errors import InputError


def earlier_run(folder: Path) -> None:
    folder.mkdir()
    (folder / "m.onnx").write_text("old")
    (folder / "manifest.json").write_text(json.dumps({"artefacts": [{"file": "m.onnx"}]}))


def stopped_run(target: Path, stop: type[BaseException]) -> None:
    with staged_folder(target) as folder:
        (folder / "m.onnx").write_text("half")
        raise stop


def test_the_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with staged_folder(target) as folder:
        (folder / "m.onnx").write_text("new")
        assert not target.exists()
    assert (target / "m.onnx").read_text() == "new"
    assert [p.name for p in target.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_a_block_that_is_stopped_leaves_nothing(tmp_path: Path, stop: type[BaseException]) -> None:
    with pytest.raises(stop):
        stopped_run(tmp_path / "out", stop)
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_is_stopped_leaves_the_earlier_result(tmp_path: Path) -> None:
    earlier_run(tmp_path / "out")
    with pytest.raises(RuntimeError):
        stopped_run(tmp_path / "out", RuntimeError)
    assert (tmp_path / "out" / "m.onnx").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_earlier_result_is_replaced_as_a_whole(tmp_path: Path) -> None:
    earlier_run(tmp_path / "out")
    with staged_folder(tmp_path / "out") as folder:
        (folder / "n.onnx").write_text("new")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["n.onnx"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_with_a_file_of_the_user_is_refused_and_kept(tmp_path: Path) -> None:
    earlier_run(tmp_path / "out")
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"thesis\.txt"), staged_folder(tmp_path / "out"):
        pytest.fail("the block must not run")
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"
    assert (tmp_path / "out" / "m.onnx").read_text() == "old"


def test_a_file_that_arrives_while_the_run_goes_on_is_kept(tmp_path: Path) -> None:
    earlier_run(tmp_path / "out")
    with pytest.raises(InputError, match="late"), staged_folder(tmp_path / "out"):
        (tmp_path / "out" / "late.txt").write_text("mine")
    assert (tmp_path / "out" / "late.txt").read_text() == "mine"


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="taken by a file"), staged_folder(tmp_path / "out"):
        pytest.fail("the block must not run")
    assert (tmp_path / "out").read_text() == "a file"


def test_a_parent_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(InputError, match="cannot write there"), staged_folder(tmp_path / "file/o"):
        pytest.fail("the block must not run")


def test_a_link_to_a_folder_stays_and_its_folder_is_replaced(tmp_path: Path) -> None:
    earlier_run(tmp_path / "far")
    (tmp_path / "out").symlink_to("far")
    with staged_folder(tmp_path / "out") as folder:
        (folder / "n.onnx").write_text("new")
    assert (tmp_path / "out").is_symlink()
    assert [p.name for p in (tmp_path / "far").iterdir()] == ["n.onnx"]
    assert {p.name for p in tmp_path.iterdir()} == {"far", "out"}


def test_a_full_disk_is_said_and_leaves_the_earlier_result(tmp_path: Path) -> None:
    earlier_run(tmp_path / "out")

    def fill() -> None:
        with staged_folder(tmp_path / "out"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InputError, match="no room for the files"):
        fill()
    assert (tmp_path / "out" / "m.onnx").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
