"""An ONNX model's first nodes, where they cast or rescale pixels, become the preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.source import FloatSource
from ghostedge.conversion.sources import source_kind
from ghostedge_convert import lower_to_tflite, to_deploy_graph
from ghostedge_runtime.errors import InputError, ModelFileError

FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PIXELS = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)


def constant(values: object, kind: type = np.float32) -> np.ndarray:
    return np.asarray(values, kind)


def network(
    steps: Sequence[tuple[str, object, dict[str, object]]], kind: int = FLOAT, *, last: bool = False
) -> onnx.ModelProto:
    """These steps, each an op with its other operands and attributes, then a small classifier.

    Args:
        steps: From the input on.
        kind: What the input takes.
        last: Whether its channels are last.
    """
    rng = np.random.default_rng(1)
    constants = {
        "kernel": constant(rng.standard_normal((4, 3, 3, 3))),
        "matrix": constant(rng.standard_normal((4, 5))),
    }
    nodes, value = [], "image"
    for number, (op, operands, attributes) in enumerate(steps):
        names = []
        for place, operand in enumerate(operands if isinstance(operands, tuple) else (operands,)):
            if operand is not None:
                names.append(f"c{number}_{place}")
                constants[names[-1]] = operand
        nodes.append(helper.make_node(op, [value, *names], [f"v{number}"], **attributes))
        value = f"v{number}"
    nodes += [
        helper.make_node("Conv", [value, "kernel"], ["conv"], pads=[1] * 4),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["scores"]),
    ]
    shape = [1, 8, 8, 3] if last else [1, 3, 8, 8]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info("scores", FLOAT, [1, 5])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def load(model: onnx.ModelProto, folder: Path, **flags: object) -> FloatSource:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    options = ConvertOptions.of(path, output=folder / "out", **flags)
    return source_kind(options).load(options)


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def check(model: onnx.ModelProto, loaded: FloatSource, images: np.ndarray) -> onnx.ModelProto:
    """The preprocessed pixels give what the original gives of its own input; the deploy graph."""
    known = loaded.preprocessing
    prepared = ((PIXELS / 255 - known.mean) / known.std).transpose(0, 3, 1, 2).astype(np.float32)
    wanted = run(model, images)
    deployed = to_deploy_graph(loaded.network.to_onnx(batch=1)).model
    np.testing.assert_allclose(run(deployed, prepared), wanted, atol=1e-4 * np.abs(wanted).max())
    np.testing.assert_allclose(loaded.network.answers(prepared)[0], wanted, rtol=1e-5, atol=1e-5)
    assert len(lower_to_tflite(deployed).data) > 500
    return deployed


def ops(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


CLASSIFIER = ["Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]
FIRST = PIXELS.transpose(0, 3, 1, 2)
CAST = ("Cast", None, {"to": FLOAT})
TO_FIRST = ("Transpose", None, {"perm": [0, 3, 1, 2]})
MEAN, STD = (constant(each) for each in IMAGENET)


@pytest.mark.parametrize(
    ("steps", "last"),
    [
        ([CAST, ("Div", constant(255), {}), TO_FIRST], True),
        ([TO_FIRST, CAST, ("Div", constant(255), {})], True),
        ([CAST, TO_FIRST, ("Mul", constant(1 / 255), {})], True),
        ([CAST, ("Div", constant(255), {}), ("Sub", MEAN, {}), ("Div", STD, {}), TO_FIRST], True),
        (
            [
                CAST,
                ("Sub", MEAN.reshape(3, 1, 1) * 255, {}),
                ("Mul", 1 / (255 * STD.reshape(3, 1, 1)), {}),
            ],
            False,
        ),
        ([CAST, ("Mul", constant(2 / 255), {}), ("Sub", constant(1), {})], False),
        ([CAST], False),
        ([CAST, TO_FIRST], True),
        ([("Cast", None, {"to": TensorProto.INT32}), CAST, ("Div", constant(255), {})], False),
    ],
)
def test_pixels_that_are_cast_and_rescaled(
    steps: list[tuple[str, object, dict[str, object]]], last: bool, tmp_path: Path
) -> None:
    model = network(steps, UINT8, last=last)
    loaded = load(model, tmp_path)
    assert ops(check(model, loaded, PIXELS if last else FIRST)) == CLASSIFIER
    facts = {fact.name: fact.origin for fact in loaded.inferred}
    assert facts["mean"] == "from the model's own first nodes, which take 0 to 255"
    assert any("uint8 input is cast" in note for note in loaded.notes)


def test_the_usual_normalisation_is_recognised(tmp_path: Path) -> None:
    steps = [CAST, ("Div", constant(255), {}), ("Sub", MEAN, {}), ("Div", STD, {}), TO_FIRST]
    known = load(network(steps, UINT8, last=True), tmp_path).preprocessing
    np.testing.assert_allclose(known.mean, IMAGENET[0], atol=1e-6)
    np.testing.assert_allclose(known.std, IMAGENET[1], atol=1e-6)


@pytest.mark.parametrize(
    ("steps", "node"),
    [
        ([("Add", constant(1, np.uint8), {}), CAST], r"'v0' \(Add\)"),
        ([("MaxPool", None, {"kernel_shape": [1, 1]}), CAST], r"'v0' \(MaxPool\)"),
    ],
)
def test_pixels_that_are_computed_with_are_refused(
    steps: list[tuple[str, object, dict[str, object]]], node: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=f"node {node} computes with the uint8 pixels"):
        load(network(steps, UINT8), tmp_path)


def test_flags_that_would_normalise_pixels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="normalises them itself"):
        load(network([CAST], UINT8), tmp_path, mean=IMAGENET[0], std=IMAGENET[1])


@pytest.mark.parametrize(
    ("steps", "images", "takes"),
    [
        ([("Div", constant(255), {})], FIRST.astype(np.float32), "0 to 255"),
        (
            [
                ("Gather", constant([2, 1, 0], np.int64), {"axis": 1}),
                ("Sub", constant([103.9, 116.8, 123.7]).reshape(3, 1, 1), {}),
            ],
            FIRST.astype(np.float32),
            "0 to 255",
        ),
        (
            [("Sub", MEAN.reshape(3, 1, 1), {}), ("Div", STD.reshape(3, 1, 1), {})],
            (FIRST / 255).astype(np.float32),
            "0 to 1",
        ),
        (
            [("Mul", constant(2), {}), ("Sub", constant(1), {})],
            (FIRST / 255).astype(np.float32),
            "0 to 1",
        ),
    ],
)
def test_floats_that_are_clearly_rescaled(
    steps: list[tuple[str, object, dict[str, object]]],
    images: np.ndarray,
    takes: str,
    tmp_path: Path,
) -> None:
    model = network(steps)
    loaded = load(model, tmp_path)
    assert ops(check(model, loaded, images)) == CLASSIFIER
    origins = {fact.name: fact.origin for fact in loaded.inferred}
    assert origins["std"] == f"from the model's own first nodes, which take {takes}"


def test_one_normalisation_may_become_another(tmp_path: Path) -> None:
    """As torchvision's Inception has it; what its input takes, nobody says: the usual default."""
    factor, term = constant([0.458, 0.448, 0.45]), constant([-0.03, -0.088, -0.188])
    model = network([("Mul", factor.reshape(3, 1, 1), {}), ("Add", term.reshape(3, 1, 1), {})])
    usual = ((FIRST / 255 - MEAN.reshape(3, 1, 1)) / STD.reshape(3, 1, 1)).astype(np.float32)
    assert ops(check(model, load(model, tmp_path), usual)) == CLASSIFIER
    stated = load(model, tmp_path, mean=(0.5,) * 3, std=(0.25,) * 3)
    check(model, stated, ((FIRST / 255 - 0.5) / 0.25).astype(np.float32))


def test_a_network_that_rescales_nothing_is_left_alone(tmp_path: Path) -> None:
    loaded = load(network([]), tmp_path)
    assert (loaded.preprocessing.mean, loaded.preprocessing.std) == IMAGENET
    assert loaded.notes == ()


PICKS = constant([2, 1, 0], np.int64)
EXCHANGES = {
    "gather": [("Gather", PICKS, {"axis": 1})],
    "slice": [("Slice", (constant([-1], np.int64), constant([-9], np.int64),
                         constant([1], np.int64), constant([-1], np.int64)), {})],
    "behind a rescaling": [("Div", constant(255), {}), ("Gather", PICKS, {"axis": 1})],
    "before one": [("Gather", PICKS, {"axis": 1}),
                   ("Sub", constant([103.9, 116.8, 123.7]).reshape(3, 1, 1), {})],
    "padded": [("Gather", PICKS, {"axis": 1}), ("Pad", constant([0, 0, 1, 1] * 2, np.int64), {})],
}  # fmt: skip


@pytest.mark.parametrize("how", EXCHANGES)
def test_blue_first_goes_into_the_first_weights(how: str, tmp_path: Path) -> None:
    model = network([CAST, *EXCHANGES[how]], UINT8)
    loaded = load(model, tmp_path)
    assert "Gather" not in ops(check(model, loaded, FIRST))
    assert any("exchange of the input's channels" in note for note in loaded.notes)


def test_blue_first_of_channels_last(tmp_path: Path) -> None:
    steps = [("Gather", PICKS, {"axis": 3}), CAST, ("Div", constant(255), {}), TO_FIRST]
    model = network(steps, UINT8, last=True)
    assert ops(check(model, load(model, tmp_path), PIXELS)) == CLASSIFIER


def test_a_split_and_a_concat_exchange_channels(tmp_path: Path) -> None:
    model = network([CAST])
    model.graph.input[0].type.tensor_type.elem_type = UINT8
    cast = model.graph.node[0]
    cast.input[0] = "turned"
    model.graph.node.insert(0, helper.make_node("Concat", ["b", "g", "r"], ["turned"], axis=1))
    split = helper.make_node("Split", ["image"], ["r", "g", "b"], axis=1, num_outputs=3)
    model.graph.node.insert(0, split)
    assert ops(check(model, load(model, tmp_path), FIRST)) == CLASSIFIER


@settings(max_examples=15, deadline=None)
@given(order=st.permutations([0, 1, 2]), scale=st.floats(0.001, 0.01), shift=st.floats(-1, 1))
def test_any_order_and_rescaling(
    order: list[int], scale: float, shift: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    steps = [
        CAST,
        ("Mul", constant([scale, 2 * scale, 3 * scale]).reshape(3, 1, 1), {}),
        ("Gather", constant(order, np.int64), {"axis": 1}),
        ("Add", constant([shift, 0, -shift]).reshape(3, 1, 1), {}),
    ]
    model = network(steps, UINT8)
    assert ops(check(model, load(model, tmp_path_factory.mktemp("m")), FIRST)) == CLASSIFIER
