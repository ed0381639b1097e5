"""Files that Keras itself wrote, refused or mended where they have to be."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from ghostedge_convert.sources.keras.process import RemoteKeras
from ghostedge_runtime.errors import CheckpointError, InputError, UnsupportedOpError

CUSTOM = '''
import keras

class Ghost(keras.layers.Layer):
    """Doubles its channels by a cheap copy."""

    def __init__(self, gain=2.0, **rest):
        super().__init__(**rest)
        self.gain = gain

    def call(self, x):
        return keras.ops.concatenate([x, self.gain * x], axis=-1)

    def get_config(self):
        return {**super().get_config(), "gain": self.gain}
'''
WRITE = """
import sys
import h5py
import json
import keras
import numpy as np
import tensorflow as tf
from keras import layers
sys.path.insert(0, sys.argv[1])
from custom import Ghost

folder = sys.argv[1]
keras.utils.set_random_seed(0)
def sequential(*middle, **rest):
    return keras.Sequential([keras.Input((16, 16, 3)), *middle,
                             layers.GlobalAveragePooling2D(), layers.Dense(4)], **rest)

sequential(layers.Conv2D(4, 3), Ghost(3.0)).save(folder + "/custom.keras")
sequential(layers.Conv2D(4, 3), Ghost(3.0)).save(folder + "/custom.h5")
sequential(layers.Lambda(lambda x: x * 2)).save(folder + "/lambda.keras")
sequential(layers.Lambda(lambda x: x * 2)).save(folder + "/lambda.h5")
sequential(layers.Conv2D(4, 3)).save_weights(folder + "/only.weights.h5")
keras.Sequential([keras.Input((7,)), layers.Dense(2)]).save(folder + "/row.keras")

old = sequential(layers.DepthwiseConv2D(3, depth_multiplier=2), layers.SeparableConv2D(5, 3),
                 layers.Activation("hard_sigmoid"))
old.save(folder + "/keras2.h5")
with h5py.File(folder + "/keras2.h5", "r+") as file:
    file.attrs["keras_version"] = "2.15.0"
    config = json.loads(file.attrs["model_config"])
    for layer in config["config"]["layers"]:
        if layer["class_name"] in ("DepthwiseConv2D", "SeparableConv2D"):
            layer["config"]["groups"] = 1
        if layer["class_name"] == "SeparableConv2D":
            layer["config"]["kernel_initializer"] = None
    file.attrs["model_config"] = json.dumps(config)
images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32") * 4
x = old.layers[1](old.layers[0](images))
x = keras.ops.clip(0.2 * x + 0.5, 0, 1)
np.savez(folder + "/keras2.npz", images=images, answers=old.layers[-1](old.layers[-2](x)).numpy())

def saved(name, function, shape=(None, 16, 16, 3)):
    module = tf.Module()
    module.call = tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32)])
    tf.saved_model.save(module, f"{folder}/{name}", signatures={"serving_default": module.call})

def writes(x):
    tf.io.write_file("stolen.txt", "here")
    return {"y": tf.reduce_mean(x, [1, 2])}

saved("writes", writes)
saved("sums", lambda x: {"y": tf.cumsum(tf.reduce_mean(x, [1, 2]))})
saved("rows", lambda x: {"y": x * 2}, shape=(None, 7))

keras.config.set_dtype_policy("mixed_float16")
sequential(layers.Conv2D(4, 3)).save(folder + "/half.keras")
"""


@pytest.fixture(scope="module")
def written(needs_tensorflow, tmp_path_factory):
    """Files made by Keras on TensorFlow, its usual backend."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "custom.py").write_text(CUSTOM)
    (folder / "write.py").write_text(WRITE)
    done = subprocess.run(
        [sys.executable, folder / "write.py", folder],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", ["custom.keras", "custom.h5"])
def test_a_class_of_the_users_is_named_and_comes_with_its_file(written, name):
    with pytest.raises(CheckpointError, match="'Ghost'") as caught:
        RemoteKeras(written / name)
    assert "--custom-objects" in (caught.value.remedy or "")
    model = RemoteKeras(written / name, custom_objects=written / "custom.py")
    assert model.answers(np.ones((1, 3, 16, 16), np.float32))[0].shape == (1, 4)
    model.close()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lambda.keras", "'lambda.*' is a Lambda"),
        ("lambda.h5", "'lambda.*' is a Lambda"),
        ("only.weights.h5", "weights alone"),
    ],
)
def test_code_and_weights_alone_are_refused(written, name, words):
    with pytest.raises(CheckpointError, match=words) as caught:
        RemoteKeras(written / name)
    assert caught.value.remedy


def test_a_model_that_takes_no_images_is_refused(written):
    with pytest.raises(InputError, match="not one batch of images"):
        RemoteKeras(written / "row.keras")


def test_a_file_of_custom_objects_that_fails_says_how(written, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_that_name")
    with pytest.raises(InputError, match="ModuleNotFoundError: No module named 'nothing_of"):
        RemoteKeras(written / "custom.keras", custom_objects=broken)


def test_a_keras_2_file_computes_what_keras_2_did(written):
    found = np.load(written / "keras2.npz")
    model = RemoteKeras(written / "keras2.h5")
    mine = model.answers(found["images"].transpose(0, 3, 1, 2))[0]
    np.testing.assert_allclose(mine, found["answers"], atol=1e-5)
    assert "Keras 2's" in model.facts.notes[0]
    model.close()


def test_mixed_precision_is_exported_in_float32(written):
    model = RemoteKeras(written / "half.keras")
    exported = model.export(input_size=(16, 16), batch=1)
    assert {t.data_type for t in exported.graph.initializer} <= {1, 7}
    assert "Cast" not in {node.op_type for node in exported.graph.node}
    model.close()


def test_a_damaged_file_is_an_error_of_the_file(written, tmp_path):
    data = (written / "keras2.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=r"damaged|cannot load"):
        RemoteKeras(tmp_path / "cut.h5")


def test_a_saved_model_that_writes_files_is_refused_before_it_is_loaded(written):
    with pytest.raises(CheckpointError, match="is a WriteFile, which reaches beyond"):
        RemoteKeras(written / "writes")


def test_a_tensorflow_op_outside_the_table_is_named(written):
    model = RemoteKeras(written / "sums")
    with pytest.raises(UnsupportedOpError, match="op Cumsum has no ONNX form") as caught:
        model.export(input_size=(16, 16), batch=1)
    assert "save the model as .keras" in (caught.value.remedy or "")
    assert model.answers(np.ones((1, 3, 16, 16), np.float32))[0].shape == (1, 3), "it goes on"
    model.close()


def test_a_saved_model_that_takes_no_images_is_refused(written):
    with pytest.raises(InputError, match="not one float32 batch of images"):
        RemoteKeras(written / "rows")


def test_a_damaged_saved_model_is_an_error_of_the_file(written, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff no protobuf")
    with pytest.raises(CheckpointError, match=r"damaged|cannot load"):
        RemoteKeras(tmp_path)
