"""Constants in front of a pair: stored as int8, or as the reals that they are."""

from __future__ import annotations

import numpy as np

from ghostedge_convert import normalize_qdq


def test_uint8_weights_that_fit_around_their_zero_point_are_recentred_exactly(
    conv_model, weights_of, same_outputs
):
    stored = np.asarray([0, 100, 127, 254], np.uint8).reshape(4, 1, 1, 1)
    source = conv_model(stored, 0.01, np.uint8(127))
    found = normalize_qdq(source)
    assert weights_of(found.model)[0].reshape(-1).tolist() == [-127, -27, 0, 127]
    assert weights_of(found.model)[0].dtype == np.int8
    assert found.requantized == ()
    assert same_outputs(source, found.model, 1, 1, 4, 4)


def test_a_bias_too_large_for_its_scale_still_comes_out(conv_model, run_source, run_lowered):
    """A channel that training switched off: no weights to speak of, a bias of its own."""
    weights = np.asarray([[[[3]]], [[[100]]]], np.int8)
    source = conv_model(weights, [1e-12, 0.01], np.zeros(2, np.int8), axis=0, bias=[2.0, -1.0])
    found = normalize_qdq(source)
    assert [note.name for note in found.applied] == ["fit_biases"]
    x = [np.random.default_rng(3).standard_normal((1, 1, 4, 4)).astype(np.float32)]
    wanted = run_source(source, x)[0]
    assert np.allclose(run_lowered(found.model, x).transpose(0, 3, 1, 2), wanted, atol=0.1001)
    assert wanted[0, 0].tolist() == np.full((4, 4), 2.0, np.float32).tolist()


def test_quantized_constants_that_are_no_operands_become_reals(qdq_graph, same_outputs):
    graph = qdq_graph(1, 2, 3, 3)
    constant = graph.real(
        np.asarray([[[[5]], [[7]]]], np.int8), [0.1, 0.2], np.zeros(2, np.int8), axis=1
    )
    source = graph.model(graph.add("Add", graph.pair("x", 0.1, np.int8(0)), constant))
    found = normalize_qdq(source)
    assert [note.name for note in found.applied] == ["decode_constants"]
    assert same_outputs(source, found.model, 1, 2, 3, 3)
