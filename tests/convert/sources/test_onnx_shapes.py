"""ONNX files of every age: operator sets 7 to 24, IR version 3, each exporter of torch's.

Each is held to ONNX Runtime's answers for the file as it was written, through the deploy graph to
TFLite.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ghostedge_convert import lower_to_tflite, to_deploy_graph
from ghostedge_convert.sources.onnx import load_float_onnx
from ghostedge_runtime.errors import ModelFileError

FLOAT = TensorProto.FLOAT
IMAGE = (1, 3, 12, 16)
TOLERANCE = 1e-4


def constant(name: str, values: object, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def random(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(len(name)).uniform(0.3, 1.0, shape)
    return constant(name, values)


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto] = (),
    *,
    opset: int,
    ir_version: int = 8,
    shape: Sequence[int] = IMAGE,
) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("image", FLOAT, shape)]
    if ir_version < 4:
        inputs += [helper.make_tensor_value_info(c.name, c.data_type, c.dims) for c in constants]
    outputs = [helper.make_tensor_value_info("y", FLOAT, None)]
    graph = helper.make_graph(nodes, "main", inputs, outputs, list(constants))
    opsets = [helper.make_opsetid("", opset)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
    return onnx.shape_inference.infer_shapes(made)


def answers(made: onnx.ModelProto, pixels: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(made.SerializeToString(), options)
    return session.run(None, {session.get_inputs()[0].name: pixels})


def check(made: onnx.ModelProto, folder: Path, *, lowers: bool = True) -> onnx.ModelProto:
    """Same answers as the file that was written; the deploy graph."""
    path = folder / "old.onnx"
    path.write_bytes(made.SerializeToString())
    image = made.graph.input[0].type.tensor_type.shape.dim
    shape = [side.dim_value for side in image]
    pixels = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    found = load_float_onnx(path, batch=1, input_size=None)
    deployed = to_deploy_graph(found.model).model
    for want, got in zip(answers(made, pixels), answers(deployed, pixels), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE * max(1, np.abs(want).max()))
    if lowers:
        assert len(lower_to_tflite(deployed).data) > 500
    return deployed


def node(op: str, *inputs: str, to: str = "y", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, ["x", *inputs], [to], **attributes)


NORM = [random(name, 8) for name in ("scale", "shift", "mean", "variance")]
OLD_FORMS = {
    "Softmax flattens behind its axis": (7, 12, node("Softmax", axis=1), ()),
    "Softmax's axis is 1": (7, 12, node("Softmax"), ()),
    "axes of a mean": (7, 17, node("ReduceMean", axes=[2, 3], keepdims=0), ()),
    "axes of a sum": (7, 12, node("ReduceSum", axes=[1], keepdims=1), ()),
    "axes of a norm": (7, 17, node("ReduceL2", axes=[3]), ()),
    "bounds of Clip": (7, 10, node("Clip", min=-0.3, max=0.4), ()),
    "one bound of Clip": (7, 10, node("Clip", max=0.4), ()),
    "padding": (7, 10, node("Pad", pads=[0, 0, 1, 2, 0, 0, 2, 1], value=0.5), ()),
    "reflected padding": (7, 10, node("Pad", pads=[0, 0, 1, 2, 0, 0, 2, 1], mode="reflect"), ()),
    "Slice": (7, 9, node("Slice", axes=[2, 3], starts=[1, 2], ends=[6, -1]), ()),
    "BatchNormalization": (
        7,
        14,
        node("BatchNormalization", "scale", "shift", "mean", "variance", epsilon=1e-3),
        NORM,
    ),
    "Unsqueeze": (7, 12, node("Unsqueeze", axes=[0]), ()),
    "Flatten": (7, 12, node("Flatten", axis=2), ()),
    "MaxPool": (7, 11, node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), ()),
    "AveragePool": (7, 18, node("AveragePool", kernel_shape=[3, 3], pads=[1] * 4), ()),
    "Add": (7, 13, node("Add", "row"), [random("row", 8, 1, 1)]),
    "PRelu": (7, 15, node("PRelu", "slope"), [random("slope", 8, 1, 1)]),
    "Reshape": (7, 13, node("Reshape", "sizes"), [constant("sizes", [0, -1], np.int64)]),
    "Transpose": (7, 12, node("Transpose", perm=[0, 2, 3, 1]), ()),
}


@pytest.mark.parametrize("what", OLD_FORMS)
def test_ops_that_were_written_otherwise(what: str, tmp_path: Path) -> None:
    oldest, newest, old, constants = OLD_FORMS[what]
    weights = constant("kernel", np.random.default_rng(0).standard_normal((8, 3, 3, 3)))
    conv = helper.make_node("Conv", ["image", "kernel"], ["x"], pads=[1] * 4)
    for opset in sorted({oldest, min(oldest + 2, newest), newest}):
        check(model([conv, old], [weights, *constants], opset=opset), tmp_path)


def test_split_dropout_and_squeeze_of_old(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Split", ["image"], ["a", "b"], axis=1, split=[1, 2]),
        helper.make_node("Dropout", ["b"], ["kept", "mask"], ratio=0.3),
        helper.make_node("Squeeze", ["a"], ["flat"], axes=[1]),
        helper.make_node("Unsqueeze", ["flat"], ["again"], axes=[1]),
        helper.make_node("Concat", ["kept", "again"], ["y"], axis=1),
    ]
    for opset in (7, 9):
        check(model(nodes, opset=opset), tmp_path)


def upsample(opset: int, mode: str, scales: Sequence[float]) -> onnx.ModelProto:
    """A resize as operator sets before 11 have it, none of which can name its sampling."""
    op = "Resize" if opset == 10 else "Upsample"
    if opset < 9:
        resize, given = helper.make_node(op, ["image"], ["x"], mode=mode, scales=scales), []
    else:
        resize = helper.make_node(op, ["image", "scales"], ["x"], mode=mode)
        given = [constant("scales", scales)]
    return model([resize, helper.make_node("Relu", ["x"], ["y"])], given, opset=opset)


@settings(max_examples=40, deadline=None)
@given(
    opset=st.sampled_from([7, 8, 9, 10]),
    mode=st.sampled_from(["nearest", "linear"]),
    down=st.floats(0.3, 3.2),
    across=st.floats(0.3, 3.2),
)
def test_old_resizes_sample_as_they_did(
    opset: int, mode: str, down: float, across: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if opset < 10:  # Upsample only enlarges
        down, across = max(down, 1.0), max(across, 1.0)
    made = upsample(opset, mode, [1.0, 1.0, down, across])
    check(made, tmp_path_factory.mktemp("old"))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("opset", [7, 9, 10])
def test_doubling_takes_one_kernel(opset: int, mode: str, tmp_path: Path) -> None:
    deployed = check(upsample(opset, mode, [1.0, 1.0, 2.0, 2.0]), tmp_path)
    resize, _ = deployed.graph.node
    said = {a.name: helper.get_attribute_value(a) for a in resize.attribute}
    assert said["coordinate_transformation_mode"] == b"asymmetric"


def test_scales_may_be_a_node(tmp_path: Path) -> None:
    scales = constant("scales", [1, 1, 0.4, 1.7])
    nodes = [
        helper.make_node("Constant", [], ["scales"], value=scales),
        helper.make_node("Resize", ["image", "scales"], ["y"], mode="nearest"),
    ]
    check(model(nodes, opset=10), tmp_path)


def test_constants_of_ir_3_are_no_inputs(tmp_path: Path) -> None:
    for opset in (7, 9):
        nodes = [
            helper.make_node("Conv", ["image", "kernel"], ["x"], pads=[1] * 4),
            helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("Gemm", ["flat", "matrix", "bias"], ["y"], transB=1),
        ]
        constants = [random("kernel", 8, 3, 3, 3), random("matrix", 5, 8), random("bias", 5)]
        made = model(nodes, constants, opset=opset, ir_version=3)
        onnx.checker.check_model(made)
        deployed = check(made, tmp_path)
        assert [value.name for value in deployed.graph.input] == ["input"]
        assert deployed.ir_version >= 8


class Net(torch.nn.Module):
    """The ops that small networks are made of, and a resize."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(8)
        self.cheap = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.gate = torch.nn.Conv2d(16, 16, 1)
        self.head = torch.nn.Linear(16, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.conv(image)))
        x = torch.cat([x, torch.nn.functional.hardtanh(self.cheap(x), 0, 6)], 1)
        x = x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        wide = torch.nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
        x = torch.nn.functional.max_pool2d(wide, 3, 2, 1)[:, :, 1:, :-1]
        x = torch.nn.functional.pad(x, (1, 0, 0, 1))
        x = torch.nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)
        return torch.softmax(self.head(torch.nn.functional.dropout(x, 0.2, self.training)), 1)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    made = Net()
    made.norm.running_mean.normal_()
    made.norm.running_var.uniform_(0.5, 2)
    return made.eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opset", range(9, 18))
def test_torch_s_old_exporter(network: torch.nn.Module, opset: int, tmp_path: Path) -> None:
    file = io.BytesIO()
    example = torch.zeros(1, 3, 32, 32)
    torch.onnx.export(network, (example,), file, dynamo=False, opset_version=opset)
    check(onnx.load_from_string(file.getvalue()), tmp_path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opset", [18, 20, 23])
def test_torch_s_new_exporter(network: torch.nn.Module, opset: int, tmp_path: Path) -> None:
    example = torch.zeros(1, 3, 32, 32)
    program = torch.onnx.export(
        network, (example,), dynamo=True, opset_version=opset, verbose=False
    )
    check(program.model_proto, tmp_path)


@pytest.mark.parametrize("opset", [19, 22, 24])
def test_newer_operator_sets(opset: int, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["x"], pads=[1] * 4),
        helper.make_node("AveragePool", ["x"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Resize", ["pool", "", "scales"], ["wide"], mode="linear"),
        helper.make_node("Reshape", ["wide", "sizes"], ["flat"]),
        helper.make_node("Softmax", ["flat"], ["y"]),
    ]
    constants = [
        random("kernel", 8, 3, 3, 3),
        constant("scales", [1, 1, 2, 2]),
        constant("sizes", [1, 8, -1], np.int64),
    ]
    check(model(nodes, constants, opset=opset, ir_version=10), tmp_path)


def test_an_operator_set_of_the_future_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "future.onnx"
    made = model([helper.make_node("Relu", ["image"], ["y"])], opset=99)
    path.write_bytes(made.SerializeToString())
    with pytest.raises(ModelFileError, match=r"operator set 99 is newer than \d+") as caught:
        load_float_onnx(path, batch=1, input_size=None)
    assert "pip install -U onnx" in str(caught.value.remedy)
