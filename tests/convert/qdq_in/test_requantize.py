"""What int8 cannot hold is refused, or rounded with leave and the loss stated."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge_convert import normalize_qdq
from ghostedge_convert.qdq_in.normalize import left_float
from ghostedge_convert.qdq_in.pairs import Scheme
from ghostedge_convert.qdq_in.requantize import covering
from ghostedge_runtime.errors import UnsupportedOpError


def test_asymmetric_weights_get_a_scale_per_channel_and_the_loss_is_stated(conv_model, weights_of):
    stored = np.asarray([[0, 255], [100, 120]], np.uint8).reshape(2, 2, 1, 1)
    source = conv_model(stored, 0.5, np.uint8(100))
    with pytest.raises(UnsupportedOpError, match="uint8 weights with a zero point of 100"):
        normalize_qdq(source)
    found = normalize_qdq(source, requantize=True)
    steps, scales = weights_of(found.model)
    real = (stored.astype(np.float32) - 100) * 0.5
    gap = np.abs(steps * scales.reshape(2, 1, 1, 1) - real)
    (change,) = found.requantized
    assert change.loss.max_abs == pytest.approx(gap.max(), rel=1e-6)
    assert change.loss.mean_square == pytest.approx(np.square(gap).mean(), rel=1e-6)
    assert gap[1].max() == 0  # the second channel fits int8 at its own scale
    assert gap[0].max() <= 77.5 / 127 / 2 * 1.001


def test_the_end_of_the_range_is_cut_rather_than_the_whole_channel_rescaled(conv_model, weights_of):
    stored = np.arange(-128, 128).astype(np.int8).reshape(1, 256, 1, 1)
    found = normalize_qdq(conv_model(stored, 0.25, np.int8(0)), requantize=True)
    steps, scales = weights_of(found.model)
    assert steps.reshape(-1).tolist() == [-127, *range(-127, 128)]
    assert scales.reshape(-1).tolist() == [0.25]
    assert found.requantized[0].loss.max_abs == pytest.approx(0.25)


def test_weights_quantized_along_the_wrong_axis_or_in_blocks_are_refused_by_node(
    conv_model, weights_of
):
    stored = np.ones((2, 2, 1, 1), np.int8)
    along = conv_model(stored, [0.1, 0.2], np.zeros(2, np.int8), axis=1)
    with pytest.raises(UnsupportedOpError, match=r"'Conv3' \(Conv\).*along axis 1"):
        normalize_qdq(along)
    blocks = conv_model(
        np.ones((1, 4, 1, 1), np.int8),
        np.full((1, 2, 1, 1), 0.1),
        np.zeros((1, 2, 1, 1), np.int8),
        axis=1,
        block_size=2,
    )
    with pytest.raises(UnsupportedOpError, match="blocks of 2"):
        normalize_qdq(blocks)
    steps, scales = weights_of(normalize_qdq(along, requantize=True).model)
    assert np.allclose(steps * scales.reshape(2, 1, 1, 1), [[[[0.1]], [[0.2]]]] * 2, atol=0.1 / 127)


def test_a_pair_whose_sides_differ_is_refused(qdq_graph):
    graph = qdq_graph(1, 4)
    stored = graph.add("QuantizeLinear", "x", np.float32(0.1), np.int8(0))
    y = graph.add("Relu", graph.real(stored, 0.2, np.int8(0)))
    with pytest.raises(UnsupportedOpError, match="other parameters"):
        normalize_qdq(graph.model(y))


def test_scales_per_channel_before_a_mixing_conv_are_refused_and_joined_with_leave(channelwise):
    source = channelwise(reader="conv")
    with pytest.raises(UnsupportedOpError, match="per-channel quantization of an activation"):
        normalize_qdq(source)
    (change,) = normalize_qdq(source, requantize=True).requantized
    assert change.before is not None
    assert change.after is not None
    # 255 steps of the coarsest channel, zero at the lower end
    assert change.after.scales.tolist() == [np.float32(0.03)]
    assert change.after.zeros.tolist() == [-128]
    real = np.full((1, 3, 2, 2), 0.0318, np.float32)
    loss = change.loss_on([real])
    # the finest channel held 0.032, the common scale holds 0.03
    assert loss.max_abs == pytest.approx(0.002, rel=1e-4)
    assert loss.mean_square == pytest.approx(0.002**2 / 3, rel=1e-4)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(1e-4, 10), st.integers(-128, 127)), min_size=1, max_size=4))
def test_a_covering_scale_reaches_every_value_and_keeps_zero(parts):
    schemes = [
        Scheme(np.asarray([scale], np.float32), np.asarray([zero], np.int32), 0, ir.DataType.INT8)
        for scale, zero in parts
    ]
    wide = covering(*schemes)
    low, high = (wide.dequantize(np.asarray([q]))[0] for q in (-128, 127))
    step = float(wide.scales[0])
    assert wide.dequantize(wide.zeros).tolist() == [0.0]
    for scheme in schemes:
        ends = scheme.dequantize(np.asarray([-128, 127]))
        assert low - step <= ends[0]
        assert ends[1] <= high + step


def test_a_concat_of_unequal_parts_stays_float_unless_it_may_be_rounded(qdq_graph, same_outputs):
    graph = qdq_graph(1, 2, 3, 3)
    parts = [graph.pair("x", scale, np.int8(0)) for scale in (0.1, 0.03)]
    y = graph.add("Add", graph.add("Concat", *parts, axis=1), np.float32(1))
    source = graph.model(y)
    kept = normalize_qdq(source)
    assert left_float(kept.model)[0].startswith("Concat")
    assert same_outputs(source, kept.model, 1, 2, 3, 3)
    (change,) = normalize_qdq(source, requantize=True).requantized
    assert change.tensor.startswith("Concat")
    assert change.after is not None
    assert change.after.scales.tolist() == [np.float32(0.1)]
