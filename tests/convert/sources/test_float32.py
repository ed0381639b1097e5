"""float16, bfloat16 and float64 in an ONNX file: what is stored stays, float32 computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ghostedge.conversion.network import FloatOnnxNetwork
from ghostedge.formats.reading import inspect_file
from ghostedge_convert import lower_to_tflite, to_deploy_graph
from ghostedge_convert.sources.onnx import LoadedOnnx, load_float_onnx

FLOAT, HALF, DOUBLE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE
SHAPES = {"kernel": (8, 3, 3, 3), "bias": (8,), "matrix": (8, 5)}
DTYPES = {FLOAT: np.float32, HALF: np.float16, DOUBLE: np.float64}


def weights(kind: int) -> list[onnx.TensorProto]:
    rng = np.random.default_rng(3)
    values = {name: rng.standard_normal(shape) / 3 for name, shape in SHAPES.items()}
    if kind == TensorProto.BFLOAT16:
        return [
            helper.make_tensor(name, kind, value.shape, value.reshape(-1).tolist())
            for name, value in values.items()
        ]
    return [numpy_helper.from_array(v.astype(DTYPES[kind]), name) for name, v in values.items()]


def network(*, stored: int, inner: int, outer: int) -> onnx.ModelProto:
    """A classifier whose weights, arithmetic and input and output are of types of their own."""
    nodes = []
    names = dict.fromkeys(SHAPES)
    for name in names:
        names[name] = name if stored == inner else f"{name}/cast"
        if stored != inner:
            nodes.append(helper.make_node("Cast", [name], [f"{name}/cast"], to=inner))
    image = "image"
    if inner != outer:
        nodes.append(helper.make_node("Cast", ["image"], ["inner"], to=inner))
        image = "inner"
    two = numpy_helper.from_array(np.array(2, DTYPES[inner]), "two")
    nodes += [
        helper.make_node("Conv", [image, names["kernel"], names["bias"]], ["conv"], pads=[1] * 4),
        helper.make_node("Constant", [], ["two"], value=two),
        helper.make_node("Mul", ["conv", "two"], ["twice"]),
        helper.make_node("Relu", ["twice"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", names["matrix"]], ["row"]),
        helper.make_node("Cast" if inner != outer else "Identity", ["row"], ["scores"],
                         **({"to": outer} if inner != outer else {})),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("image", outer, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("scores", outer, [1, 5])],
        weights(stored),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def loaded(model: onnx.ModelProto, folder: Path) -> LoadedOnnx:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return load_float_onnx(path, batch=1, input_size=None)


def gap(found: LoadedOnnx) -> float:
    """The largest difference to the original's own answers, of its largest score."""
    pixels = np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)
    (wanted,) = FloatOnnxNetwork(found).answers(pixels)
    assert wanted.dtype == np.float32
    deployed = to_deploy_graph(found.model).model
    assert len(lower_to_tflite(deployed).data) > 500
    types = {t.data_type for t in deployed.graph.initializer}
    assert not types & {HALF, DOUBLE, TensorProto.BFLOAT16}
    assert "Cast" not in {node.op_type for node in deployed.graph.node}
    session = onnxruntime.InferenceSession(deployed.SerializeToString())
    (got,) = session.run(None, {"input": pixels})
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("outer", [HALF, FLOAT])
def test_a_network_of_float16_is_near_its_own_answers(tmp_path: Path, outer: int) -> None:
    found = loaded(network(stored=HALF, inner=HALF, outer=outer), tmp_path)
    assert found.computed_in_half
    assert any(note.startswith("float16 brought to float32") for note in found.notes)
    assert gap(found) < 5e-3


@pytest.mark.parametrize("stored", [HALF, TensorProto.BFLOAT16, DOUBLE])
def test_weights_that_are_only_stored_otherwise_change_nothing(tmp_path: Path, stored: int) -> None:
    found = loaded(network(stored=stored, inner=FLOAT, outer=FLOAT), tmp_path)
    assert not found.computed_in_half
    assert "3 casts gone" in " ".join(found.notes)
    assert gap(found) < 1e-5


def test_the_head_alone_may_be_float64(tmp_path: Path) -> None:
    model = network(stored=FLOAT, inner=FLOAT, outer=FLOAT)
    nodes = {node.output[0]: node for node in model.graph.node}
    nodes["row"].input[0] = "flat/wide"
    model.graph.node.insert(6, helper.make_node("Cast", ["flat"], ["flat/wide"], to=DOUBLE))
    nodes["row"].input[1] = "matrix/wide"
    model.graph.node.insert(0, helper.make_node("Cast", ["matrix"], ["matrix/wide"], to=DOUBLE))
    model.graph.output[0].type.tensor_type.elem_type = DOUBLE
    found = loaded(model, tmp_path)
    assert not found.computed_in_half
    assert gap(found) < 1e-5


def test_a_network_of_float32_is_left_alone(tmp_path: Path) -> None:
    found = loaded(network(stored=FLOAT, inner=FLOAT, outer=FLOAT), tmp_path)
    assert found.notes == ("operator set 17 brought up to 18",)
    assert not found.computed_in_half


def test_casts_at_the_end_of_the_list_are_put_in_order(tmp_path: Path) -> None:
    """As ONNX Runtime's and onnxconverter-common's float16 converters write them."""
    model = network(stored=HALF, inner=HALF, outer=FLOAT)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*(n for n in nodes if n.op_type != "Cast"), nodes[0], nodes[-1]])
    with pytest.raises(onnx.checker.ValidationError, match="topologically sorted"):
        onnx.checker.check_model(model)
    assert gap(loaded(model, tmp_path)) < 5e-3
    assert inspect_file(tmp_path / "model.onnx").macs > 0


@pytest.mark.parametrize("kind", [TensorProto.BFLOAT16, DOUBLE])
def test_what_onnx_runtime_has_no_kernels_for_is_compared_in_float32(
    tmp_path: Path, kind: int
) -> None:
    model = network(stored=FLOAT, inner=FLOAT, outer=FLOAT)
    for tensor in (*model.graph.initializer, model.graph.node[1].attribute[0].t):
        values = numpy_helper.to_array(tensor)
        name, shape = tensor.name, values.shape
        tensor.CopyFrom(helper.make_tensor(name, kind, shape, values.reshape(-1).tolist()))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = kind
    found = loaded(model, tmp_path)
    assert "compared with the same graph in float32" in FloatOnnxNetwork(found).notes[0]
    assert gap(found) < 1e-5
