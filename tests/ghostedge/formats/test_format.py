"""Feature maps and ghost modules are found by what a graph computes, alike in both formats."""

from __future__ import annotations

from ghostedge.formats.format import Kind, Layer, Layers, Shape, Step, layers_of

SMALL: Shape = (4, 8, 8)
DOUBLE: Shape = (8, 8, 8)


def steps(*lines: str) -> list[Step]:
    """``"kind: a b -> c"``, one operator a line."""
    found = []
    for line in lines:
        head, output = line.split(" -> ")
        kind, inputs = head.split(": ")
        found.append(Step(_kind(kind), tuple(inputs.split()), output))
    return found


def _kind(word: str) -> Kind:
    assert word in Kind.__args__  # type: ignore[attr-defined]  # typing has no public name for it
    return word  # type: ignore[return-value]  # just checked


def layers(*lines: str, shapes: dict[str, Shape] | None = None) -> Layers:
    known = {step.output: SMALL for step in steps(*lines)} | {"g": DOUBLE} | (shapes or {})
    return layers_of(steps(*lines), known, {name: name for name in known})


GHOST = (
    "other: x -> p0",
    "activation: p0 -> p",
    "depthwise: p -> c0",
    "activation: c0 -> c",
    "concat: p c -> g",
)
QUANTIZED_GHOST = (
    "quantize: x -> xq",
    "dequantize: xq -> xd",
    "other: xd -> p",
    "quantize: p -> pq",
    "dequantize: pq -> pd",
    "depthwise: pd -> c",
    "quantize: c -> cq",
    "dequantize: cq -> cd",
    "concat: pd cd -> g",
    "quantize: g -> gq",
    "dequantize: gq -> gd",
)


def test_a_ghost_module_is_the_concat_of_channels_with_their_depthwise_convolution() -> None:
    assert layers(*GHOST).by_name["g"] == Layer("g", "g", DOUBLE, primary=4)


def test_a_convolution_and_the_activation_behind_it_are_one_layer() -> None:
    found = layers(*GHOST)
    assert list(found.by_name) == ["p", "c", "g"]
    assert found.inner == {"p0": "p", "c0": "c"}


def test_a_result_that_others_read_too_stays_a_layer_beside_its_activation() -> None:
    found = layers("other: x -> a", "activation: a -> b", "other: a b -> c").by_name
    assert list(found) == ["a", "b", "c"]


def test_a_quantized_layer_is_read_with_its_codes_under_its_own_name() -> None:
    found = layers(*QUANTIZED_GHOST).by_name
    assert {name: layer.tensor for name, layer in found.items()} == {
        "p": "pd",
        "c": "cd",
        "g": "gd",
    }
    assert found["g"].primary == 4


def test_codes_that_nothing_decodes_are_read_themselves() -> None:
    assert (
        layers("other: x -> a", "quantize: a -> aq", "other: aq -> b").by_name["a"].tensor == "aq"
    )


def test_an_activation_behind_the_concat_ends_the_ghost_module() -> None:
    found = layers(*GHOST, "activation: g -> r", shapes={"r": DOUBLE}).by_name
    assert "g" not in found
    assert found["r"].primary == 4


def test_two_ghosts_of_each_primary_channel_are_a_ghost_module() -> None:
    assert layers(*GHOST, shapes={"g": (12, 8, 8)}).by_name["g"].primary == 4


def test_a_concat_of_two_branches_is_no_ghost_module() -> None:
    branches = ("other: x -> p", "depthwise: x -> c", "concat: p c -> g")
    assert layers(*branches).by_name["g"].primary is None


def test_a_full_convolution_makes_no_ghosts() -> None:
    full = ("other: x -> p", "other: p -> c", "concat: p c -> g")
    assert layers(*full).by_name["g"].primary is None


def test_three_parts_make_no_ghost_module() -> None:
    three = ("other: x -> p", "depthwise: p -> c", "depthwise: p -> d", "concat: p c d -> g")
    assert layers(*three).by_name["g"].primary is None


def test_channels_that_do_not_go_around_evenly_make_no_ghost_module() -> None:
    assert layers(*GHOST, shapes={"g": (7, 8, 8)}).by_name["g"].primary is None


def test_what_only_moves_or_pads_values_is_no_layer() -> None:
    assert list(layers("relay: x -> a", "other: a -> b").by_name) == ["b"]


def test_a_vector_is_no_feature_map() -> None:
    lines = steps("other: x -> a", "other: a -> logits")
    assert list(layers_of(lines, {"a": SMALL}, {"a": "a"}).by_name) == ["a"]
