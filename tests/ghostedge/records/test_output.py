"""An output folder or file is whole or not there, and a user's files are never lost."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ghostedge.records.output import check_file, staged_folder, write_file
from ghostedge_runtime.errors import InputError


def earlier_run(folder: Path) -> None:
    folder.mkdir()
    (folder / "m.onnx").write_text("old")
    (folder / "manifest.json").write_text(
        json.dumps({"name": "m", "artefacts": [{"file": "m.onnx"}]})
    )


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


def test_what_tune_wrote_there_goes_with_the_files_it_is_of(tmp_path: Path) -> None:
    earlier_run(tmp_path / "out")
    for name in ("tuning.json", "tuning.measurements.jsonl", "m_tuned.tflite"):
        (tmp_path / "out" / name).write_text("old")
    with staged_folder(tmp_path / "out") as folder:
        (folder / "n.onnx").write_text("new")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["n.onnx"]


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


def test_a_pipe_gets_the_bytes_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = os.urandom(300_000)  # more than a pipe holds
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    check_file(pipe)
    write_file(pipe, content)
    reader.join(30)
    assert got == [content]
    assert pipe.is_fifo()
    assert [each.name for each in tmp_path.iterdir()] == ["pipe"]


def test_a_socket_is_refused_and_left(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        with pytest.raises(InputError, match="is a socket"):
            check_file(tmp_path / "s")
        with pytest.raises(InputError, match="is a socket"):
            write_file(tmp_path / "s", b"")
    assert (tmp_path / "s").is_socket()


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_written_through(tmp_path: Path, there: bool) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to("far/file")
    if there:
        (tmp_path / "far" / "file").write_bytes(b"old")
    check_file(tmp_path / "link")
    write_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "file").read_bytes() == b"new"
    assert {each.name for each in tmp_path.iterdir()} == {"far", "link"}


WRITE = "import sys; from pathlib import Path; from ghostedge.records.output import write_file; "


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_by_name_keeps_what_was_printed_before(tmp_path: Path, name: str) -> None:
    if name == "link":
        (tmp_path / "link").symlink_to("/dev/stdout")
        name = str(tmp_path / "link")
    elif not Path(name).parent.exists():
        pytest.skip(f"no {name} here")
    code = f"{WRITE}print('before'); write_file(Path({name!r}), b'bytes'); print('after')"
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\nbytesafter\n"


def test_an_open_pipe_by_its_number_gets_the_bytes() -> None:
    reader, writer = os.pipe()
    write_file(Path(f"/dev/fd/{writer}"), b"bytes")
    os.close(writer)
    with os.fdopen(reader, "rb") as end:
        assert end.read() == b"bytes"


def test_a_number_that_is_not_open_is_refused() -> None:
    with pytest.raises(InputError, match="Bad file descriptor"):
        write_file(Path("/dev/fd/987"), b"bytes")


def test_a_disk_that_fills_leaves_the_old_file(tmp_path: Path) -> None:
    pytest.importorskip("resource")  # POSIX only
    (tmp_path / "kept").write_bytes(b"old")
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"{WRITE}\n"
        "try: write_file(Path(sys.argv[1]), bytes(100_000))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "kept"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"InputError {tmp_path / 'kept'}: it cannot be written")
    assert (tmp_path / "kept").read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]
