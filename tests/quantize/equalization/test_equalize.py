"""Equalization: the same function, less noise, whatever scales the channels had before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from ghostedge_quantize.equalization.channels import FIXED, ChannelClasses
from ghostedge_quantize.equalization.equalize import equalize, rescale
from ghostedge_quantize.equalization.gains import channel_stats
from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.int8 import prepare, quantize
from ghostedge_quantize.ranges.calibrate import calibrate
from ghostedge_quantize.settings import Int8Settings
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import Preprocessing

_CALIBRATION = 6
_JUDGED = 60


def hostile(model: onnx.ModelProto, largest: float, seed: int = 0) -> onnx.ModelProto:
    """The same function, every class of channels multiplied by a random factor."""
    graph = canonical_ir(model)
    classes = ChannelClasses(graph.graph)
    random = np.random.default_rng(seed)
    scales = np.exp(random.uniform(-np.log(largest), np.log(largest), classes.count))
    scales[FIXED] = 1
    rescale(graph.graph, classes, scales)
    return ir.to_proto(graph)


def weight_scales(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Weighted node's position → largest weight of each output channel."""
    arrays = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    weighted = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm")]
    return {
        node.output[0]: np.abs(arrays[node.input[1]]).reshape(len(arrays[node.input[1]]), -1).max(1)
        for node in weighted
    }


def channels_of(model: onnx.ModelProto, batches: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Tensor → largest value of each channel, relative to the tensor's own."""
    names = ["stem", "primary", "cheap", "reduced", "linear", "residual"]
    stats = channel_stats(canonical_ir(model), names, batches)
    ends = {name: np.maximum(channels.high, channels.low) for name, channels in stats.items()}
    return {name: channels / channels.max() for name, channels in ends.items()}


def int8_noise(
    model: onnx.ModelProto,
    batches: Sequence[np.ndarray],
    run: Callable[..., np.ndarray],
    **options: Any,
) -> float:
    """Mean square error of the int8 graph's logits, relative to them."""
    exact = run(model, batches)
    actual = run(quantize(model, calibrate(model, batches), preprocessing=None, **options), batches)
    return float(np.square(actual - exact).mean() / np.square(exact).mean())


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_function_stays_and_the_noise_falls(
    per_channel: bool,
    ghost: onnx.ModelProto,
    batches: Callable[..., list[np.ndarray]],
    run: Callable[..., np.ndarray],
) -> None:
    model, arrays = hostile(ghost, 8), batches(32)
    equalized = equalize(model, arrays, per_channel=per_channel)
    np.testing.assert_allclose(
        run(equalized.model, arrays), run(ghost, arrays), rtol=1e-4, atol=1e-5
    )
    assert equalized.noise_db < 0
    assert equalized.channels == 20
    before = int8_noise(model, arrays, run, per_channel=per_channel)
    after = int8_noise(equalized.model, arrays, run, per_channel=per_channel)
    assert after < before / 4


@pytest.mark.parametrize("largest", [8.0, 64.0])
def test_what_scales_the_channels_had_makes_no_difference(
    largest: float, ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]]
) -> None:
    """What a factor for a whole tensor changes is left out: int8 does not see it."""
    arrays = batches(32)
    plain = channels_of(equalize(ghost, arrays).model, arrays)
    other = channels_of(equalize(hostile(ghost, largest), arrays).model, arrays)
    for name, channels in plain.items():
        np.testing.assert_allclose(other[name], channels, atol=0.01, err_msg=name)


def test_the_model_given_is_left_as_it_was(
    ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]]
) -> None:
    before = ghost.SerializeToString(deterministic=True)
    equalize(ghost, batches(4))
    assert ghost.SerializeToString(deterministic=True) == before


def test_the_same_model_and_images_give_the_same_graph(
    ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]]
) -> None:
    one, other = (equalize(ghost, batches(8)).model for _ in range(2))
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def test_equalizing_twice_gains_nothing_the_second_time(
    ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]]
) -> None:
    arrays = batches(32)
    once = equalize(hostile(ghost, 64), arrays)
    twice = equalize(once.model, arrays)
    assert once.noise_db < -3
    assert twice.noise_db > -0.1


@pytest.mark.parametrize(
    "body",
    [
        "m = GlobalAveragePool(input) f = Flatten(m) logits = Gemm<transB=1>(f, w)",
        "m = GlobalAveragePool(input) f = Flatten(m) t = MatMul(f, v) logits = Tanh(t)",
    ],
)
def test_a_graph_without_free_channels_comes_back_unchanged(
    body: str, toy: Callable[..., onnx.ModelProto], batches: Callable[..., list[np.ndarray]]
) -> None:
    weight = np.random.default_rng(0).normal(size=(10, 3))
    model = toy(
        body, {"w": weight} if "w" in body.rsplit("Gemm", maxsplit=1)[-1] else {"v": weight.T}
    )
    equalized = equalize(model, batches(4))
    assert equalized.model is model
    assert (equalized.channels, equalized.noise_db) == (0, 0.0)


def test_a_model_that_gives_zero_comes_back_unchanged(
    toy: Callable[..., onnx.ModelProto], batches: Callable[..., list[np.ndarray]]
) -> None:
    model = toy(
        """a = Conv(input, w, b) r = Relu(a) m = GlobalAveragePool(r) f = Flatten(m)
        logits = Gemm<transB=1>(f, d)""",
        {"w": np.zeros((4, 3, 1, 1)), "b": np.full(4, -1.0), "d": np.ones((10, 4))},
    )
    assert equalize(model, batches(4)).model is model


def test_weights_that_read_a_channel_without_values_do_not_cost_the_others_their_codes(
    toy: Callable[..., onnx.ModelProto],
    batches: Callable[..., list[np.ndarray]],
    run: Callable[..., np.ndarray],
) -> None:
    random = np.random.default_rng(0)
    weight = random.normal(size=(6, 3, 1, 1)) * np.array([1, 0.01, 1, 30, 1, 1]).reshape(6, 1, 1, 1)
    model = toy(
        """a = Conv(input, w, b) r = Relu(a) m = GlobalAveragePool(r) f = Flatten(m)
        logits = Gemm<transB=1>(f, d)""",
        {
            "w": weight,
            "b": [0, 0, -99, 0, 0, 0],
            "d": random.normal(size=(10, 6)) * np.array([1, 1, 1000, 1, 1, 1]),
        },
    )
    arrays = batches(16)
    equalized = equalize(model, arrays)
    np.testing.assert_allclose(run(equalized.model, arrays), run(model, arrays), atol=1e-4)
    assert equalized.noise_db < 0
    dense = np.abs(numpy_helper.to_array(_dense(equalized.model)))
    assert dense[:, 2].max() < 2 * np.delete(dense, 2, axis=1).max()


def _dense(model: onnx.ModelProto) -> onnx.TensorProto:
    name = next(node for node in model.graph.node if node.op_type == "Gemm").input[1]
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def test_per_tensor_weights_gain_from_even_output_channels(
    toy: Callable[..., onnx.ModelProto],
    batches: Callable[..., list[np.ndarray]],
    run: Callable[..., np.ndarray],
) -> None:
    """A depthwise layer's weights from 0.01 to 10, undone behind it."""
    random = np.random.default_rng(0)
    uneven = np.geomspace(0.01, 10, 8)
    model = toy(
        """a = Conv(input, w) r = Relu(a) c = Conv<group=8, pads=[1,1,1,1]>(r, d) s = Relu(c)
        e = Conv(s, v) t = Relu(e) m = GlobalAveragePool(t) f = Flatten(m)
        logits = Gemm<transB=1>(f, g)""",
        {
            "w": random.normal(size=(8, 3, 1, 1)),
            "d": random.normal(size=(8, 1, 3, 3)) * uneven.reshape(8, 1, 1, 1),
            "v": random.normal(size=(8, 8, 1, 1)) / uneven.reshape(1, 8, 1, 1),
            "g": random.normal(size=(10, 8)),
        },
    )
    arrays = batches(32)
    equalized = equalize(model, arrays, per_channel=False)
    before = int8_noise(model, arrays, run, per_channel=False)
    after = int8_noise(equalized.model, arrays, run, per_channel=False)
    assert after < before / 100


_OTHER_STYLES = {
    "dynamic batch": ("batch", "f = Flatten(m)", {}),
    "length left to be found": ("batch", "f = Reshape(m, to)", {"to": np.array([0, -1])}),
    "batch size computed": (
        "batch",
        """n = Shape<end=1>(m) full = Concat<axis=0>(n, rest) f = Reshape(m, full)""",
        {"rest": np.array([-1])},
    ),
    "squeezed to a vector": (
        "1",
        "vec = Squeeze(m) k = Identity(vec) f = Unsqueeze(k, first)",
        {"first": np.array([0])},
    ),
}


@pytest.mark.parametrize("style", _OTHER_STYLES)
def test_other_exporters_ways_of_flattening_can_be_equalized(
    style: str,
    toy: Callable[..., onnx.ModelProto],
    batches: Callable[..., list[np.ndarray]],
    run: Callable[..., np.ndarray],
) -> None:
    batch, flatten, constants = _OTHER_STYLES[style]
    random = np.random.default_rng(0)
    uneven = np.geomspace(0.01, 10, 8)
    model = toy(
        f"""a = Conv(input, w) r = Relu(a) b = Conv(r, v) s = Relu(b) m = GlobalAveragePool(s)
        {flatten} y = MatMul(f, g) logits = Add(y, h)""",
        {
            "w": random.normal(size=(8, 3, 1, 1)) * uneven.reshape(8, 1, 1, 1),
            "v": random.normal(size=(8, 8, 1, 1)) / uneven.reshape(1, 8, 1, 1),
            "g": random.normal(size=(8, 10)),
            "h": random.normal(size=10),
            **constants,
        },
        shape=(1, 3, 8, 8),
    )
    if batch != "1":
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = batch
    arrays = batches(16)
    equalized = equalize(model, arrays)
    np.testing.assert_allclose(run(equalized.model, arrays), run(model, arrays), atol=1e-4)
    assert equalized.noise_db < -3


def test_calibration_images_that_cannot_be_used_are_refused(
    ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]]
) -> None:
    with pytest.raises(InputError, match="no calibration images"):
        equalize(ghost, [])
    with pytest.raises(InputError, match=r"image 0 has the shape \[3, 4, 4\]"):
        equalize(ghost, batches(1, (1, 3, 4, 4)))
    broken = batches(2)
    broken[1][0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        equalize(ghost, broken)


def _some(folder: Path, count: int, images: Any, preprocessing: Preprocessing) -> list[np.ndarray]:
    paths = sorted(folder.rglob("*.png")) or sorted(folder.rglob("*.jp*g"))
    return list(images(paths[:: max(len(paths) // count, 1)][:count], preprocessing))


@pytest.fixture(scope="module")
def calibration(
    trained_calib: Path, images: Any, trained_preprocessing: Preprocessing
) -> list[np.ndarray]:
    return _some(trained_calib, _CALIBRATION, images, trained_preprocessing)


@pytest.fixture(scope="module")
def judged(
    trained_test: Path, images: Any, trained_preprocessing: Preprocessing
) -> list[np.ndarray]:
    return _some(trained_test, _JUDGED, images, trained_preprocessing)


@pytest.fixture(scope="module")
def equalized_network(
    trained_deploy: onnx.ModelProto, calibration: Iterable[np.ndarray]
) -> onnx.ModelProto:
    return equalize(trained_deploy, calibration).model


def test_real_logits_stay_on_real_images(
    trained_deploy: onnx.ModelProto,
    equalized_network: onnx.ModelProto,
    judged: list[np.ndarray],
    run: Callable[..., np.ndarray],
) -> None:
    exact = run(trained_deploy, judged)
    assert len(exact) == _JUDGED
    assert equalized_network is not trained_deploy
    np.testing.assert_allclose(run(equalized_network, judged), exact, atol=1e-4)


def test_real_weights_rescaled_without_mercy_are_as_good_in_int8(
    trained_deploy: onnx.ModelProto,
    equalized_network: onnx.ModelProto,
    calibration: list[np.ndarray],
    judged: list[np.ndarray],
    run: Callable[..., np.ndarray],
) -> None:
    """By factors from 1/64 to 64; without equalization int8 then loses most of its answers."""
    rescaled = hostile(trained_deploy, 64)
    saved = equalize(rescaled, calibration).model
    exact = run(trained_deploy, judged)

    def agreement(model: onnx.ModelProto) -> float:
        codes = quantize(model, calibrate(model, calibration), preprocessing=None)
        return float(np.mean(run(codes, judged).argmax(1) == exact.argmax(1)))

    assert agreement(saved) >= agreement(equalized_network) - 1 / _JUDGED
    assert agreement(rescaled) < 0.8


def test_real_weights_with_one_scale_a_layer_lose_less(
    trained_deploy: onnx.ModelProto,
    calibration: list[np.ndarray],
    judged: list[np.ndarray],
    run: Callable[..., np.ndarray],
    trained: Any,
) -> None:
    rescaled = hostile(trained_deploy, 8)
    equalized = equalize(rescaled, calibration, per_channel=False)
    assert equalized.channels == ChannelClasses(canonical_ir(rescaled).graph).count - 1
    assert equalized.channels > (10_000 if trained.width == 1 else 5_000)
    before = int8_noise(rescaled, judged, run, per_channel=False)
    after = int8_noise(equalized.model, judged, run, per_channel=False)
    assert after < before / 10
    assert after < 0.002


def test_preparing_says_what_was_equalized(
    ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]]
) -> None:
    settings = Int8Settings(bias_correction="none")
    prepared = prepare(hostile(ghost, 8), batches(8), settings, preprocessing=None)
    matches = [note for note in prepared.notes if note.startswith("equalization: 20 classes")]
    assert len(matches) == 1
