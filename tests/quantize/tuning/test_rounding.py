"""Learned rounding: the second moments it goes by, and what it makes of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from ghostedge_quantize.codes import channel_scales, quantize_weights
from ghostedge_quantize.tuning.rounding import MAX_POSITIONS, gram, learned_codes, output_error
from ghostedge_quantize.tuning.tune import NodeRunner
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import Preprocessing


def _outputs(node: onnx.NodeProto, weight: np.ndarray, batches: Sequence[np.ndarray]) -> np.ndarray:
    """What ONNX Runtime makes of a layer without bias: float64 [O, positions of all images]."""
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "layer",
        [
            helper.make_tensor_value_info("x", kind, [None] * batches[0].ndim),
            helper.make_tensor_value_info("w", kind, weight.shape),
        ],
        [onnx.ValueInfoProto(name="y")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    outputs = [session.run(None, {"x": batch, "w": weight})[0] for batch in batches]
    flat = [output.reshape(*output.shape[:2], -1).swapaxes(0, 1) for output in outputs]
    rows = np.concatenate([output.reshape(len(output), -1) for output in flat], axis=1)
    return np.asarray(rows, np.float64)


def _powers(weight: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """``w · H · w`` of each output channel."""
    rows = weight.reshape(len(moments), len(weight) // len(moments), -1).astype(np.float64)
    return np.asarray(np.einsum("gok,gkl,gol->go", rows, moments, rows)).reshape(-1)


def _nearest(weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    steps = weight / scale.reshape(-1, *[1] * (weight.ndim - 1))
    return np.asarray(np.clip(np.rint(steps), -127, 127), np.int8)


def _moments(random: np.random.Generator, groups: int, columns: int) -> np.ndarray:
    """Of inputs that have a common part, as channels behind a ReLU do."""
    shape = (groups, 200, columns)
    inputs = np.maximum(random.normal(size=shape) + random.normal(size=(groups, 200, 1)), 0)
    return np.asarray(inputs.swapaxes(1, 2) @ inputs / 200)


@st.composite
def conv_layers(draw: st.DrawFn) -> tuple[onnx.NodeProto, np.ndarray, list[np.ndarray]]:
    groups, each, outputs = (draw(st.integers(1, 3)) for _ in range(3))
    kernel = [draw(st.integers(1, 3)) for _ in range(2)]
    attributes: dict[str, Any] = {
        "group": groups,
        "strides": [draw(st.integers(1, 3)) for _ in range(2)],
        "dilations": [draw(st.integers(1, 2)) for _ in range(2)],
    }
    padding = draw(st.sampled_from(["pads", "none", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if padding == "pads":
        attributes["pads"] = [draw(st.integers(0, 2)) for _ in range(4)]
    elif padding != "none":
        attributes["auto_pad"] = padding
    if padding.startswith("SAME"):
        # The combination is one that ONNX Runtime refuses.
        attributes["dilations"] = [1, 1]
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=kernel, **attributes)
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    weight = random.normal(size=(groups * outputs, each, *kernel)).astype(np.float32)
    sides = [draw(st.integers(5, 9)) for _ in range(2)]
    counts = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    batches = [random.normal(1, 1, size=(n, groups * each, *sides)) for n in counts]
    return node, weight, [batch.astype(np.float32) for batch in batches]


@settings(deadline=None, max_examples=80)
@given(conv_layers())
def test_moments_give_the_power_and_variance_of_a_convolutions_output(
    layer: tuple[onnx.NodeProto, np.ndarray, list[np.ndarray]],
) -> None:
    node, weight, batches = layer
    outputs = _outputs(node, weight, batches)
    moments = gram(node, weight.shape, batches)
    assert moments.dtype == np.float64
    assert _powers(weight, moments) == pytest.approx((outputs**2).mean(1), rel=1e-4, abs=1e-5)
    about_mean = gram(node, weight.shape, batches, centred=True)
    assert _powers(weight, about_mean) == pytest.approx(outputs.var(1), rel=1e-3, abs=1e-4)


def test_moments_give_the_power_of_a_dense_layers_output() -> None:
    random = np.random.default_rng(0)
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    weight = random.normal(size=(4, 7)).astype(np.float32)
    batches = [random.normal(size=(n, 7)).astype(np.float32) for n in (3, 1, 2)]
    outputs = np.concatenate([batch.astype(np.float64) @ weight.T for batch in batches])
    moments = gram(node, weight.shape, batches)
    assert moments.shape == (1, 7, 7)
    assert _powers(weight, moments) == pytest.approx((outputs**2).mean(0), rel=1e-5)


def test_a_large_image_is_judged_by_evenly_spread_positions() -> None:
    side = 150
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    down, across = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    stripes = (across % 2 == 0) & (down % 4 == 0)
    image = np.stack([down, across, stripes]).astype(np.float32)[None]
    assert side**2 > 10 * MAX_POSITIONS
    moments = gram(node, (1, 3, 1, 1), [image])[0]
    flat = image.reshape(3, -1).astype(np.float64)
    assert np.diag(moments) == pytest.approx((flat**2).mean(1), rel=0.05)
    assert moments == pytest.approx(flat @ flat.T / side**2, rel=0.1)


def test_no_images_is_an_error_that_names_the_layer() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="stem")
    with pytest.raises(InputError, match="stem"):
        gram(node, (1, 3, 1, 1), [])


def test_output_error_is_the_power_that_the_wrong_weights_add() -> None:
    random = np.random.default_rng(1)
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=2, pads=[1, 1, 1, 1])
    weight = random.normal(size=(6, 2, 3, 3)).astype(np.float32)
    batches = [random.normal(size=(2, 4, 8, 8)).astype(np.float32)]
    scale = channel_scales(weight) * np.float32(10)
    codes = _nearest(weight, scale)
    wrong = weight - codes * scale[:, None, None, None]
    measured = (_outputs(node, wrong, batches) ** 2).mean(1)
    errors = output_error(weight, codes, scale, gram(node, weight.shape, batches))
    assert errors == pytest.approx(measured, rel=1e-3)


def test_errors_of_a_pair_that_moves_together_are_made_to_cancel() -> None:
    weight = np.array([[0.4, 0.4, 127.0]], np.float32)
    both = np.zeros((1, 3, 3))
    both[0, :2, :2] = 1
    codes = learned_codes(weight, np.ones(1, np.float32), both)
    assert sorted(codes[0, :2].tolist()) == [0, 1]
    assert codes[0, 2] == 127
    assert output_error(weight, codes, np.float32(1), both) == pytest.approx([0.04])
    assert output_error(weight, _nearest(weight, np.ones(1)), np.float32(1), both) == pytest.approx(
        [0.64]
    )


def test_inputs_that_are_independent_keep_the_nearest_codes() -> None:
    weight = np.random.default_rng(2).normal(size=(5, 9)).astype(np.float32)
    scale = channel_scales(weight)
    codes = learned_codes(weight, scale, np.eye(9)[None])
    assert (codes == _nearest(weight, scale)).all()


def test_a_layer_whose_inputs_are_dead_keeps_the_nearest_codes() -> None:
    weight = np.random.default_rng(3).normal(size=(4, 1, 3, 3)).astype(np.float32)
    moments = np.zeros((4, 9, 9))
    moments[1] = 1.0
    scale = channel_scales(weight)
    dead = [0, 2, 3]
    codes = learned_codes(weight, scale, moments)
    assert (codes[dead] == _nearest(weight, scale)[dead]).all()


def test_the_result_is_near_the_best_of_all_roundings() -> None:
    random = np.random.default_rng(4)
    ratios = []
    for _ in range(60):
        size = int(random.integers(2, 9))
        moments = _moments(random, 1, size)
        weight = random.normal(size=(4, size)).astype(np.float32)
        scale = channel_scales(weight)
        floor = np.floor(weight.astype(np.float64) / scale[:, None])
        errors = [
            output_error(weight, np.clip(floor + up, -127, 127), scale, moments)
            for up in itertools.product((0, 1), repeat=size)
        ]
        best = np.min(errors, axis=0).sum()
        nearest = output_error(weight, _nearest(weight, scale), scale, moments).sum()
        learned = output_error(weight, learned_codes(weight, scale, moments), scale, moments).sum()
        ratios.append((learned / best, nearest / best))
    learned_ratio, nearest_ratio = np.mean(ratios, axis=0)
    assert learned_ratio < 1.06
    assert nearest_ratio > 1.4
    assert np.min(ratios) > 1 - 1e-9


@pytest.mark.parametrize(("groups", "columns"), [(1, 150), (3, 100)])
def test_no_single_flip_would_lower_the_error_further(groups: int, columns: int) -> None:
    random = np.random.default_rng(5)
    moments = _moments(random, groups, columns)
    weight = random.normal(size=(60, columns)).astype(np.float32)
    scale = channel_scales(weight)
    codes = learned_codes(weight, scale, moments).astype(np.float64)
    reached = output_error(weight, codes, scale, moments)
    steps = weight.astype(np.float64) / scale[:, None]
    other = np.clip(np.floor(steps) + np.ceil(steps) - codes, -127, 127)
    assert (other != codes).mean() > 0.9
    for column in range(columns):
        flipped = codes.copy()
        flipped[:, column] = other[:, column]
        assert (output_error(weight, flipped, scale, moments) >= reached * (1 - 1e-6)).all()


@settings(deadline=None, max_examples=120)
@given(
    groups=st.sampled_from([1, 1, 2, 5]),
    each=st.integers(1, 3),
    columns=st.sampled_from([1, 2, 9, 63, 64, 65, 130]),
    per_channel=st.booleans(),
    clipping=st.sampled_from([0.7, 1.0, 1.0, 3.0]),
    deficient=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_no_channel_is_worse_than_nearest_and_no_code_leaves_its_two_neighbours(
    *,
    groups: int,
    each: int,
    columns: int,
    per_channel: bool,
    clipping: float,
    deficient: bool,
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    moments = _moments(random, groups, columns)
    if deficient:
        moments = moments[:, :, :1] @ moments[:, :1, :]
    weight = random.normal(size=(groups * each, columns)).astype(np.float32)
    scale = channel_scales(weight) * np.float32(clipping)
    if not per_channel:
        scale = np.asarray(scale.max())
    codes = learned_codes(weight, scale, moments)
    learned = output_error(weight, codes, scale, moments)
    nearest = output_error(weight, _nearest(weight, scale), scale, moments)
    assert (learned <= nearest * (1 + 1e-12)).all()
    assert codes.dtype == np.int8
    assert codes.shape == weight.shape
    steps = weight.astype(np.float64) / np.broadcast_to(scale, len(weight)).astype(float)[:, None]
    inside = np.clip(steps, -127, 127)
    assert (np.abs(codes - inside) < 1).all()
    assert np.abs(codes.astype(np.int32)).max() <= 127


def test_the_codes_to_beat_are_those_that_quantize_weights_writes() -> None:
    """On ties too: 0.5, 1.5 and 2.5 go to even where no input says otherwise."""
    weight = np.array([[127.0, 0.5, 1.5, 2.5, -2.5]], np.float32)
    written = quantize_weights(weight, np.zeros(1, np.float32), np.float32(1), np.float32(1))
    codes = learned_codes(weight, written.scale, np.eye(5)[None])
    assert codes.tolist() == written.values.tolist()


@pytest.fixture(scope="module")
def seen_and_unseen(
    trained_deploy: onnx.ModelProto,
    trained_preprocessing: Preprocessing,
    trained_calib: Path,
    images: type,
) -> list[dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Weights and moments by layer, on two disjoint sets of 60 real images."""
    data = list(images(sorted(trained_calib.rglob("*.jp*g"))[::4], trained_preprocessing))
    return [_layers(trained_deploy, part) for part in (data[0:120:2], data[1:120:2])]


def _layers(
    model: onnx.ModelProto, batches: list[np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    layers, run = {}, NodeRunner(model, batches)
    for node in run.run():
        if node.op_type == "Conv" and ("conv_stem" in node.name or "blocks.3." in node.name):
            weight = run.constant(node.input[1])
            layers[node.name] = weight, gram(node, weight.shape, run.inputs(node.input[0]))
    return layers


def test_real_layers_lose_less_on_images_that_were_not_looked_at(
    seen_and_unseen: list[dict[str, tuple[np.ndarray, np.ndarray]]], trained: Any
) -> None:
    """The least and the mean gain over nearest, by kind of layer, in summed squared error."""
    seen, unseen = seen_and_unseen
    gains: dict[str, list[float]] = {"pointwise": [], "depthwise": [], "full": []}
    for name, (weight, moments) in seen.items():
        scale = channel_scales(weight)
        codes, nearest = learned_codes(weight, scale, moments), _nearest(weight, scale)
        errors = [
            output_error(weight, candidate, scale, unseen[name][1])
            for candidate in (codes, nearest)
        ]
        kind = "depthwise" if len(moments) > 1 else "pointwise" if weight.shape[2] == 1 else "full"
        gains[kind].append(1 - errors[0].sum() / errors[1].sum())
    assert min(gains["pointwise"]) > 0.2
    assert np.mean(gains["pointwise"]) > 0.45
    assert np.mean(gains["depthwise"]) > 0.2
    # The stem of the bundled 0.5x network has half the channels to choose roundings in.
    assert min(gains["full"]) > (0.8 if trained.width == 1 else 0.75)
