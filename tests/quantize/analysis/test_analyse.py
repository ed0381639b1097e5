"""Layer by layer: the figures are what plain numpy finds, and damage is found where it was done."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from ghostedge_quantize import analyse, calibrate, quantize, unsigned_activations
from ghostedge_quantize.analysis.findings import Analysis, LayerAnalysis
from ghostedge_quantize.analysis.qdq_graph import QdqGraph
from ghostedge_runtime.errors import InputError, ModelFileError

# A 1×1 convolution with its pairs, small enough to be computed by hand. The output's range ends
# at 1.5, which its larger values exceed.
ONE_LAYER = """<ir_version: 8, opset_import: ["" : 18]>
one (float[1,3,4,4] input) => (float[1,5,4,4] result) {
  xq = QuantizeLinear(input, x_scale, x_zero)
  x = DequantizeLinear(xq, x_scale, x_zero)
  w = DequantizeLinear<axis=0>(w_codes, w_scale, w_zero)
  b = DequantizeLinear<axis=0>(b_codes, b_scale, b_zero)
  conv = Conv(x, w, b)
  y = Relu(conv)
  yq = QuantizeLinear(y, y_scale, y_zero)
  result = DequantizeLinear(yq, y_scale, y_zero)
}"""
X_SCALE, Y_SCALE = np.float32(0.04), np.float32(1.5 / 255)


def one_layer(seed: int = 0) -> onnx.ModelProto:
    random = np.random.default_rng(seed)
    codes = random.integers(-127, 128, (5, 3, 1, 1)).astype(np.int8)
    scales = np.array([0.01, 0.002, 0.01, 0.03, 0.01], np.float32)
    constants = {
        "x_scale": X_SCALE,
        "x_zero": np.uint8(128),
        "y_scale": Y_SCALE,
        "y_zero": np.uint8(0),
        "w_codes": codes,
        "w_scale": scales,
        "w_zero": np.zeros(5, np.int8),
        "b_codes": random.integers(-900, 900, 5).astype(np.int32),
        "b_scale": scales * X_SCALE,
        "b_zero": np.zeros(5, np.int32),
    }
    model = parser.parse_model(ONE_LAYER)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()
    )
    onnx.checker.check_model(model)
    return model


def constant(model: onnx.ModelProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name))


def replace(model: onnx.ModelProto, name: str, array: np.ndarray) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(array), name))


def images(count: int, shape: Sequence[int] = (3, 4, 4), seed: int = 1) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(size=shape).astype(np.float32) for _ in range(count)]


def decibels(signal: np.ndarray, noise: np.ndarray) -> float:
    return float(10 * np.log10(np.square(signal).sum() / np.square(noise).sum()))


def through(values: np.ndarray, scale: np.float32, zero: int) -> np.ndarray:
    codes = np.clip(np.rint(values / scale) + zero, 0, 255)
    return np.asarray((codes - zero) * scale, np.float32)


def layer(analysis: Analysis, name: str) -> LayerAnalysis:
    return next(candidate for candidate in analysis.layers if candidate.name == name)


def test_a_layers_figures_are_those_of_plain_numpy() -> None:
    model, fed = one_layer(), images(6)
    analysis = analyse(model, fed)
    weights = constant(model, "w_codes").astype(np.float64)[:, :, 0, 0]
    weights *= constant(model, "w_scale")[:, None]
    bias = constant(model, "b_codes") * constant(model, "b_scale").astype(np.float64)
    x = np.stack(fed)

    def conv(values: np.ndarray) -> np.ndarray:
        return np.maximum(np.einsum("oi,nihw->nohw", weights, values) + bias[:, None, None], 0)

    y, y_of_codes = conv(x), conv(through(x, X_SCALE, 128))
    assert [measured.name for measured in analysis.layers] == ["input", "conv"]
    first, last = analysis.layers[0].activation, analysis.layers[1].activation
    assert first is not None
    assert last is not None
    assert first.sqnr_db == pytest.approx(decibels(x, x - through(x, X_SCALE, 128)), abs=1e-3)
    assert first.clipped == 0.0
    assert last.sqnr_db == pytest.approx(decibels(y, y - through(y, Y_SCALE, 0)), abs=1e-3)
    noise = y - through(y_of_codes, Y_SCALE, 0)
    assert last.accumulated_db == pytest.approx(decibels(y, noise), abs=0.3)  # + assumed weights
    beyond = np.rint(y / Y_SCALE) > 255
    assert last.clipped == pytest.approx(beyond.mean()) != 0
    own = np.square(y - through(y, Y_SCALE, 0))
    assert last.clipping_noise == pytest.approx(own[beyond].sum() / own.sum(), abs=1e-5)
    assert last.used == 256
    assert first.used == np.ptp(np.rint(x / X_SCALE)) + 1

    centred = [v.reshape(6, -1) - v.reshape(6, -1).mean(1, keepdims=True) for v in (y, y_of_codes)]
    mse = np.square(centred[1] - centred[0]).mean()
    assert analysis.layers[0].effect.mse == pytest.approx(mse, rel=1e-3)
    assert analysis.layers[0].effect.sqnr_db == pytest.approx(
        decibels(centred[0], centred[1] - centred[0]), abs=0.01
    )
    assert sum(measured.share for measured in analysis.layers) == pytest.approx(1)


def test_weights_without_a_float_model_are_taken_to_err_uniformly_within_a_step() -> None:
    model = one_layer()
    weights = layer(analyse(model, images(2)), "conv").weights
    assert weights is not None
    codes = constant(model, "w_codes").astype(np.float64).reshape(5, 3)
    ratios = np.minimum(1, 3 / 12 / np.square(codes).sum(1))
    assert weights.source == "rounding step"
    assert weights.sqnr_db == pytest.approx(-10 * math.log10(ratios.mean()), abs=1e-4)


def test_with_the_float_model_the_weights_error_is_measured(
    named: onnx.ModelProto, ghost_int8: onnx.ModelProto, feed: list[np.ndarray]
) -> None:
    analysis = analyse(ghost_int8, feed, float_model=named)
    graph = QdqGraph(ghost_int8)
    for weighted in graph.layers:
        if weighted.weight is None:
            continue
        node = next(n for n in named.graph.node if n.name == weighted.name)
        float_weights = constant(named, node.input[1])
        rows = float_weights.reshape(len(float_weights), -1)
        error = graph.codes[weighted.weight].real.reshape(rows.shape) - rows
        direct = -10 * math.log10((np.square(error).sum(1) / np.square(rows).sum(1)).mean())
        weights = layer(analysis, weighted.name).weights
        assert weights is not None
        assert weights.source == "float model"
        # The fit may give a channel a factor of its own, which takes a little of its error.
        assert direct - 0.1 <= (weights.sqnr_db or 0.0) <= direct + 3


def test_equalized_weights_are_compared_by_function_not_by_spelling(
    named: onnx.ModelProto, feed: list[np.ndarray], batches: Callable[..., list[np.ndarray]]
) -> None:
    # What equalization does: the primary channels scaled, the cheap branch left as it is.
    scaled = onnx.ModelProto.FromString(named.SerializeToString())
    factors = (8 ** np.random.default_rng(2).uniform(-1, 1, 4)).astype(np.float32)
    primary, cheap = constant(named, "primary_w"), constant(named, "cheap_w")
    replace(scaled, "primary_w", primary * factors[:, None, None, None])
    replace(scaled, "primary_b", constant(named, "primary_b") * factors)
    replace(scaled, "cheap_w", cheap / factors[:, None, None, None])
    for consumer in ("reduce_w", "linear_w"):
        columns = np.concatenate([factors, np.ones(4, np.float32)])[:, None, None]
        replace(scaled, consumer, constant(named, consumer) / columns)
    ranges = calibrate(scaled, batches(24, seed=5), method="minmax")
    int8 = unsigned_activations(quantize(scaled, ranges, preprocessing=None))
    one, other = (analyse(int8, feed, float_model=model) for model in (named, scaled))
    for a, b in zip(one.layers, other.layers, strict=True):
        if a.weights is not None and b.weights is not None:
            assert a.weights.source == b.weights.source == "float model"
            assert a.weights.sqnr_db == pytest.approx(b.weights.sqnr_db, abs=0.05)
        assert a.effect.mse == pytest.approx(b.effect.mse, rel=0.05)


def test_effects_of_single_layers_add_up_to_the_whole(
    named: onnx.ModelProto, ghost_int8: onnx.ModelProto, feed: list[np.ndarray]
) -> None:
    analysis = analyse(ghost_int8, feed, float_model=named)
    assert sum(measured.effect.mse for measured in analysis.layers) == pytest.approx(
        analysis.total.mse, rel=0.5
    )


@pytest.mark.parametrize("name", ["stem", "primary", "residual"])
def test_a_range_four_times_too_narrow_is_named_the_worst(
    ghost_int8: onnx.ModelProto, feed: list[np.ndarray], name: str
) -> None:
    damaged = onnx.ModelProto.FromString(ghost_int8.SerializeToString())
    _narrow(damaged, name)
    analysis = analyse(damaged, feed)
    worst = layer(analysis, analysis.worst[0].name)
    assert worst.activation is not None
    assert worst.activation.tensor == name
    assert "clipped" in analysis.worst[0].cause
    assert "--ranges minmax" in analysis.worst[0].remedy


def _narrow(model: onnx.ModelProto, tensor: str) -> None:
    """Give one pair a quarter of its range; the pairs that share its scale keep theirs."""
    nodes = model.graph.node
    quantizer = next(n for n in nodes if n.op_type == "QuantizeLinear" and n.input[0] == tensor)
    narrow = numpy_helper.from_array(constant(model, quantizer.input[1]) / 4, "narrow_scale")
    model.graph.initializer.append(narrow)
    decoders = [n for n in nodes if n.input[0] == quantizer.output[0]]
    for node in (quantizer, *decoders):
        node.input[1] = "narrow_scale"


@pytest.mark.parametrize("given_float", [False, True])
def test_weights_rounded_to_three_bits_are_named_the_worst(
    named: onnx.ModelProto, ghost_int8: onnx.ModelProto, feed: list[np.ndarray], given_float: bool
) -> None:
    damaged = onnx.ModelProto.FromString(ghost_int8.SerializeToString())
    replace(damaged, _stored(damaged, "linear"), _three_bits(damaged, "linear"))
    analysis = analyse(damaged, feed, float_model=named if given_float else None)
    assert analysis.worst[0].name == "linear"
    assert "magnitudes" in analysis.worst[0].cause
    weights, activation = analysis.worst[0].weights, analysis.worst[0].activation
    assert weights is not None
    assert activation is not None
    assert weights.mse > 5 * activation.mse


def _stored(model: onnx.ModelProto, node_output: str) -> str:
    conv = next(n for n in model.graph.node if n.output[0] == node_output)
    return str(next(n.input[0] for n in model.graph.node if n.output[0] == conv.input[1]))


def _three_bits(model: onnx.ModelProto, node_output: str) -> np.ndarray:
    codes = constant(model, _stored(model, node_output)).astype(np.float64)
    return (np.rint(codes * 3 / 127) * 42).astype(np.int8)


def test_a_mean_error_that_a_corrected_bias_takes_back_is_no_harm() -> None:
    model = one_layer()
    replace(model, "y_scale", np.float32(0.1))  # nothing clips
    bright = [np.full((3, 4, 4), 2.0, np.float32)] * 3
    plain, corrected = (
        layer(analyse(model, bright, bias_corrected=flag), "conv") for flag in (False, True)
    )
    worst_layers = [analyse(model, bright, bias_corrected=flag).worst for flag in (False, True)]
    alone = [next(c.weights for c in worst if c.name == "conv") for worst in worst_layers]
    assert alone[0] is not None
    assert alone[1] is not None
    assert alone[0].mse > 1e-4
    assert alone[1].mse < 1e-3 * alone[0].mse
    assert corrected.weights == plain.weights


@pytest.mark.parametrize("six", [False, True])
def test_a_relu_that_only_the_codes_range_stands_for_stays_in_the_reference(six: bool) -> None:
    written = one_layer()
    if six:  # the range ends at 6, and so does the activation
        replace(written, "y_scale", np.float32(6 / 255))
        replace(written, "w_scale", constant(written, "w_scale") * 8)
        replace(written, "b_scale", constant(written, "b_scale") * 8)
        relu = next(n for n in written.graph.node if n.op_type == "Relu")
        relu.op_type = "Clip"
        relu.input.extend(["zero", "six"])
        for name, bound in (("zero", 0), ("six", 6)):
            tensor = numpy_helper.from_array(np.asarray(bound, np.float32), name)
            written.graph.initializer.append(tensor)
    dropped = onnx.ModelProto.FromString(written.SerializeToString())
    activation = next(n for n in dropped.graph.node if n.output[0] == "y")
    dropped.graph.node.remove(activation)
    next(n for n in dropped.graph.node if n.output[0] == "conv").output[0] = "y"
    one, other = (analyse(model, images(4)) for model in (written, dropped))
    assert [measured.effect for measured in one.layers] == [
        measured.effect for measured in other.layers
    ]
    assert one.layers[1].activation == other.layers[1].activation
    assert one.layers[1].activation is not None
    assert one.layers[1].activation.used > 100


class Reader(CalibrationDataReader):  # type: ignore[misc] - it has no types
    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self._left = iter(arrays)

    def get_next(self) -> dict[str, np.ndarray] | None:
        array = next(self._left, None)
        return None if array is None else {"input": array[None]}


@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8], ids=str)
@pytest.mark.parametrize("per_channel", [False, True])
def test_another_makers_model_is_measured_too(
    named: onnx.ModelProto,
    feed: list[np.ndarray],
    tmp_path: Path,
    kind: QuantType,
    per_channel: bool,
) -> None:
    onnx.save(named, tmp_path / "ghost.onnx")
    quantize_static(
        tmp_path / "ghost.onnx", tmp_path / "ghost_int8.onnx", Reader(feed),
        quant_format=QuantFormat.QDQ, activation_type=kind, weight_type=QuantType.QInt8,
        per_channel=per_channel,
    )  # fmt: skip
    analysis = analyse(onnx.load(tmp_path / "ghost_int8.onnx"), feed)
    assert len([measured for measured in analysis.layers if measured.weights]) == 7
    assert sum(measured.effect.mse for measured in analysis.layers) == pytest.approx(
        analysis.total.mse, rel=0.7
    )
    assert all(measured.activation for measured in analysis.layers)


def test_progress_counts_every_layer_once(
    ghost_int8: onnx.ModelProto, feed: list[np.ndarray]
) -> None:
    seen: list[tuple[int, int]] = []
    analysis = analyse(ghost_int8, feed[:1], progress=lambda *step: seen.append(step))
    total = len(analysis.layers)
    assert seen == [(done, total) for done in range(1, total + 1)]


def test_equal_arguments_give_equal_findings(
    ghost_int8: onnx.ModelProto, feed: list[np.ndarray]
) -> None:
    assert analyse(ghost_int8, feed[:3]) == analyse(ghost_int8, feed[:3])


def test_what_cannot_be_measured_is_refused(
    named: onnx.ModelProto, ghost_int8: onnx.ModelProto, feed: list[np.ndarray]
) -> None:
    with pytest.raises(ModelFileError, match="not quantized"):
        analyse(named, feed)
    with pytest.raises(InputError, match="no image"):
        analyse(ghost_int8, [])
    with pytest.raises(InputError, match=r"image 1 is float32 of shape \[3, 8, 9\]"):
        analyse(ghost_int8, [feed[0], np.zeros((3, 8, 9), np.float32)])
    with pytest.raises(InputError, match="uint8"):
        analyse(ghost_int8, [np.zeros((3, 8, 8), np.uint8)])
    foreign = onnx.ModelProto.FromString(named.SerializeToString())
    random = np.random.default_rng(9)
    for tensor in foreign.graph.initializer:
        if len(tensor.dims) > 1 and tensor.name != "cheap_w":
            replace(foreign, tensor.name, random.normal(size=tensor.dims).astype(np.float32))
    replace(foreign, "cheap_w", random.normal(size=(4, 1, 3, 3)).astype(np.float32))
    with pytest.raises(ModelFileError, match="not the one that was quantized"):
        analyse(ghost_int8, feed, float_model=foreign)
