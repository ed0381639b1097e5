"""Weights beside an ``.onnx``: found without the onnx package, in the model's own folder only."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge_runtime import Model
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.formats.loading import whole_digest
from ghostedge_runtime.formats.onnx.data import data_files, external_tensors

onnx = pytest.importorskip("onnx")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto

KERNEL = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
BIAS = np.arange(4, dtype=np.float32)
IMAGE = np.ones((1, 3, 8, 8), np.float32)


def network() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["image", "kernel", "bias"], ["conv"]),
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(BIAS[2:3], "two")),
        helper.make_node("Mul", ["conv", "two"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, IMAGE.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6, 6])],
        [numpy_helper.from_array(KERNEL, "kernel"), numpy_helper.from_array(BIAS, "bias")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def point(tensor: onnx.TensorProto, location: str, offset: int | None = None) -> bytes:
    """Let a tensor lie in a file; what has to be written there."""
    numbers = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": offset, "length": len(numbers)}
    for key, value in entries.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return numbers


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A model whose kernel lies in one file and whose bias in another, in a folder below."""
    made = network()
    (tmp_path / "deep").mkdir()
    kernel, bias = made.graph.initializer
    (tmp_path / "net.onnx.data").write_bytes(b"\0" * 64 + point(kernel, "net.onnx.data", 64))
    (tmp_path / "deep" / "bias.bin").write_bytes(point(bias, "deep/bias.bin"))
    path = tmp_path / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def files(path: Path) -> dict[str, Path]:
    return data_files(path.read_bytes(), path)


def whole(path: Path) -> tuple[str, int]:
    return whole_digest(path.read_bytes(), path)


def redirected(path: Path, location: str) -> Path:
    made = onnx.load(path, load_external_data=False)
    for entry in made.graph.initializer[1].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(made.SerializeToString())
    return path


def test_a_model_runs_with_weights_in_several_files(beside: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.onnx"
    plain.write_bytes(network().SerializeToString())
    with Model(plain) as one, Model(beside) as other:
        np.testing.assert_array_equal(one.predict(IMAGE), other.predict(IMAGE))


def test_the_files_are_found_by_the_names_that_the_model_has_for_them(beside: Path) -> None:
    tensors = external_tensors(beside.read_bytes())
    assert {(t.name, t.location, t.offset, t.length) for t in tensors} == {
        ("kernel", "net.onnx.data", 64, KERNEL.nbytes),
        ("bias", "deep/bias.bin", 0, BIAS.nbytes),
    }
    assert list(files(beside)) == ["deep/bias.bin", "net.onnx.data"]
    assert files(beside)["deep/bias.bin"].read_bytes() == BIAS.tobytes()


def test_constants_in_nodes_and_branches_are_found(tmp_path: Path) -> None:
    made = network()
    point(made.graph.node[1].attribute[0].t, "node.bin")
    branch = helper.make_graph([], "branch", [], [])
    branch.initializer.append(numpy_helper.from_array(BIAS, "inner"))
    point(branch.initializer[0], "branch.bin")
    made.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch))
    found = external_tensors(made.SerializeToString())
    assert {tensor.location for tensor in found} == {"node.bin", "branch.bin"}


def test_a_model_alone_is_its_bytes(tmp_path: Path) -> None:
    data = network().SerializeToString()
    assert whole_digest(data, Path("anywhere")) == (hashlib.sha256(data).hexdigest(), len(data))


def test_other_weights_are_another_model(beside: Path) -> None:
    before, size = whole(beside)
    assert size == beside.stat().st_size + 64 + KERNEL.nbytes + BIAS.nbytes
    (beside.parent / "deep" / "bias.bin").write_bytes((BIAS + 1).tobytes())
    assert whole(beside)[0] != before


@pytest.mark.parametrize("location", ["../bias.bin", "deep/../../bias.bin", "{tmp}/bias.bin"])
def test_a_path_out_of_the_folder_is_refused(beside: Path, location: str) -> None:
    (beside.parent.parent / "bias.bin").write_bytes(BIAS.tobytes())
    (beside.parent / "bias.bin").write_bytes(BIAS.tobytes())
    path = redirected(beside, location.replace("{tmp}", str(beside.parent)))
    with pytest.raises(ModelFileError, match=r"'bias' is in '.*bias\.bin', outside the model's"):
        Model(path)


def test_a_link_out_of_the_folder_is_refused(beside: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "bias.bin"
    elsewhere.write_bytes(BIAS.tobytes())
    (beside.parent / "link").symlink_to(elsewhere)
    with pytest.raises(ModelFileError, match=r"'bias' is in 'link', outside the model's folder"):
        Model(redirected(beside, "link"))


def test_a_cache_of_links_is_taken(beside: Path, tmp_path_factory) -> None:
    """As the Hugging Face hub's: model and data lead to files side by side."""
    cache = tmp_path_factory.mktemp("cache")
    (cache / "blobs").mkdir()
    (cache / "snapshot" / "deep").mkdir(parents=True)
    for name in ("net.onnx", "net.onnx.data", "deep/bias.bin"):
        blob = cache / "blobs" / name.replace("/", "-")
        blob.write_bytes((beside.parent / name).read_bytes())
        (cache / "snapshot" / name).symlink_to(blob)
    path = cache / "snapshot" / "net.onnx"
    assert whole(path) == whole(beside)
    with Model(path) as model:
        assert model.predict(IMAGE).shape == (1, 4, 6, 6)


def test_a_missing_file_is_named(beside: Path) -> None:
    (beside.parent / "deep" / "bias.bin").unlink()
    with pytest.raises(ModelFileError, match=r"'bias' is in 'deep/bias.bin', which is not there"):
        Model(beside)


def test_a_cut_file_is_named(beside: Path) -> None:
    os.truncate(beside.parent / "net.onnx.data", 100)
    with pytest.raises(ModelFileError, match=r"'net.onnx.data' has 100 bytes, .*'kernel' ends"):
        Model(beside)


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_damage_is_no_error_of_its_own(data: st.DataObject) -> None:
    """What is no model any more is for the interpreter to refuse."""
    made = network()
    point(made.graph.initializer[0], "weights.bin", 0)
    content = bytearray(made.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    external_tensors(bytes(content[: data.draw(st.integers(0, len(content)))]))
