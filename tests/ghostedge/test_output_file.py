"""A file is written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ghostedge.output_file import check_file, write_file
from ghostedge_runtime.errors import InputError


def test_a_file_is_written_with_the_users_own_rights(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    write_file(tmp_path / "made", b"content")
    assert (tmp_path / "made").read_bytes() == b"content"
    assert (tmp_path / "made").stat().st_mode == plain.stat().st_mode


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept").write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="No space left"):
        write_file(tmp_path / "kept", b"new")
    assert (tmp_path / "kept").read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]


def test_what_could_not_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        check_file(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        check_file(tmp_path / "none" / "file")
    check_file(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
