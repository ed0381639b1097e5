"""A file is written whole or not at all; what is no regular file is written to as it is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ghostedge.records.output import check_file, write_file
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
