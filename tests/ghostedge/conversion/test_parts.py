"""Which numbers of an output belong together is followed through what moves them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper, parser

from ghostedge.conversion.parts import Parts, output_parts


def graph(body: str, output: tuple[int, ...], **constants: np.ndarray) -> onnx.ModelProto:
    """A body from ``x`` [1, 4, 2, 3] and ``y`` [1, 2, 2, 3] to ``z``."""
    sizes = ",".join(map(str, output))
    model = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g (float[1,4,2,3] x, float[1,2,2,3] y) => '
        f"(float[{sizes}] z) {{ {body} }}"
    )
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def parts_of(body: str, output: tuple[int, ...], **constants: np.ndarray) -> Parts:
    return output_parts(graph(body, output, **constants))["z"]


def test_parts_are_what_a_concat_joined_and_say_where_they_lie() -> None:
    parts = parts_of(
        """
        boxes = Relu(x)
        scores = Sigmoid(y)
        both = Concat<axis=1>(boxes, scores)
        z = Reshape(both, shape)
        """,
        (1, 6, 6),
        shape=np.array([1, 6, 6]),
    )
    assert parts.kind == "part"
    assert parts.names == ("channels 0 to 3: boxes", "channels 4 to 5: scores")
    assert parts.labels.reshape(-1).tolist() == [0, 0, 0, 0, 1, 1]
    assert parts.labels.shape == (1, 6, 1)


def test_nested_joins_of_levels_are_told_apart_behind_transposes() -> None:
    parts = parts_of(
        """
        a = Relu(x) b = Sigmoid(y) c = Relu(y)
        inner = Concat<axis=1>(a, b)
        rows = Transpose<perm=[0,2,3,1]>(inner)
        d = Concat<axis=1>(c, b, c)
        others = Transpose<perm=[0,2,3,1]>(d)
        z = Concat<axis=1>(rows, others)
        """,
        (1, 4, 3, 6),
    )
    assert parts.names == (
        "axis 1: 0 to 1, axis 3: 0 to 3 (a)",
        "axis 3: 2 to 5 (b)",
        "axis 1: 2 to 3, axis 3: 4 from 0 on (c)",
    )
    labels = np.broadcast_to(parts.labels, (1, 4, 3, 6))
    assert labels[0, 0, 0].tolist() == [0, 0, 0, 0, 1, 1]
    assert labels[0, 3, 2].tolist() == [2, 2, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("body", "output", "channels"),
    [
        ("z = Relu(x)", (1, 4, 2, 3), [0, 1, 2, 3]),
        ("a = Relu(x) z = Transpose<perm=[0,2,3,1]>(a)", (1, 2, 3, 4), [0, 1, 2, 3]),
        ("a = Relu(x) z = Flatten(a)", (1, 24), np.repeat([0, 1, 2, 3], 6).tolist()),
        ("a = Relu(x) b = Flatten(a) z = Relu(b)", (1, 24), list(range(24))),
        ("a = Relu(x) b = Reshape(a, rows) z = Relu(b)", (1, 8, 3), [0, 1, 2]),
        ("a = Relu(x) b = Reshape(a, columns) z = Relu(b)", (1, 3, 8), [0, 1, 2]),
        ("a = Relu(x) z = Slice(a, start, end, axis)", (1, 2, 2, 3), [1, 2]),
    ],
)
def test_channels_are_those_of_the_tensor_that_was_computed(body, output, channels) -> None:
    constants = {
        name: np.array(value)
        for name, value in {
            "rows": [1, 8, 3], "columns": [1, 3, 8], "start": [1], "end": [3], "axis": [1]
        }.items()
        if f" {name}" in body
    }  # fmt: skip
    parts = parts_of(body, output, **constants)
    assert parts.kind == "channel"
    assert parts.labels.reshape(-1).tolist() == channels


def test_a_graph_input_given_back_has_channels_too() -> None:
    assert parts_of("z = Identity(x)", (1, 4, 2, 3)).labels.shape == (1, 4, 1, 1)


def test_a_part_that_a_slice_drops_lies_nowhere() -> None:
    body = "a = Relu(x) b = Relu(y) c = Concat<axis=1>(a, b) z = Slice(c, start, end, axis)"
    parts = parts_of(body, (1, 4, 2, 3), start=np.array([0]), end=np.array([4]), axis=np.array([1]))
    assert parts.names == ("a", "b")
    assert not parts.labels.any()


def test_a_shape_computed_at_run_time_ends_the_walk() -> None:
    body = "a = Concat<axis=1>(x, y) s = Shape(y) t = Expand(a, s2) z = Relu(t)"
    model = graph(body.replace("s = Shape(y) ", ""), (1, 6, 2, 3), s2=np.array([1, 6, 2, 3]))
    assert output_parts(model)["z"].kind == "channel"


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_sums_and_largest_are_those_of_each_part(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    narrow = tuple(data.draw(st.sampled_from([1, size])) for size in shape)
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    labels = random.integers(0, 3, narrow)
    values = random.random(shape)
    parts = Parts("part", ("a", "b", "c"), labels)
    full = np.broadcast_to(labels, shape)
    for index in range(3):
        chosen = values[full == index]
        assert parts.total(values)[index] == pytest.approx(chosen.sum())
        assert parts.largest(values)[index] == pytest.approx(chosen.max(initial=0))
