"""A float ONNX model of any maker takes the one form, and its function stays the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ghostedge_convert import lower_to_tflite, to_deploy_graph
from ghostedge_convert.sources.onnx import LoadedOnnx, load_float_onnx
from ghostedge_convert.sources.onnx_files import is_float
from ghostedge_runtime.errors import InputError, ModelFileError, UnsupportedOpError

Pixels = npt.NDArray[np.float32]
Write = Callable[..., Path]
FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(0)


def weights(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(RNG.standard_normal(shape).astype(np.float32), name)


def numbers(name: str, values: Sequence[int]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto],
    *,
    shape: Sequence[int | str] = (1, 3, 32, 32),
    kind: int = FLOAT,
    opset: int = 18,
    domains: Sequence[str] = (),
    constants_as_inputs: bool = False,
    rank: int = 2,
) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("image", kind, shape)]
    if constants_as_inputs:  # as exporters did until IR version 4
        inputs += [helper.make_tensor_value_info(c.name, c.data_type, c.dims) for c in constants]
    sides = [f"side_{i}" for i in range(rank)]
    outputs = [helper.make_tensor_value_info("scores", kind, sides)]
    graph = helper.make_graph(nodes, "main", inputs, outputs, list(constants))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(
        graph, opset_imports=opsets, producer_name="maker", producer_version="7", ir_version=8
    )


def conv(source: str, target: str = "conv", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(
        "Conv", [source, "kernel"], [target], kernel_shape=[3, 3], pads=[1] * 4, **attributes
    )


def classifier(opset: int = 18) -> list[onnx.NodeProto]:
    """Conv, dropout, mean, matrix product; its nodes have no names."""
    if opset < 12:
        dropout = helper.make_node("Dropout", ["conv"], ["kept"], ratio=0.5)
    else:
        dropout = helper.make_node("Dropout", ["conv"], ["kept"])
    return [
        conv("image"),
        dropout,
        helper.make_node("GlobalAveragePool", ["kept"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix", "bias"], ["scores"], alpha=1.0, beta=1.0),
    ]


CLASSIFIER = [weights("kernel", 8, 3, 3, 3), weights("matrix", 8, 5), weights("bias", 5)]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to(made: onnx.ModelProto) -> Path:
        path = tmp_path / "model.onnx"
        onnx.save(made, path)
        return path

    return to


def answers(made: onnx.ModelProto, pixels: Pixels) -> Pixels:
    session = onnxruntime.InferenceSession(made.SerializeToString())
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: each[None]})[0] for each in pixels])


def check(found: LoadedOnnx, pixels: Pixels) -> onnx.ModelProto:
    """Same answers as the model that was read, before and after the deploy passes."""
    theirs = pixels if found.channels_first else pixels.transpose(0, 2, 3, 1)
    wanted = answers(found.original, theirs)
    np.testing.assert_allclose(answers(found.model, pixels), wanted, rtol=0, atol=1e-5)
    deployed = to_deploy_graph(found.model).model
    np.testing.assert_allclose(answers(deployed, pixels), wanted, rtol=0, atol=1e-5)
    assert len(lower_to_tflite(deployed).data) > 500
    return deployed


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 18, 21])
def test_old_and_new_operator_sets_compute_the_same(
    write: Write, photos_32: Pixels, opset: int
) -> None:
    made = model(classifier(opset), CLASSIFIER, opset=opset, constants_as_inputs=opset < 9)
    found = load_float_onnx(write(made), batch=1, input_size=None)
    deployed = check(found, photos_32)
    assert {node.op_type for node in deployed.graph.node} == {
        "Conv", "GlobalAveragePool", "Flatten", "Gemm"
    }  # fmt: skip
    assert [value.name for value in found.model.graph.input] == ["input"]
    assert found.title == "ONNX of maker 7"
    updated = f"operator set {opset} brought up to 18"
    assert (updated in found.notes) == (opset < 18)


@pytest.mark.parametrize("shape", [("n", 3, "h", "w"), (1, 3, "h", 32), ("n", 3, 32, 32)])
def test_open_sizes_are_fixed(
    write: Write, photos_32: Pixels, shape: tuple[int | str, ...]
) -> None:
    path = write(model(classifier(), CLASSIFIER, shape=shape))
    found = load_float_onnx(path, batch=1, input_size=(32, 32))
    assert (found.in_channels, found.input_size) == (3, (32, 32))
    assert "dynamic input fixed to [1, 3, 32, 32]" in found.notes
    check(found, photos_32)
    several = load_float_onnx(path, batch=2, input_size=(32, 32)) if shape[0] == "n" else None
    if several is not None:
        sides = several.model.graph.input[0].type.tensor_type.shape.dim
        assert [side.dim_value for side in sides] == [2, 3, 32, 32]


def test_an_open_size_that_nobody_states_is_asked_for(write: Write) -> None:
    path = write(model(classifier(), CLASSIFIER, shape=("n", 3, "h", "w")))
    with pytest.raises(InputError, match="image size is dynamic") as caught:
        load_float_onnx(path, batch=1, input_size=None)
    assert "--input-size" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("batch", "size", "flag"), [(4, None, "--batch"), (1, (16, 16), "--input-size")]
)
def test_flags_that_contradict_the_model_are_refused(
    write: Write, batch: int, size: tuple[int, int] | None, flag: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_float_onnx(write(model(classifier(), CLASSIFIER)), batch=batch, input_size=size)
    assert caught.value.where == flag


def test_a_fixed_batch_is_to_be_said(write: Write) -> None:
    path = write(model(classifier(), CLASSIFIER, shape=(4, 3, 32, 32)))
    with pytest.raises(InputError, match="takes batches of 4, not 1"):
        load_float_onnx(path, batch=1, input_size=None)
    assert load_float_onnx(path, batch=4, input_size=None).input_size == (32, 32)


def channels_last(turns: int) -> list[onnx.NodeProto]:
    """As converters from TensorFlow write them: NHWC in, one or two transposes to NCHW."""
    rest = classifier()[1:]
    to_nchw = [
        helper.make_node("Transpose", ["image"], [f"nchw_{i}"], perm=[0, 3, 1, 2])
        for i in range(turns)
    ]
    if turns == 1:
        return [*to_nchw, conv("nchw_0"), *rest]
    return [
        *to_nchw,
        conv("nchw_0", "a"),
        conv("nchw_1", "b"),
        helper.make_node("Add", ["a", "b"], ["conv"]),
        *rest,
    ]


@pytest.mark.parametrize("turns", [1, 2])
def test_channels_last_becomes_channels_first_and_the_transposes_go(
    write: Write, photos_32: Pixels, turns: int
) -> None:
    path = write(model(channels_last(turns), CLASSIFIER, shape=("n", 32, 32, 3)))
    found = load_float_onnx(path, batch=1, input_size=None)
    assert not found.channels_first
    assert "its NHWC input made NCHW" in found.notes
    assert "Transpose" not in {node.op_type for node in check(found, photos_32).graph.node}


def test_what_is_computed_channels_last_before_the_transpose_stays_the_same(
    write: Write, photos_32: Pixels
) -> None:
    nodes = [
        helper.make_node("Mul", ["image", "factor"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["nchw"], perm=[0, 3, 1, 2]),
        conv("nchw"),
        *classifier()[1:],
    ]
    path = write(model(nodes, [*CLASSIFIER, weights("factor", 3)], shape=(1, 32, 32, 3)))
    check(load_float_onnx(path, batch=1, input_size=None), photos_32)


@pytest.mark.parametrize("channels", [1, 4])
def test_one_and_four_channels_are_taken(write: Write, channels: int) -> None:
    constants = [weights("kernel", 8, channels, 3, 3), *CLASSIFIER[1:]]
    path = write(model(classifier(), constants, shape=(1, channels, 20, 24)))
    found = load_float_onnx(path, batch=1, input_size=None)
    assert (found.in_channels, found.input_size) == (channels, (20, 24))


def test_nodes_without_names_are_named_by_their_op(write: Write) -> None:
    nodes = [conv("image"), conv("conv", "again"), helper.make_node("Relu", ["again"], ["scores"])]
    constants = [weights("kernel", 3, 3, 3, 3)]
    nodes[0].name = "stem"
    path = write(model(nodes, constants, rank=4))
    found = load_float_onnx(path, batch=1, input_size=None)
    assert [node.name for node in found.model.graph.node] == ["stem", "Conv", "Relu"]
    assert [value.name for value in found.model.graph.output] == ["scores"]


def test_a_tensor_that_is_called_like_our_input_gives_way(write: Write, photos_32: Pixels) -> None:
    nodes = [conv("image", "input"), helper.make_node("Relu", ["input"], ["scores"])]
    path = write(model(nodes, [weights("kernel", 8, 3, 3, 3)], rank=4))
    check(load_float_onnx(path, batch=1, input_size=None), photos_32)


def test_constants_that_the_graph_computes_are_computed_now(
    write: Write, photos_32: Pixels
) -> None:
    """An export without folding reads sizes off its own tensors."""
    nodes = [
        conv("image"),
        helper.make_node("Shape", ["conv"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "first"], ["batch"], axis=0),
        helper.make_node("Concat", ["batch", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["conv", "target"], ["scores"]),
    ]
    constants = [weights("kernel", 8, 3, 3, 3), numbers("first", [0]), numbers("rest", [-1])]
    path = write(model(nodes, constants, shape=("n", 3, 32, 32)))
    deployed = check(load_float_onnx(path, batch=1, input_size=None), photos_32)
    assert [node.op_type for node in deployed.graph.node] == ["Conv", "Flatten"]


def test_an_op_outside_the_table_is_named_with_its_node(write: Write) -> None:
    nodes = [conv("image"), helper.make_node("Det", ["conv"], ["scores"], name="odd/Det")]
    path = write(model(nodes, [weights("kernel", 8, 3, 3, 3)]))
    found = load_float_onnx(path, batch=1, input_size=None)
    with pytest.raises(UnsupportedOpError, match=r"odd/Det.*the op 'Det'") as caught:
        lower_to_tflite(to_deploy_graph(found.model).model)
    assert "replace it by ops that can" in str(caught.value.remedy)


def test_an_op_of_a_runtimes_own_is_named_with_its_node(write: Write) -> None:
    fused = helper.make_node(
        "FusedConv", ["image", "kernel"], ["scores"], name="stem", domain="com.microsoft"
    )
    constants = [weights("kernel", 8, 3, 3, 3)]
    path = write(model([fused], constants, domains=["com.microsoft"], rank=4))
    with pytest.raises(UnsupportedOpError, match=r"node 'stem'.*'FusedConv'.*com.microsoft"):
        load_float_onnx(path, batch=1, input_size=None)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (
            [
                helper.make_node(
                    "BatchNormalization",
                    ["image", "one", "one", "one", "one"],
                    ["scores", "mean", "var"],
                    training_mode=1,
                )
            ],
            "training mode .BatchNormalization 'scores'",
        ),
        (
            [helper.make_node("Dropout", ["image", "half", "yes"], ["scores"], name="drop")],
            "training mode .Dropout 'drop'",
        ),
    ],
)
def test_a_model_in_training_mode_is_refused(
    write: Write, nodes: list[onnx.NodeProto], said: str
) -> None:
    constants = [
        weights("one", 3),
        numpy_helper.from_array(np.float32(0.5), "half"),
        numpy_helper.from_array(np.bool_(True), "yes"),
    ]
    with pytest.raises(ModelFileError, match=said):
        load_float_onnx(write(model(nodes, constants, rank=4)), batch=1, input_size=None)


@pytest.mark.parametrize(
    ("shape", "kind", "said"),
    [
        ((1, 3, 8, 8), TensorProto.INT32, "input 'image' is int32, neither float32 nor uint8"),
        ((1, 3, 8, 8), TensorProto.BOOL, "input 'image' is bool, neither float32 nor uint8"),
        ((1, 2, 8, 8), FLOAT, "which is no batch of images of 3 or 1 or 4 channels"),
        ((1, "c", 8, 8), FLOAT, "which is no batch of images"),
        ((1, 3, 8), FLOAT, "of rank 3, not one batch of images"),
    ],
)
def test_an_input_that_is_no_float32_image_is_refused(
    write: Write, shape: tuple[int | str, ...], kind: int, said: str
) -> None:
    relu = helper.make_node("Relu", ["image"], ["scores"])
    path = write(model([relu], [], shape=shape, kind=kind, rank=len(shape)))
    with pytest.raises(ModelFileError, match=said):
        load_float_onnx(path, batch=1, input_size=None)


def test_float_and_quantized_are_told_apart() -> None:
    data = Path(__file__).parents[1] / "qdq_in" / "data"
    assert is_float(model(classifier(), CLASSIFIER))
    floats = [path.name for path in data.glob("*.onnx") if is_float(onnx.load(path))]
    assert floats == ["float.onnx"]
