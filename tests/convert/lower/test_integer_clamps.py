"""A clamp between two pairs is done by the op before the first one."""

from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.lower import lower_to_tflite


def clamped(net, op, *bounds, after=0.02, twice=False):
    """Conv → pair → clamp → pair; ``twice``: something else reads the first pair too."""
    rng = np.random.default_rng(0)
    network = net()
    x = network.pair(network.input((1, 4, 6, 6)), 0.03, 0)
    weights = network.real(rng.integers(-127, 128, (8, 4, 1, 1), np.int8), 0.01, 0)
    x = network.pair(network.add("Conv", x, weights), 0.02, -5)
    y = network.pair(network.add(op, x, *bounds), after, -5)
    if twice:
        y = network.pair(network.add("Add", x, y), 0.04, 0)
    return network, network.model(y)


@pytest.mark.parametrize(
    "clamp", [("Relu",), ("Clip", np.float32(0), np.float32(6)), ("Clip", np.float32(0))]
)
@pytest.mark.parametrize("after", [0.02, 0.013])
def test_a_clamp_costs_no_op_of_its_own(net, agree, left_outside_xnnpack, clamp, after):
    network, model = clamped(net, *clamp, after=after)
    # one step of the conv can be two of the finer pair behind the clamp
    found = agree(model, network.feeds(1), tolerance=0.0265)
    assert not {"RELU", "RELU6"} & set(found)
    assert left_outside_xnnpack(lower_to_tflite(model).data) == {}


def test_a_clamp_whose_input_others_read_stays(net, agree):
    network, model = clamped(net, "Relu", twice=True)
    assert agree(model, network.feeds(1), tolerance=0.0404)["RELU"] == 1
