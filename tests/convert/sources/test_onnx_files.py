"""What is no QDQ classifier is refused by name; sizes that are open are filled in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantFormat

from ghostedge_convert import lower_to_tflite, normalize_qdq, pinned, read_onnx
from ghostedge_runtime.errors import InputError, ModelFileError

DATA = Path(__file__).parents[1] / "qdq_in" / "data"


@pytest.fixture(scope="module")
def whole() -> bytes:
    return (DATA / "pt2e_per_channel.onnx").read_bytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"hello\n", "no ONNX file"), (b"\x08\x07", "holds no graph")],
)
def test_what_is_no_onnx_is_refused(tmp_path, content, words):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=words):
        read_onnx(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelFileError, match="no such file"):
        read_onnx(tmp_path / "nowhere.onnx")


@settings(deadline=None, max_examples=30)
@given(share=st.floats(0, 0.999))
def test_a_cut_file_is_refused_wherever_it_is_cut(whole, tmp_path_factory, share):
    path = tmp_path_factory.mktemp("cut") / "model.onnx"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelFileError):
        read_onnx(path)


def test_missing_external_data_is_named(committed, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(
        committed("pt2e_per_channel"),
        path,
        save_as_external_data=True,
        location="weights.data",
        size_threshold=0,
    )
    assert len(read_onnx(path).graph.node) > 50
    (tmp_path / "weights.data").unlink()
    with pytest.raises(ModelFileError, match=r"weights\.data', which is not there"):
        read_onnx(path)


def test_other_formats_are_told_apart(committed, quantized, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(committed("float"), path)
    with pytest.raises(ModelFileError, match="a float model"):
        read_onnx(path)
    weights_only = committed("pt2e_per_channel")
    kept = [node for node in weights_only.graph.node if node.op_type == "DequantizeLinear"][:1]
    del weights_only.graph.node[:]
    weights_only.graph.node.extend(kept)
    weights_only.graph.output[0].name = kept[0].output[0]
    onnx.save(weights_only, path)
    with pytest.raises(ModelFileError, match="only its weights"):
        read_onnx(path)
    onnx.save(quantized(quant_format=QuantFormat.QOperator), path)
    with pytest.raises(ModelFileError, match="QOperator") as caught:
        read_onnx(path)
    assert "QuantFormat.QDQ" in str(caught.value.remedy)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])
    y = helper.make_tensor_value_info("y", TensorProto.UINT8, [1, 3, 4, 4])
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"], "dynamic")
    onnx.save(helper.make_model(helper.make_graph([node], "g", [x], [y]), ir_version=10), path)
    with pytest.raises(ModelFileError, match=r"dynamically.*'dynamic'"):
        read_onnx(path)


def opened_up(model: onnx.ModelProto, *axes: int) -> onnx.ModelProto:
    """The model with open sizes, as exporters write them."""
    for axis in axes:
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"d{axis}"
    del model.graph.value_info[:]
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "d0"
    for constant in model.graph.initializer:
        data = onnx.numpy_helper.to_array(constant)
        if data.shape == (2,) and data.tolist() == [1, 32]:  # a Reshape's target
            constant.CopyFrom(onnx.numpy_helper.from_array(np.asarray([-1, 32]), constant.name))
    return model


def test_an_open_batch_and_size_are_filled_in(committed):
    model = opened_up(committed("pt2e_per_channel"), 0, 2, 3)
    with pytest.raises(InputError, match="image size is dynamic") as caught:
        pinned(model, batch=1, size=None)
    assert "--input-size" in str(caught.value.remedy)
    found = pinned(model, batch=2, size=(48, 64))
    assert found.size == (48, 64)
    assert found.channels_first
    assert found.notes == ("dynamic input fixed to [2, 3, 48, 64]",)
    dims = found.model.graph.output[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [2, 10]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "d0"


@pytest.mark.parametrize(
    ("batch", "size", "flag"), [(4, None, "--batch"), (1, (64, 64), "--input-size")]
)
def test_a_size_that_contradicts_the_model_is_refused(committed, batch, size, flag):
    with pytest.raises(InputError, match="not") as caught:
        pinned(committed("pt2e_per_channel"), batch=batch, size=size)
    assert caught.value.where == flag


def test_an_older_operator_set_is_brought_up_to_date(run_source):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 4, 4])
    constants = [
        onnx.numpy_helper.from_array(np.float32(0.1), "s"),
        onnx.numpy_helper.from_array(np.int8(2), "z"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "d"),
        helper.make_node("Relu", ["d"], ["y"], "r"),
    ]
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    found = pinned(model, batch=1, size=None)
    assert found.notes == ("operator set 11 brought up to 13",)
    inputs = [np.random.default_rng(0).standard_normal((1, 3, 4, 4)).astype(np.float32)]
    wanted = run_source(model, inputs)[0]
    assert np.array_equal(run_source(normalize_qdq(found.model).model, inputs)[0], wanted)


def test_what_takes_no_image_is_refused():
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 12])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 12])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    with pytest.raises(ModelFileError, match="'x' of rank 2"):
        pinned(helper.make_model(graph), batch=1, size=None)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_damaged_model_lowers_or_is_refused_but_never_breaks(tmp_path_factory, data):
    name = data.draw(st.sampled_from(["nncf_mixed", "pt2e_per_channel", "pt2e_x86"]))
    model = onnx.load(DATA / f"{name}.onnx")
    constant = data.draw(st.sampled_from(list(model.graph.initializer)))
    stored = onnx.numpy_helper.to_array(constant).reshape(-1)
    kept = stored[: data.draw(st.integers(0, stored.size))].copy()
    kept *= data.draw(st.sampled_from([0, 1]))
    constant.CopyFrom(onnx.numpy_helper.from_array(kept, constant.name))
    node = data.draw(st.sampled_from(list(model.graph.node)))
    node.op_type = data.draw(st.sampled_from([node.op_type, "Relu", "Sigmoid", "QuantizeLinear"]))
    path = tmp_path_factory.mktemp("damaged") / "model.onnx"
    onnx.save(model, path)
    try:
        found = pinned(read_onnx(path), batch=1, size=None)
        lower_to_tflite(normalize_qdq(found.model, requantize=True).model)
    except InputError as refusal:
        assert refusal.remedy  # noqa: PT017 - either outcome is right
