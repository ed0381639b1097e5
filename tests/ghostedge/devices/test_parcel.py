"""What travels: files by content, a wheel that is the code that runs here, first words."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ghostedge.devices.parcel import pack
from ghostedge.devices.setup import _first_words, runtime_wheel
from ghostedge_runtime.bench.job import make_job
from ghostedge_runtime.errors import ImageError, InputError
from ghostedge_runtime.record import BenchJob


def weights_beside(folder: Path) -> Path:
    """A model whose weights lie in a folder below its own."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    weights = onnx.numpy_helper.from_array(np.ones(3, np.float32), "w")
    sizes = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 3]) for n in "xy"]
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "main", sizes[:1], sizes[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "w").mkdir()
    onnx.save(
        model,
        folder / "net.onnx",
        save_as_external_data=True,
        location="w/net.bin",
        size_threshold=0,
    )
    return folder / "net.onnx"


def test_a_file_travels_once_however_many_names_it_has(quick: BenchJob, tmp_path: Path) -> None:
    for name in ("cat/a.png", "cat/b.PNG", "dog/a.png", "dog/notes.txt", "owl/.hidden.png"):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_bytes(name.partition("/")[0].encode())
    inputs = (str(tmp_path / "d/cat/a.png"),)
    parcel = pack(replace(quick, data=str(tmp_path / "d"), inputs=inputs))
    cat, dog = (hashlib.sha256(word).hexdigest() for word in (b"cat", b"dog"))
    (sha256,) = quick.files
    assert parcel.links == {
        "models/0/ghostnet_050_glyphs_int8.tflite": sha256,
        "inputs/00000.png": cat,
        "data/cat/a.png": cat,
        "data/cat/b.PNG": cat,
        "data/dog/a.png": dog,
    }
    assert parcel.folders == ("data", "data/cat", "data/dog", "data/owl")
    assert parcel.sizes == {sha256: quick.cases[0].bytes, cat: 3, dog: 3}
    assert set(parcel.files) == {sha256, cat, dog}
    plan = json.loads(parcel.plan("ssh://pi", {"heartbeat_s": 1}, "ada"))
    assert plan["job"]["device"] == "ssh://pi"
    assert plan["job"]["data"] == "data"
    assert plan["models"] == [sha256]


def test_a_model_brings_the_files_that_hold_its_weights(tmp_path: Path) -> None:
    path = weights_beside(tmp_path)
    job = make_job([path])
    parcel = pack(job)
    main, data = (
        hashlib.sha256(f.read_bytes()).hexdigest() for f in (path, tmp_path / "w/net.bin")
    )
    assert parcel.links == {"models/0/net.onnx": main, "models/0/w/net.bin": data}
    assert json.loads(parcel.plan("ssh://pi", {}, "ada"))["models"] == [main, data]
    (case,) = job.cases
    assert case.sha256 not in (main, data)
    assert case.bytes == sum(parcel.sizes.values())
    (tmp_path / "w/net.bin").write_bytes(b"\1" * 12)
    with pytest.raises(InputError, match="it changed while"):
        pack(job)


def test_a_model_that_changed_since_the_job_was_made_is_refused(
    quick: BenchJob, tmp_path: Path
) -> None:
    (sha256,) = quick.files
    (tmp_path / "m.tflite").write_bytes(b"another")
    with pytest.raises(InputError, match="it changed while"):
        pack(replace(quick, files={sha256: str(tmp_path / "m.tflite")}))


def test_a_data_folder_that_is_not_there_is_refused(quick: BenchJob, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such folder"):
        pack(replace(quick, data=str(tmp_path / "none")))


def test_the_wheel_is_the_same_bytes_every_time_and_keeps_its_record() -> None:
    wheel = runtime_wheel()
    assert wheel.sha256 == runtime_wheel().sha256 == hashlib.sha256(wheel.data).hexdigest()
    with zipfile.ZipFile(io.BytesIO(wheel.data)) as archive:
        names = archive.namelist()
        record = next(name for name in names if name.endswith("/RECORD"))
        lines = archive.read(record).decode().splitlines()
        metadata = archive.read(record.replace("RECORD", "METADATA")).decode()
    assert sorted(line.partition(",")[0] for line in lines) == sorted(names)
    assert "ghostedge_runtime/remote/__main__.py" in names
    assert not [name for name in names if "__pycache__" in name]
    assert "Requires-Dist: numpy>=1.23" in metadata
    assert "Provides-Extra: onnx" in metadata


def test_the_devices_end_runs_from_the_wheel_with_the_standard_library_alone(
    tmp_path: Path,
) -> None:
    wheel = runtime_wheel()
    path = tmp_path / wheel.name
    path.write_bytes(wheel.data)
    code = (
        "import sys, ghostedge_runtime; from ghostedge_runtime.remote.server import main;"
        "main(['end', '0']);"
        "print(ghostedge_runtime.__file__, 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(path), "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    reply, last = done.stdout.splitlines()
    assert reply == 'ghostedge-reply {"ended": true}'
    assert last == f"{path}/ghostedge_runtime/__init__.py False"


def test_the_first_words_are_the_same_to_every_login_shell() -> None:
    """csh reads ``!`` in quotes, fish reads a backslash before a quote or another backslash."""
    words = _first_words()
    assert "!" not in words
    assert "\n" not in words
    assert not re.search(r"\\['\\]", words)
    ast.parse(words)


def test_a_python_that_is_too_old_is_told_so_in_words() -> None:
    old = "import sys; sys.version_info = (3, 9, 2)"
    done = subprocess.run(
        [sys.executable, "-c", f"{old}; {_first_words()}", "facts", "0", "0"],
        capture_output=True,
        text=True,
        check=True,
    )
    reply = json.loads(done.stdout.removeprefix("ghostedge-reply "))
    assert reply["error"]["what"] == "its Python is 3.9, 3.10 is needed"
    assert "?python=" in reply["error"]["remedy"]


def test_images_to_be_skipped_stay_here(quick: BenchJob, tmp_path: Path) -> None:
    for name in ("cat/a.png", "cat/bad.png", "dog/bad.png"):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_bytes(name.encode())
    skipped = ("cat/bad.png", "dog/bad.png")
    parcel = pack(replace(quick, data=str(tmp_path / "d"), skipped=skipped))
    assert [name for name in parcel.links if name.startswith("data/")] == ["data/cat/a.png"]
    assert parcel.folders == ("data", "data/cat", "data/dog")
    assert parcel.job.skipped == ()
