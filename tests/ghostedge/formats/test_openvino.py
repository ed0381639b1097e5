"""An IR that we write: the ONNX graph's numbers, layers and metadata, byte for byte again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ghostedge.formats.onnx import inspect_onnx, open_onnx, write_onnx
from ghostedge.formats.reading import inspect_file, open_layer_reader
from ghostedge_runtime import Model
from ghostedge_runtime.errors import MissingDependencyError, ModelFileError
from ghostedge_runtime.metadata import InputSpec, ModelMetadata, Preprocessing

openvino_ir = pytest.importorskip("ghostedge.formats.openvino", exc_type=ImportError)

METADATA = ModelMetadata(
    Preprocessing(input_size=(8, 8)), InputSpec("NCHW", "float32", normalized=True)
)


def network() -> onnx.ModelProto:
    """A convolution, its ReLU, and a depthwise convolution of that beside it: a ghost module."""
    random = np.random.default_rng(0)
    constants = {
        "w": random.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "b": random.standard_normal(4).astype(np.float32),
        "dw": random.standard_normal((4, 1, 3, 3)).astype(np.float32),
        "db": random.standard_normal(4).astype(np.float32),
    }
    pads: dict[str, Any] = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    nodes = [
        helper.make_node("Conv", ["input", "w", "b"], ["conv"], "conv", **pads),
        helper.make_node("Relu", ["conv"], ["primary"], "primary"),
        helper.make_node("Conv", ["primary", "dw", "db"], ["cheap"], "cheap", group=4, **pads),
        helper.make_node("Relu", ["cheap"], ["ghost"], "ghost"),
        helper.make_node("Concat", ["primary", "ghost"], ["joined"], "joined", axis=1),
        helper.make_node("GlobalAveragePool", ["joined"], ["pooled"], "pooled"),
        helper.make_node("Flatten", ["pooled"], ["logits"], "logits"),
    ]
    graph = helper.make_graph(
        nodes,
        "ghost",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 8])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """The network as ``.xml`` and as ``.onnx``."""
    ir, original = tmp_path / "net.xml", tmp_path / "net.onnx"
    assert openvino_ir.write_openvino(network(), METADATA, ir) == {}
    write_onnx(network(), METADATA, original)
    return ir, original


def test_the_files_compute_the_same_and_carry_the_same_metadata(pair: tuple[Path, Path]) -> None:
    image = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    with Model(pair[0]) as mine, Model(pair[1]) as original:
        np.testing.assert_allclose(mine.predict(image), original.predict(image), atol=1e-5)
        assert mine.metadata == original.metadata == METADATA


def test_equal_graphs_give_equal_bytes(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    again = tmp_path / "again" / "net.xml"
    openvino_ir.write_openvino(network(), METADATA, again)
    assert again.read_bytes() == pair[0].read_bytes()
    assert again.with_suffix(".bin").read_bytes() == pair[0].with_suffix(".bin").read_bytes()


def test_float_weights_are_not_rounded_but_in_a_float16_file(tmp_path: Path) -> None:
    sizes = {}
    for precision in ("float32", "float16"):
        path = tmp_path / f"{precision}.xml"
        metadata = ModelMetadata(METADATA.preprocessing, METADATA.input, precision=precision)
        openvino_ir.write_openvino(network(), metadata, path)
        sizes[precision] = path.with_suffix(".bin").stat().st_size
    weights = 4 * 3 * 9 + 4 + 4 * 9 + 4
    assert sizes["float32"] >= 4 * weights > sizes["float16"] >= 2 * weights


def test_an_inspection_counts_what_that_of_the_onnx_file_counts(pair: tuple[Path, Path]) -> None:
    mine, original = inspect_file(pair[0]), inspect_onnx(pair[1])
    assert (mine.kind, mine.facts["weights beside it"]) == ("openvino", "net.bin")
    assert (mine.parameters, mine.macs) == (original.parameters, original.macs)
    assert mine.inputs == original.inputs
    assert mine.metadata == original.metadata
    assert mine.bytes == sum(pair[0].with_suffix(s).stat().st_size for s in (".xml", ".bin"))
    assert {op.op: op.count for op in mine.ops}["GroupConvolution"] == 1


def test_its_layers_are_the_onnx_files_with_their_ghosts(pair: tuple[Path, Path]) -> None:
    mine, original = open_layer_reader(pair[0]), open_onnx(pair[1], None)
    assert original is not None
    assert list(mine.layers.by_name) == list(original.layers.by_name)
    assert mine.layers.by_name["joined"].primary == original.layers.by_name["joined"].primary == 4
    image = np.random.default_rng(2).standard_normal((1, 3, 8, 8)).astype(np.float32)
    names = list(original.layers.by_name)
    for one, other in zip(
        mine.read(image, [mine.layers.by_name[name] for name in names]),
        original.read(image, [original.layers.by_name[name] for name in names]),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_missing_bin_is_named_by_inspect_too(pair: tuple[Path, Path]) -> None:
    pair[0].with_suffix(".bin").unlink()
    with pytest.raises(ModelFileError, match=r"its weights are in 'net\.bin'"):
        inspect_file(pair[0])


def test_a_graph_runs_as_often_at_once_as_the_guard_wants() -> None:
    backends = openvino_ir.open_in_openvino(network(), 2)
    assert len({id(backend) for backend in backends}) == 2
    zeros = np.zeros((1, 3, 8, 8), np.float32)
    assert backends[0].run(zeros)[0].shape == (1, 8)


def test_without_openvino_the_pip_line_is_given(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] == "openvino" or name == "ghostedge.formats.openvino":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openvino", None)
    look: Callable[[Path], Any]
    for look in (inspect_file, open_layer_reader):
        with pytest.raises(MissingDependencyError, match="openvino") as caught:
            look(pair[0])
        assert "pip install 'ghostedge[openvino]'" in str(caught.value.remedy)
