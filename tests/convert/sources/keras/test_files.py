"""Kinds of files, told by their content, and the messages between the processes."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ghostedge_convert.sources.keras.files import Kind, config_of, is_keras, kind_of, sha256_of
from ghostedge_convert.sources.keras.process import RemoteKeras
from ghostedge_convert.sources.keras.wire import receive, send
from ghostedge_runtime.errors import CheckpointError, MissingDependencyError


@pytest.fixture
def archive(tmp_path):
    def write(name="model.keras", **files):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as made:
            for entry, text in files.items():
                made.writestr(entry.replace("__", "."), text)
        return path

    return write


CONFIG = json.dumps({"class_name": "Sequential", "config": {"layers": []}})


def test_a_keras_archive_says_what_it_holds_and_who_wrote_it(archive):
    path = archive("renamed.bin", config__json=CONFIG, metadata__json='{"keras_version": "3.9.0"}')
    assert kind_of(path) is Kind.KERAS
    assert config_of(path).keras_version == "3.9.0"
    assert config_of(path).model["class_name"] == "Sequential"


def test_hdf5_and_saved_models_are_told_by_content(tmp_path):
    hdf5 = tmp_path / "weights.bin"
    hdf5.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"")
    assert (kind_of(hdf5), kind_of(folder)) == (Kind.H5, Kind.SAVED_MODEL)
    assert is_keras(hdf5)
    assert is_keras(folder)


def test_other_files_are_not_taken_for_keras(tmp_path, archive):
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04")
    assert not is_keras(tmp_path / "model.pt")
    assert not is_keras(tmp_path)
    assert not is_keras(tmp_path / "nothing.pt")
    assert is_keras(Path("absent.keras"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"hello", "neither a .keras archive nor an HDF5 file"),
        ({"other.txt": "x"}, "a zip without Keras's config.json"),
        ({"config.json": "{"}, "the .keras archive is damaged"),
        ({"config.json": "[1]"}, "is no JSON object"),
    ],
)
def test_a_file_that_is_no_model_is_refused_with_a_remedy(tmp_path, content, words):
    path = tmp_path / "model.keras"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with zipfile.ZipFile(path, "w") as made:
            for name, text in content.items():
                made.writestr(name, text)
    with pytest.raises(CheckpointError, match=words) as caught:
        kind_of(path)
    assert caught.value.remedy


def test_a_folder_without_a_saved_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds no saved_model"):
        kind_of(tmp_path)


def test_the_hash_of_a_folder_is_of_names_and_contents(tmp_path):
    folder = tmp_path / "saved"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "data").write_bytes(b"weights")
    first = sha256_of(folder)
    (folder / "variables" / "data").rename(folder / "variables" / "other")
    assert sha256_of(folder) != first


def test_without_keras_the_pip_line_is_given(archive, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="needs keras, h5py") as caught:
        RemoteKeras(archive(config__json=CONFIG))
    assert caught.value.remedy == "pip install 'ghostedge[keras]'"


@settings(max_examples=50, deadline=None)
@given(
    head=st.dictionaries(st.sampled_from("abc"), st.integers() | st.text() | st.none()),
    sent=st.lists(arrays.arrays(np.float32, arrays.array_shapes(max_dims=4, max_side=3))),
)
def test_messages_arrive_as_they_were_sent(head, sent):
    stream = io.BytesIO()
    send(stream, head, sent)
    send(stream, {"next": True})
    stream.seek(0)
    frame = receive(stream)
    assert frame.head == head
    for mine, theirs in zip(frame.arrays, sent, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert receive(stream).head == {"next": True}
    assert receive(stream) is None


def test_a_message_that_breaks_off_is_an_error():
    stream = io.BytesIO()
    send(stream, {}, [np.zeros(9)])
    cut = io.BytesIO(stream.getvalue()[:-5])
    with pytest.raises(EOFError):
        receive(cut)


def test_an_array_of_python_objects_is_never_unpickled():
    stream = io.BytesIO()
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        send(stream, {}, [np.array([{}], dtype=object)])
