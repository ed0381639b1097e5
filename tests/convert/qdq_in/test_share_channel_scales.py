"""A scale per channel becomes one where the convolutions around it can take the rest."""

from __future__ import annotations

import numpy as np

from ghostedge_convert import normalize_qdq
from ghostedge_convert.qdq_in.normalize import left_float


def test_scales_per_channel_before_a_depthwise_conv_move_into_the_weights(channelwise, run_source):
    source = channelwise(reader="depthwise")
    found = normalize_qdq(source)
    assert found.requantized == ()
    assert [note.name for note in found.applied] == ["share_channel_scales"]
    rng = np.random.default_rng(2)
    inputs = [rng.standard_normal((1, 2, 5, 5)).astype(np.float32) for _ in range(16)]
    middle, out = (
        n.output[0]
        for n in source.graph.node
        if n.op_type == "QuantizeLinear" and n.name[-1] != "0"
    )
    before = run_source(source, inputs, [middle, out])
    after = run_source(found.model, inputs, [middle, out])
    assert np.array_equal(before[0], after[0])
    # scales are rounded to float32, which may tip a value that lies halfway between two steps
    assert np.mean(before[1] != after[1]) < 0.01
    assert left_float(found.model) == ()
