"""Kinds of files, told by content; what is refused and mended before Keras builds anything."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from ghostedge_convert.sources.keras.files import (
    HARD_SIGMOID_2,
    Kind,
    config_of,
    is_keras,
    kind_of,
    layers_of,
    mended,
    refuse_other_kernels,
    refuse_unknown,
    refuse_unsafe,
    sha256_of,
)
from ghostedge_runtime.errors import CheckpointError

CONFIG = json.dumps({"class_name": "Sequential", "config": {"layers": []}})
FILE = Path("model.keras")
KNOWN = {"Conv2D", "Dense"}


@pytest.fixture
def archive(tmp_path):
    def write(name="model.keras", **files):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as made:
            for entry, text in files.items():
                made.writestr(entry.replace("__", "."), text)
        return path

    return write


def layer(kind, *, module="keras.layers", registered=None, **config):
    return {
        "module": module,
        "class_name": kind,
        "config": {"name": f"my_{kind.lower()}", **config},
        "registered_name": registered,
    }


def model(*layers, kind="Functional"):
    return {"module": "keras", "class_name": kind, "config": {"name": "m", "layers": list(layers)}}


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


def test_layers_of_nested_models_and_wrappers_are_found():
    inner = model(layer("Dense"), kind="Sequential")
    tree = model(inner, layer("TimeDistributed", layer=layer("Conv2D")))
    kinds = [each["class_name"] for each in layers_of(tree)]
    assert kinds == ["Functional", "Sequential", "Dense", "TimeDistributed", "Conv2D"]


@pytest.mark.parametrize("kind", ["Lambda", "TFOpLambda", "SlicingOpLambda", "TFSMLayer"])
def test_a_layer_that_holds_code_is_refused_by_name_at_any_depth(kind):
    with pytest.raises(CheckpointError, match=f"'my_{kind.lower()}' is a {kind}") as caught:
        refuse_unsafe(model(model(layer(kind))), FILE)
    assert "SavedModel" in (caught.value.remedy or "")


def test_an_ordinary_model_is_not_refused():
    tree = model(layer("Conv2D"), layer("Dense"))
    refuse_unsafe(tree, FILE)
    refuse_unknown(tree, KNOWN, set(), FILE)


def test_every_foreign_class_is_named_once_with_both_remedies():
    tree = model(
        layer("Ghost", module="__main__"),
        layer("Ghost", module="__main__"),
        layer("Gate", module=None, registered="mine>Gate"),
    )
    with pytest.raises(CheckpointError, match=r"not Keras's own: 'Ghost', 'Gate'") as caught:
        refuse_unknown(tree, KNOWN, set(), FILE)
    assert "--custom-objects FILE.py" in (caught.value.remedy or "")
    assert "--factory" in (caught.value.remedy or "")


@pytest.mark.parametrize("custom", [{"Gate"}, {"mine>Gate"}])
def test_a_class_that_the_user_brings_is_known(custom):
    for module in (None, "__main__"):
        entry = layer("Gate", module=module, registered="mine>Gate")
        refuse_unknown(model(entry), KNOWN, custom, FILE)


def test_hdf5_files_of_keras_2_state_no_module():
    old = {"class_name": "Ghost", "config": {"name": "g"}}
    known = {"class_name": "Dense", "config": {"name": "d"}}
    tree = {"class_name": "Sequential", "config": {"layers": [known, old]}}
    with pytest.raises(CheckpointError, match="'Ghost'"):
        refuse_unknown(tree, KNOWN, set(), FILE)
    refuse_unknown(tree, KNOWN, {"Ghost"}, FILE)


def test_operations_that_keras_wrote_as_nodes_are_its_own():
    tree = model(layer("Relu6", module="keras.src.ops.nn"))
    refuse_unknown(tree, KNOWN, set(), FILE)


def test_keras_2_means_another_hard_sigmoid():
    tree = model(
        layer("Conv2D", activation="hard_sigmoid"),
        layer("Activation", activation={"class_name": "function", "config": "hard_sigmoid"}),
        layer("Dense", activation="relu"),
    )
    result = mended(tree, keras_version="2.15.0")
    used = [each["config"]["activation"] for each in result.model["config"]["layers"]]
    assert used == [HARD_SIGMOID_2, HARD_SIGMOID_2, "relu"]
    assert len(result.notes) == 1
    assert mended(tree, keras_version="3.5.0").model == tree


def test_what_keras_2_wrote_and_keras_3_does_not_take_is_left_out():
    tree = model(
        layer("DepthwiseConv2D", groups=1, depth_multiplier=2),
        layer("SeparableConv2D", groups=1, kernel_initializer=None, filters=3),
        layer("Conv2D", groups=2),
    )
    result = mended(tree, keras_version="2.4.0")
    kept = [sorted(each["config"]) for each in result.model["config"]["layers"]]
    assert kept == [["depth_multiplier", "name"], ["filters", "name"], ["groups", "name"]]
    assert "groups" in tree["config"]["layers"][0]["config"], "the caller's tree is not touched"


@pytest.mark.parametrize(
    "dtype",
    ["mixed_float16", "bfloat16", {"class_name": "DTypePolicy", "config": {"name": "float16"}}],
)
def test_reduced_precision_is_computed_in_float32_and_said(dtype):
    result = mended(model(layer("Dense", dtype=dtype)), keras_version="3.5.0")
    assert result.model["config"]["layers"][0]["config"]["dtype"] == "float32"
    assert "float32" in result.notes[0]


def test_float32_is_nothing_to_note():
    assert mended(model(layer("Dense", dtype="float32")), keras_version="3.5.0").notes == ()


def test_bicubic_interpolation_which_the_backends_weigh_otherwise_is_refused():
    refuse_other_kernels(model(layer("UpSampling2D", interpolation="bilinear")), FILE)
    with pytest.raises(CheckpointError, match="'my_resizing' interpolates by bicubic") as caught:
        refuse_other_kernels(model(layer("Resizing", interpolation="bicubic")), FILE)
    assert "SavedModel" in caught.value.remedy
