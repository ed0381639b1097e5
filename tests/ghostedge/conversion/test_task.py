"""What a network is taken for, by everything that may say so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from ghostedge.conversion.options import OPTIONS, ConvertOptions
from ghostedge.conversion.task import Evidence, kind_of
from ghostedge_convert import CheckpointConfig, Head, head_of
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import InputSpec, ModelMetadata, Preprocessing

INSIDE = ModelMetadata(Preprocessing(), InputSpec("NCHW", "float32", normalized=True))
UNIT = np.array([[0.6, -0.8], [1.0, 0.0]], np.float32)


def rows(columns: int) -> np.ndarray:
    return np.linspace(-3, 4, 2 * columns, dtype=np.float32).reshape(2, columns)


def evidence(columns: int = 10, **known: Any) -> Evidence:
    stated = {name: known.pop(name) for name in list(known) if name in OPTIONS}
    found = known.pop("rows", rows(columns))
    shapes = known.pop("shapes", (found.shape,))
    return Evidence(ConvertOptions.of("m.onnx", **stated), shapes, found, **known)


def end(op: str | None, output: str = "y", *names: str) -> Head:
    return Head(op, output, names)


@pytest.mark.parametrize(
    ("case", "classes", "said"),
    [
        ({}, 10, "nothing says otherwise"),
        ({"columns": 2}, 2, "nothing says otherwise"),
        ({"columns": 1}, None, "one number, and nothing says that it parts two classes"),
        ({"shapes": ((2, 10, 4, 4),)}, None, "no row of scores"),
        ({"shapes": ((2, 10), (2, 4))}, None, "no row of scores"),
        ({"rows": rows(5).astype(np.int64)}, None, "no row of scores"),
        ({"rows": UNIT}, None, "unit vectors"),
        ({"rows": UNIT * np.float32(1.1)}, 2, "nothing says otherwise"),
        ({"rows": np.eye(3, dtype=np.float32)}, 3, "softmax"),  # sure ones are no unit vectors
        ({"head": end("LogSoftmax")}, 10, "softmax"),
        ({"head": end("Sigmoid")}, 10, "nothing says otherwise"),
        ({"columns": 1, "head": end("Sigmoid")}, 2, "sigmoid"),
        ({"columns": 1, "head": end("Gemm", "logit")}, None, "one number"),
        ({"columns": 1, "head": end("Sigmoid", "age")}, None, "'age'"),
        ({"head": end("Gemm", "landmarks")}, None, "'landmarks'"),
        ({"head": end("Gemm", "y", "bbox_head.2.weight")}, None, "'bbox_head.2.weight'"),
        ({"head": end("Gemm", "y", "features.18.weight")}, 10, "nothing"),
        ({"head": end("Gemm", "features")}, None, "'features'"),
        ({"head": end("Gemm", "y", "FaceEmbedding/MatMul")}, None, "FaceEmbedding"),
        ({"head": end("Gemm", "y", "pose_classifier.weight")}, 10, "pose_classifier"),
        ({"head": end("Softmax", "pose")}, 10, "softmax"),
        ({"model_name": "landmarks"}, None, "the model is called 'landmarks'"),
        ({"model_name": "image_stage"}, 10, "nothing"),  # "age" is no word of it
        ({"model_name": "speed_limit_signs"}, 10, "nothing"),
        ({"output_names": ("embedding",)}, None, "'embedding'"),
        ({"member": True, "model_name": "landmarks"}, 10, "member of the family"),
        ({"member": True, "columns": 1}, None, "one number"),
        ({"inside": replace(INSIDE, classifies=False)}, None, "metadata"),
        ({"inside": INSIDE, "model_name": "landmarks"}, 10, "metadata"),
        ({"inside": INSIDE, "columns": 1}, None, "one number"),
        ({"inside": replace(INSIDE, binary=True), "columns": 1}, 2, "metadata"),
        ({"config": CheckpointConfig(labels=("a", "b")), "columns": 1}, 2, "config.json names 2"),
        ({"config": CheckpointConfig(labels=("a", "b"))}, 10, "nothing"),
        ({"config": CheckpointConfig(num_classes=10), "model_name": "pose"}, 10, "10 classes"),
        ({"labels": Path("l.txt"), "model_name": "landmarks"}, 10, "--labels"),
        ({"eval": Path("set"), "columns": 1}, 2, "--eval"),
        ({"num_classes": 2, "columns": 1}, 2, "--num-classes"),
        ({"num_classes": 1, "columns": 1}, None, "one number"),
        ({"task": "classify", "columns": 1}, 2, "--task"),
        ({"task": "classify", "rows": UNIT}, 2, "--task"),
        ({"task": "regress", "labels": Path("l.txt")}, None, "--task"),
        ({"task": "regress", "head": end("Softmax")}, None, "--task"),
    ],
)
def test_the_first_that_has_a_say_decides_and_is_named(
    case: dict[str, Any], classes: int | None, said: str
) -> None:
    kind = kind_of(evidence(**case))
    assert kind.classes == classes
    assert said in kind.reason
    assert kind.task == ("regress" if classes is None else "classify")
    assert kind.binary is (classes == 2 and case.get("columns") == 1)


@pytest.mark.parametrize(
    ("op", "probabilities"), [("Softmax", True), ("Sigmoid", True), ("LogSoftmax", False)]
)
def test_scores_are_probabilities_behind_a_softmax_or_a_sigmoid(
    op: str, probabilities: bool
) -> None:
    assert kind_of(evidence(head=end(op))).probabilities is probabilities
    assert kind_of(evidence(head=end(op), labels=Path("l.txt"))).probabilities is probabilities


def test_only_a_row_that_nothing_explains_is_assumed() -> None:
    assert kind_of(evidence()).assumed
    assert not kind_of(evidence(head=end("Softmax"))).assumed
    assert not kind_of(evidence(task="classify")).assumed


def test_the_fact_says_what_it_is_taken_for_and_why() -> None:
    fact = kind_of(evidence(columns=1, head=end("Sigmoid"))).fact
    assert (fact.name, fact.value) == ("task", "classify: 2 classes by one number")
    assert fact.origin == "it ends in a sigmoid"
    other = kind_of(evidence(columns=1)).fact
    assert other.value.startswith("regress")
    assert "--task classify" in other.origin


@pytest.mark.parametrize(
    ("case", "where"),
    [
        ({"task": "classify", "shapes": ((2, 10), (2, 4))}, "--task"),
        ({"num_classes": 7}, "--num-classes"),
        ({"num_classes": 3, "columns": 1}, "--num-classes"),
        ({"num_classes": 10, "shapes": ((2, 10, 4, 4),)}, "--num-classes"),
    ],
)
def test_what_is_stated_has_to_fit_the_outputs(case: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError) as caught:
        kind_of(evidence(**case))
    assert caught.value.where == where
    assert "of shape (2, " in caught.value.what


def test_a_head_is_seen_through_what_keeps_values_up_to_its_weights() -> None:
    nodes = [
        helper.make_node("Conv", ["input", "stem.weight"], ["c"], name="stem"),
        helper.make_node("GlobalAveragePool", ["c"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("MatMul", ["f", "age.weight"], ["m"], name="age/MatMul"),
        helper.make_node("Add", ["m", "age.bias"], ["a"], name="age/Add"),
        helper.make_node("Sigmoid", ["a"], ["s"], name="squash"),
        helper.make_node("Reshape", ["s", "shape"], ["y"], name="view"),
    ]
    known = ("stem.weight", "age.weight", "age.bias", "shape")
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
        [helper.make_tensor(name, TensorProto.FLOAT, [1], [0.0]) for name in known],
    )
    head = head_of(helper.make_model(graph))
    assert (head.op, head.output) == ("Sigmoid", "y")
    assert {"squash", "age/Add", "age.bias", "age/MatMul", "age.weight"} <= set(head.names)
    assert not {"flatten", "stem", "stem.weight"} & set(head.names)
