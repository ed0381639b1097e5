"""The files that stay on a device."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from ghostedge_runtime.remote.cache import cache_folder, missing, receive, tidy
from ghostedge_runtime.remote.runs import RunFolder


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def archive(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def test_a_file_is_kept_under_its_hash_and_one_that_is_another_is_refused(tmp_path: Path) -> None:
    good, wrong = b"good", sha(b"wrong")
    stream = io.BytesIO(archive({sha(good): good, wrong: b"other", "../../out": b"x"}))
    answers = list(receive(tmp_path, stream, 60))
    assert answers == [{"kept": sha(good)}, {"refused": wrong}, {"refused": "../../out"}]
    assert [path.name for path in (tmp_path / "files").iterdir()] == [sha(good)]
    assert (tmp_path / "files" / sha(good)).read_bytes() == good


def test_a_stream_that_breaks_off_leaves_the_files_that_were_whole(tmp_path: Path) -> None:
    members = {sha(data): data for data in (b"a" * 5000, b"b" * 50000)}
    cut = archive(members)[:20000]
    with pytest.raises(tarfile.ReadError):
        list(receive(tmp_path, io.BytesIO(cut), 60))
    assert [path.name for path in (tmp_path / "files").iterdir()] == [sha(b"a" * 5000)]


def test_a_model_is_read_again_an_image_is_told_by_its_size(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    model, image, short = sha(b"model"), sha(b"image"), sha(b"short")
    (folder / model).write_bytes(b"MODEL")
    (folder / image).write_bytes(b"IMAGE")
    (folder / short).write_bytes(b"sho")
    sizes = {model: 5, image: 5, short: 5, sha(b"none"): 1}
    assert missing(tmp_path, sizes, [model]) == [model, short, sha(b"none")]


def test_the_cache_lies_where_the_system_says() -> None:
    assert cache_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/ghostedge")
    for relative in ({}, {"XDG_CACHE_HOME": ""}, {"XDG_CACHE_HOME": "c"}):
        assert cache_folder(relative) == Path("~/.cache/ghostedge").expanduser()


def make_run(cache: Path, name: str, sizes: dict[str, int], age_s: float) -> RunFolder:
    run = RunFolder(cache / "runs" / name)
    run.path.mkdir(parents=True)
    run.plan.write_text(json.dumps({"sizes": sizes}))
    long_ago = run.path.stat().st_mtime - age_s
    os.utime(run.path, (long_ago, long_ago))
    return run


def test_the_files_used_longest_ago_go_first_but_none_that_a_run_names(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for age, name in enumerate(("new", "mid", "old", "named")):
        (tmp_path / "files" / name).write_bytes(bytes(10))
        os.utime(tmp_path / "files" / name, (1e9 - age, 1e9 - age))
    make_run(tmp_path, "waiting", {"named": 10}, age_s=60)
    tidy(tmp_path, 25)
    assert {path.name for path in (tmp_path / "files").iterdir()} == {"new", "named"}


def test_runs_that_nobody_came_back_for_go_after_a_day_living_ones_stay(tmp_path: Path) -> None:
    make_run(tmp_path, "left", {}, age_s=90000)
    make_run(tmp_path, "fresh", {}, age_s=3600)
    living = make_run(tmp_path, "living", {}, age_s=0)
    handle = living.claim()
    assert handle is not None
    os.utime(living.path, (1e9, 1e9))
    tidy(tmp_path, 0)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"fresh", "living"}
    os.close(handle)


def test_wheels_and_environments_go_after_three_months_without_use(tmp_path: Path) -> None:
    for name in ("wheels/old", "wheels/new", "venvs/old", "venvs/new"):
        (tmp_path / name).mkdir(parents=True)
        if name.endswith("old"):
            os.utime(tmp_path / name, (1e9, 1e9))
    (tmp_path / "venvs" / "lock").touch()
    tidy(tmp_path, 0)
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["lock", "new", "new"]


def test_a_run_lives_once(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run", {}, age_s=0)
    assert not run.is_alive()
    handle = run.claim()
    assert handle is not None
    assert run.is_alive()
    os.close(handle)
    assert not run.is_alive()
    assert run.claim() is None
