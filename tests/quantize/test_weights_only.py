"""float16 and dynamic: weights stored small, the float function kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from ghostedge_quantize import float16_weights, int8_weights
from ghostedge_runtime.errors import InputError

Toy = Callable[..., onnx.ModelProto]
Run = Callable[..., np.ndarray]
WIDE = np.random.default_rng(0).normal(size=(64, 3, 3, 3)).astype(np.float32)
DENSE = np.random.default_rng(1).normal(size=(10, 64)).astype(np.float32)
BODY = """
    c = Conv<pads=[1,1,1,1]>(input, w, b)
    r = Relu(c)
    m = GlobalAveragePool(r)
    f = Flatten(m)
    logits = Gemm<transB=1>(f, d, e)
"""


@pytest.fixture(scope="module")
def network(toy: Toy) -> onnx.ModelProto:
    """A convolution of 1,728 weights, and a dense layer of 640: below the bound."""
    biases = {"b": np.linspace(-1, 1, 64), "e": np.zeros(10)}
    return toy(BODY, {"w": WIDE, "d": DENSE, **biases})


def stored(model: onnx.ModelProto, kind: int) -> list[np.ndarray]:
    return [numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == kind]


def test_float16_weights_are_the_nearest_halves(network: onnx.ModelProto) -> None:
    (half,) = stored(float16_weights(network), TensorProto.FLOAT16)
    assert np.array_equal(half, WIDE.astype(np.float16))


def test_int8_weights_reach_127_in_every_channel_and_err_by_half_a_step_within(
    network: onnx.ModelProto,
) -> None:
    small = int8_weights(network)
    (steps,) = stored(small, TensorProto.INT8)
    assert steps.shape == WIDE.shape
    assert (np.abs(steps.astype(int)).max(axis=(1, 2, 3)) == 127).all()
    (scale,) = (s for s in stored(small, TensorProto.FLOAT) if s.shape == (64, 1, 1, 1))
    within = np.clip(WIDE, -127 * scale, 127 * scale)
    assert (np.abs(steps * scale - within) <= scale * 0.5001).all()
    whole = np.abs(WIDE).max(axis=(1, 2, 3), keepdims=True) / 127
    unclipped = np.rint(WIDE / whole) * whole
    assert ((steps * scale - WIDE) ** 2).sum() < ((unclipped - WIDE) ** 2).sum()


@pytest.mark.parametrize(("store", "allowed"), [(float16_weights, 1e-3), (int8_weights, 2e-2)])
def test_the_function_moves_by_no_more_than_the_weights_do(
    network: onnx.ModelProto,
    run: Run,
    batches: Callable[..., list[np.ndarray]],
    store: Callable[[onnx.ModelProto], onnx.ModelProto],
    allowed: float,
) -> None:
    exact, small = run(network, batches(8)), run(store(network), batches(8))
    assert 0 < np.abs(small - exact).max() <= allowed * np.abs(exact).max()


@pytest.mark.parametrize("store", [float16_weights, int8_weights])
def test_small_tensors_and_biases_stay_float32(
    network: onnx.ModelProto, store: Callable[[onnx.ModelProto], onnx.ModelProto]
) -> None:
    shapes = {a.shape for a in stored(store(network), TensorProto.FLOAT)}
    assert {(10, 64), (64,), (10,)} <= shapes
    assert WIDE.shape not in shapes


@pytest.mark.parametrize("store", [float16_weights, int8_weights])
def test_onnx_runtime_decodes_once_when_it_loads(
    network: onnx.ModelProto,
    store: Callable[[onnx.ModelProto], onnx.ModelProto],
    tmp_path: Path,
) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(store(network).SerializeToString(), options)
    loaded = onnx.load(tmp_path / "loaded.onnx")
    ops = Counter(node.op_type for node in loaded.graph.node)
    assert ops["Conv"] == 1
    assert not ops["Cast"] + ops["Mul"]


def test_a_weight_beyond_float16_is_refused_by_name(toy: Toy) -> None:
    huge = WIDE.copy()
    huge[5, 1, 1, 1] = 70000
    model = toy(BODY, {"w": huge, "d": DENSE, "b": np.zeros(64), "e": np.zeros(10)})
    with pytest.raises(InputError, match=r"w: its weights reach 70000, float16 ends at 65504"):
        float16_weights(model)
    int8_weights(model)


@pytest.mark.parametrize("store", [float16_weights, int8_weights])
def test_weights_that_are_not_numbers_are_refused_by_name(
    toy: Toy, store: Callable[[onnx.ModelProto], onnx.ModelProto]
) -> None:
    broken = WIDE.copy()
    broken[0, 0, 0, 0] = np.nan
    model = toy(BODY, {"w": broken, "d": DENSE, "b": np.zeros(64), "e": np.zeros(10)})
    with pytest.raises(InputError, match="w: its weights"):
        store(model)


def test_a_channel_of_zeros_stays_zero(toy: Toy, run: Run) -> None:
    silent = WIDE.copy()
    silent[3] = 0
    model = toy(BODY, {"w": silent, "d": DENSE, "b": np.zeros(64), "e": np.zeros(10)})
    (steps,) = stored(int8_weights(model), TensorProto.INT8)
    assert not steps[3].any()
    assert np.isfinite(run(int8_weights(model), [np.ones((1, 3, 8, 8), np.float32)])).all()


def test_weights_that_two_layers_share_are_stored_once(toy: Toy) -> None:
    square = np.random.default_rng(0).normal(size=(36, 36, 1, 1))
    model = toy(
        "a = Conv(input, w)\n b = Conv(a, w)\n m = GlobalAveragePool(b)\n logits = Flatten(m)",
        {"w": square},
        shape=(1, 36, 4, 4),
        output=(1, 36),
    )
    small = int8_weights(model)
    assert len(stored(small, TensorProto.INT8)) == 1
    assert Counter(n.op_type for n in small.graph.node)["Cast"] == 1


@pytest.mark.parametrize("store", [float16_weights, int8_weights])
def test_equal_models_give_equal_bytes_and_the_argument_stays_as_it_was(
    network: onnx.ModelProto, store: Callable[[onnx.ModelProto], onnx.ModelProto]
) -> None:
    before = network.SerializeToString()
    first, second = store(network), store(network)
    assert first.SerializeToString() == second.SerializeToString()
    assert network.SerializeToString() == before
