"""Channel classes: which channels share a factor, and that no factor changes a graph's function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from ghostedge_quantize.equalization.channels import FIXED, ChannelClasses, per_channel_constant
from ghostedge_quantize.equalization.equalize import rescale
from ghostedge_quantize.graph.canonical import canonical_ir

_RANDOM = np.random.default_rng(11)


def _weight(*shape: int) -> np.ndarray:
    return _RANDOM.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)


def _shape(*sizes: int) -> np.ndarray:
    return np.array(sizes, np.int64)


def classes_of(model: onnx.ModelProto) -> Callable[[str], list[int]]:
    """A function from a tensor's name to its channels' classes."""
    graph = canonical_ir(model).graph
    classes = ChannelClasses(graph)
    values = {str(v.name): v for node in graph for v in (*node.inputs, *node.outputs) if v}
    return lambda name: classes.of(values[name]).tolist()


def rescaled(
    model: onnx.ModelProto, seed: int = 0, largest: float = 8.0
) -> tuple[onnx.ModelProto, int]:
    """The model with every class divided by a random factor, and how many classes that were."""
    graph = canonical_ir(model)
    classes = ChannelClasses(graph.graph)
    random = np.random.default_rng(seed)
    scales = np.exp(random.uniform(-np.log(largest), np.log(largest), classes.count))
    scales[FIXED] = 1
    rescale(graph.graph, classes, scales)
    proto = ir.to_proto(graph)
    onnx.checker.check_model(proto, full_check=True)
    return proto, classes.count - 1


def deviation(actual: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, relative to the largest value."""
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


_STEM = "pre = Conv<pads=[1,1,1,1]>(input, stem_w, stem_b) stem = Relu(pre)"
_HEAD = "mean = GlobalAveragePool(last) flat = Flatten(mean) logits = Gemm<transB=1>(flat, fw, fb)"
_WEIGHTS = {
    "stem_w": _weight(8, 3, 3, 3),
    "stem_b": _weight(8, 1)[:, 0],
    "w": _weight(8, 8, 1, 1),
    "v": _weight(8, 8, 1, 1),
    "d": _weight(8, 1, 3, 3),
    "two": _weight(8, 4, 3, 3),
    "fw": _weight(10, 8),
    "fb": _weight(10, 1)[:, 0],
}

# name → (what stands between stem and head, its constants, how many classes can be rescaled)
GRAPHS: dict[str, tuple[str, Mapping[str, Any], int]] = {
    "depthwise": ("last = Conv<pads=[1,1,1,1], group=8>(stem, d)", {}, 16),
    "two groups": ("last = Conv<pads=[1,1,1,1], group=2>(stem, two)", {}, 16),
    "residual": ("a = Conv(stem, w) last = Add(a, stem)", {}, 8),
    "residual chain": ("a = Conv(stem, w) b = Add(a, stem) c = Conv(b, v) last = Add(c, b)", {}, 8),
    "gate": (
        "p = GlobalAveragePool(stem) e = Conv(p, w) g = Sigmoid(e) last = Mul(stem, g)",
        {},
        8,
    ),
    "gate first": (
        "p = GlobalAveragePool(stem) e = Conv(p, w) g = HardSigmoid(e) last = Mul(g, stem)",
        {},
        8,
    ),
    "gate as large as the data": (
        "a = Conv(stem, w) e = Conv(stem, v) g = Sigmoid(e) last = Mul(a, g)",
        {},
        16,
    ),
    "gate as large as the data, first": (
        "a = Conv(stem, w) e = Conv(stem, v) g = Softmax<axis=1>(e) last = Mul(g, a)",
        {},
        16,
    ),
    "squared": ("a = Conv(stem, w) last = Mul(a, a)", {}, 8),
    "constant factor": ("last = Mul(stem, c)", {"c": _weight(8, 1, 1)}, 8),
    "constant per channel": ("last = Add(stem, c)", {"c": _weight(1, 8, 1, 1)}, 8),
    "constant for all": ("last = Sub(stem, c)", {"c": np.float32(0.3)}, 8),
    "constant minus": ("last = Sub(c, stem)", {"c": _weight(8, 1, 1)}, 8),
    "constant per pixel": ("last = Add(stem, c)", {"c": _weight(1, 8, 8, 8)}, 0),
    "constants alone": ("t = Add(c, c) a = Conv(stem, w) last = Add(a, t)", {"c": 0.1}, 8),
    "max pool": ("a = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(stem) last = Conv(a, w)", {}, 16),
    "average pool": ("last = AveragePool<kernel_shape=[2,2], strides=[2,2]>(stem)", {}, 8),
    "leaky": ("a = Conv(stem, w) last = LeakyRelu<alpha=0.1>(a)", {}, 16),
    "negative": ("a = Conv(stem, w) last = Neg(a)", {}, 16),
    "magnitude": ("a = Conv(stem, w) last = Abs(a)", {}, 16),
    "largest of the row": (
        "a = ReduceMax<keepdims=1>(stem, s) last = Conv(a, w)",
        {"s": _shape(-1)},
        16,
    ),
    "smallest of the channels": (
        "a = ReduceMin<keepdims=1>(stem, s) last = Mul(stem, a)",
        {"s": _shape(1)},
        0,
    ),
    "mean of the channels, as many rows as channels": (
        "a = ReduceMean<keepdims=0>(stem, s) b = Unsqueeze(a, s) last = Mul(stem, b)",
        {"s": _shape(1)},
        0,
    ),
    "mean of everything": ("a = ReduceMean(stem) last = Mul(stem, a)", {}, 0),
    "zero padding": ("last = Pad(stem, p)", {"p": _shape(0, 0, 1, 1, 0, 0, 1, 1)}, 8),
    "padding with one": (
        "last = Pad(stem, p, c)",
        {"p": _shape(0, 0, 1, 1, 0, 0, 1, 1), "c": np.float32(1)},
        0,
    ),
    "resize": (
        """last = Resize<mode="nearest">(stem, roi, f)""",
        {"roi": np.zeros(0), "f": [1, 1, 2, 2]},
        8,
    ),
    "clip": ("last = Clip(stem, lo, hi)", {"lo": np.float32(0), "hi": np.float32(1)}, 0),
    "unknown op": ("last = Tanh(stem)", {}, 0),
    "unknown op aside": ("a = Tanh(stem) b = Conv(stem, w) last = Add(a, b)", {}, 0),
    "along another axis": ("a = Conv(stem, w) last = Concat<axis=2>(a, stem)", {}, 8),
    "negative axis": (
        "a = Conv(stem, w) b = Concat<axis=-3>(a, stem) last = Conv(b, c)",
        {"c": _weight(8, 16, 1, 1)},
        24,
    ),
    "concat of a constant": (
        "a = Concat<axis=1>(stem, k) last = Conv(a, c)",
        {"k": _weight(1, 8, 8, 8), "c": _weight(8, 16, 1, 1)},
        8,
    ),
    "a part of the channels": (
        "a = Slice(stem, second, six, axis) last = Conv(a, c)",
        {"second": _shape(2), "six": _shape(6), "axis": _shape(1), "c": _weight(8, 4, 1, 1)},
        16,
    ),
    "every other channel, backwards": (
        "a = Slice(stem, end, start, axis, step) last = Conv(a, c)",
        {
            "end": _shape(-1),
            "start": _shape(-(2**63)),
            "axis": _shape(-3),
            "step": _shape(-2),
            "c": _weight(8, 4, 1, 1),
        },
        16,
    ),
    "parts that go separate ways": (
        """a = Slice(stem, zero, four, axis) b = Slice(stem, four, eight, axis)
        t = Conv(a, c) u = Add(t, a) last = Concat<axis=1>(u, b)""",
        {
            "zero": _shape(0),
            "four": _shape(4),
            "eight": _shape(8),
            "axis": _shape(1),
            "c": _weight(4, 4, 1, 1),
        },
        8,
    ),
    "a part of the rows": (
        "last = Slice(stem, zero, four)",
        {"zero": _shape(0, 0, 2, 0), "four": _shape(1, 8, 6, 5)},
        8,
    ),
    "a part known at run time alone": (
        "n = Abs(zero) a = Slice(stem, n, four, axis) b = Slice(a, zero, four, axis) "
        "last = Conv(b, c)",
        {"zero": _shape(0), "four": _shape(4), "axis": _shape(1), "c": _weight(8, 4, 1, 1)},
        8,
    ),
    "one channel for all": (
        "a = Conv(stem, one) last = Add(stem, a)",
        {"one": _weight(1, 8, 1, 1)},
        0,
    ),
    "folded into columns": (
        "a = Reshape(stem, s) b = Reshape(a, t) last = Conv(b, w)",
        {"s": _shape(1, 8, 64), "t": _shape(1, 8, 8, 8)},
        16,
    ),
    "channels shuffled": (
        """a = Reshape(stem, s) b = Transpose<perm=[0,2,1,3,4]>(a) c = Reshape(b, t)
        last = Conv(c, w)""",
        {"s": _shape(1, 2, 4, 8, 8), "t": _shape(1, 8, 8, 8)},
        8,
    ),
    "rows mistaken for channels": (
        "a = Reshape(stem, s) b = Reshape(a, t) last = Conv(b, w)",
        {"s": _shape(64, 8), "t": _shape(1, 8, 8, 8)},
        8,
    ),
    "a rank lower beside it": (
        "a = Reshape(stem, s) last = Add(stem, a)",
        {"s": _shape(8, 8, 8)},
        0,
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_any_factors_leave_the_function_as_it_was(
    name: str,
    toy: Callable[..., onnx.ModelProto],
    batches: Callable[..., list[np.ndarray]],
    run: Callable[..., np.ndarray],
) -> None:
    body, constants, expected = GRAPHS[name]
    model = toy(f"{_STEM} {body} {_HEAD}", {**_WEIGHTS, **constants})
    other, count = rescaled(model)
    arrays = batches(2)
    assert deviation(run(other, arrays), run(model, arrays)) < 1e-5
    assert count == expected


_TAILS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "Flatten": ("flat = Flatten(stem)", {}),
    "Reshape": ("flat = Reshape(stem, s)", {"s": _shape(1, 512)}),
    "Reshape of unknown length": ("flat = Reshape(stem, s)", {"s": _shape(0, -1)}),
    "Squeeze": ("p = GlobalMaxPool(stem) flat = Squeeze(p, s)", {"s": _shape(2, 3)}),
    "ReduceMean": ("flat = ReduceMean<keepdims=0>(stem, s)", {"s": _shape(2, 3)}),
}


@pytest.mark.parametrize("kind", ["Gemm", "MatMul"])
@pytest.mark.parametrize("tail", _TAILS)
def test_a_dense_layer_undoes_factors_whatever_flattens_its_input(
    tail: str,
    kind: str,
    toy: Callable[..., onnx.ModelProto],
    batches: Callable[..., list[np.ndarray]],
    run: Callable[..., np.ndarray],
) -> None:
    body, constants = _TAILS[tail]
    width = 8 if tail in ("Squeeze", "ReduceMean") else 512
    dense = _weight(width, 16)
    head = "n = Gemm(flat, m)" if kind == "Gemm" else "t = MatMul(flat, m) n = Add(t, c)"
    model = toy(
        f"{_STEM} {body} {head} r = Relu(n) logits = MatMul(r, o)",
        {**_WEIGHTS, **constants, "m": dense, "c": _weight(16, 1)[:, 0], "o": _weight(16, 10)},
    )
    other, count = rescaled(model)
    arrays = batches(2)
    assert deviation(run(other, arrays), run(model, arrays)) < 1e-5
    assert count == 8 + 16


@pytest.mark.parametrize("largest", [8.0, 64.0])
def test_a_whole_ghost_module_can_be_rescaled(
    largest: float,
    ghost: onnx.ModelProto,
    batches: Callable[..., list[np.ndarray]],
    run: Callable[..., np.ndarray],
) -> None:
    other, count = rescaled(ghost, largest=largest)
    arrays = batches(4)
    assert deviation(run(other, arrays), run(ghost, arrays)) < 1e-5
    # stem and linear 8 (one class through the addition), primary 4, cheap 4, reduced 4
    assert count == 8 + 4 + 4 + 4


def test_a_primary_channel_is_one_class_in_the_cheap_branch_and_behind_the_concat(
    ghost: onnx.ModelProto,
) -> None:
    of = classes_of(ghost)
    assert of("both") == of("primary") + of("cheap")
    assert of("gated") == of("both")
    assert len({*of("primary"), *of("cheap")}) == 8
    assert FIXED not in of("both")


def test_a_residual_chain_is_one_class_per_channel(toy: Callable[..., onnx.ModelProto]) -> None:
    body, _, _ = GRAPHS["residual chain"]
    of = classes_of(toy(f"{_STEM} {body} {_HEAD}", _WEIGHTS))
    assert of("a") == of("b") == of("c") == of("stem") == of("last")
    assert len(set(of("stem"))) == 8


def test_inputs_outputs_gates_and_what_is_clipped_are_fixed(ghost: onnx.ModelProto) -> None:
    of = classes_of(ghost)
    for name in ("input", "logits", "gate", "e"):
        assert set(of(name)) == {FIXED}, name
    assert FIXED not in of("reduced")


def test_an_op_of_another_domain_fixes_what_it_reads(toy: Callable[..., onnx.ModelProto]) -> None:
    model = toy(f"{_STEM} last = Identity(stem) {_HEAD}", _WEIGHTS)
    assert FIXED not in classes_of(model)("stem")
    foreign = next(node for node in model.graph.node if node.op_type == "Identity")
    foreign.domain = "com.example"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    assert set(classes_of(model)("stem")) == {FIXED}


def test_channels_of_an_unknown_shape_are_fixed(toy: Callable[..., onnx.ModelProto]) -> None:
    model = toy(f"{_STEM} s2 = Shape(stem) s3 = Abs(s2) last = Reshape(stem, s3) {_HEAD}", _WEIGHTS)
    del model.graph.value_info[:]
    other, count = rescaled(model)
    assert set(classes_of(model)("stem")) == {FIXED} or count == 8
    assert len(other.graph.node) == len(model.graph.node)


@pytest.mark.parametrize(
    ("shape", "found"),
    [((), True), ((1,), True), ((8, 1, 1), True), ((1, 8, 1, 1), True), ((8,), False)],
)
def test_a_constant_counts_as_per_channel_only_along_axis_1(
    shape: Sequence[int], found: bool, toy: Callable[..., onnx.ModelProto]
) -> None:
    values = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    model = toy(f"{_STEM} last = Add(stem, c) {_HEAD}", {**_WEIGHTS, "c": values})
    node = next(n for n in canonical_ir(model).graph if n.op_type == "Add")
    result = per_channel_constant(node)
    assert (result is not None) is found
    if result is not None:
        assert result[0] == 1
        assert result[1].tolist() == np.broadcast_to(values.reshape(-1), (8,)).tolist()


def test_a_constant_added_to_a_vector_is_not_per_channel(
    toy: Callable[..., onnx.ModelProto],
) -> None:
    model = toy(
        """m = GlobalAveragePool(input) v = Squeeze(m) a = Add(v, c) b = Reshape(a, s)
        logits = MatMul(b, w)""",
        {"c": [0.5, 1, 2], "s": _shape(1, 3), "w": _weight(3, 10)},
    )
    node = next(n for n in canonical_ir(model).graph if n.op_type == "Add")
    assert per_channel_constant(node) is None
