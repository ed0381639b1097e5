"""A network is cut where one tensor alone connects two parts."""

from __future__ import annotations

import onnx
from onnx import parser

from ghostedge.tuning.segments import MOST_SEGMENTS, Segment, layers_of, segments_of

WEIGHTS = "<float[3,3,1,1] w = {0, 0, 0, 0, 0, 0, 0, 0, 0}>"
HEAD = '<ir_version: 8, opset_import: ["" : 17]> g (float[1,3,8,8] x) => (float[1,3,8,8] y)'
WITH_SHORTCUT = """
    [stem] a = Conv(x, w)
    [block__one] b = Conv(a, w)
    [relu] c = Relu(b)
    [block__two] d = Conv(c, w)
    [add] e = Add(a, d)
    [head] y = Conv(e, w)
"""


def network(nodes: str) -> onnx.ModelProto:
    """A graph of nodes as text; two underscores in a name become a dot."""
    model = parser.parse_model(f"{HEAD} {WEIGHTS} {{ {nodes} }}")
    for node in model.graph.node:
        node.name = node.name.replace("__", ".")
    return model


def chain(length: int) -> onnx.ModelProto:
    tensors = ["x", *(f"t{n}" for n in range(length - 1)), "y"]
    lines = (f"[layer__{n}] {tensors[n + 1]} = Conv({tensors[n]}, w)" for n in range(length))
    return network("\n".join(lines))


def test_a_block_with_a_shortcut_is_one_part() -> None:
    layers = ("stem", "block.one", "block.two", "head")
    segments = segments_of(network(WITH_SHORTCUT), layers, {})
    assert [segment.layers for segment in segments] == [
        ("stem",),
        ("block.one", "block.two"),
        ("head",),
    ]
    assert [segment.name for segment in segments] == ["stem", "block", "head"]
    assert layers_of(segments, {1, 0}) == ("stem", "block.one", "block.two")


def test_layers_that_have_to_stay_float_are_in_no_part() -> None:
    segments = segments_of(network(WITH_SHORTCUT), ("stem", "block.two"), {})
    assert [segment.layers for segment in segments] == [("stem",), ("block.two",)]


def test_the_cheapest_neighbours_are_joined_where_there_are_too_many() -> None:
    count = MOST_SEGMENTS + 2
    layers = [f"layer.{n}" for n in range(count)]
    prices = dict.fromkeys(layers, 1.0) | dict.fromkeys(("layer.5", "layer.6", "layer.7"), 0.1)
    segments = segments_of(chain(count), layers, prices)
    assert len(segments) == MOST_SEGMENTS
    assert ("layer.5", "layer.6", "layer.7") in [segment.layers for segment in segments]
    assert [layer for segment in segments for layer in segment.layers] == layers


def test_a_part_is_named_by_what_its_layers_names_share() -> None:
    block = ("blocks.1.0.ghost1.primary_conv.0/Conv", "blocks.1.0.ghost2.cheap/Conv")
    assert Segment(block).name == "blocks.1.0"
    assert Segment(("features.3/Conv",)).name == "features.3/Conv"
    assert Segment(("one", "other")).name == "one"
