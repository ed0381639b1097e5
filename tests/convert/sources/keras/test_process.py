"""What is refused before a process is started."""

from __future__ import annotations

import json
import zipfile

import pytest

from ghostedge_convert.sources.keras.process import RemoteKeras
from ghostedge_runtime.errors import MissingDependencyError

CONFIG = json.dumps({"class_name": "Sequential", "config": {"layers": []}})


@pytest.fixture
def archive(tmp_path):
    def write(name="model.keras", **files):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as made:
            for entry, text in files.items():
                made.writestr(entry.replace("__", "."), text)
        return path

    return write


def test_without_keras_the_pip_line_is_given(archive, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="needs keras, h5py") as caught:
        RemoteKeras(archive(config__json=CONFIG))
    assert caught.value.remedy == "pip install 'ghostedge[keras]'"
