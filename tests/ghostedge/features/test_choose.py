"""Patterns name layers, channels are chosen by their difference, networks are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge.features.choose import (
    check_same_network,
    choose_channels,
    choose_layers,
    counterparts,
)
from ghostedge.formats.format import Layer, Layers
from ghostedge_runtime.errors import InputError

FILE = Path("model_int8.tflite")


def layer(name: str, channels: int = 8, side: int = 8, primary: int | None = None) -> Layer:
    return Layer(name, name, (channels, side, side), primary)


def network(*layers: Layer, inner: dict[str, str] | None = None) -> Layers:
    return Layers({each.name: each for each in layers}, inner or {})


GHOSTNET = network(
    layer("Relu", side=16),
    layer("blocks.0.0.ghost1/Concat", side=16, primary=4),
    layer("blocks.0.0/Add", side=16),
    layer("blocks.1.0.ghost1/Concat", primary=4),
    layer("blocks.1.0.ghost2/Concat", primary=4),
    layer("blocks.1.0/Add"),
    layer("pool/GlobalAveragePool", side=1),
    inner={"conv_stem/Conv": "Relu"},
)


def names(patterns: tuple[str, ...], layers: Layers = GHOSTNET) -> list[str]:
    return [each.name for each in choose_layers(layers, patterns)]


def test_without_a_pattern_the_last_ghost_module_of_each_size_is_chosen() -> None:
    assert names(()) == ["blocks.0.0.ghost1/Concat", "blocks.1.0.ghost2/Concat"]


def test_a_network_without_ghost_modules_shows_the_last_layer_of_each_size() -> None:
    plain = network(layer("a", side=16), layer("b", side=16), layer("c"), layer("d", side=1))
    assert names((), plain) == ["b", "c"]


def test_a_network_of_single_pixels_shows_its_last_layer() -> None:
    assert names((), network(layer("a", side=1), layer("b", side=1))) == ["b"]


def test_a_module_is_named_by_the_part_before_the_slash() -> None:
    assert names(("blocks.1.0.ghost1",)) == ["blocks.1.0.ghost1/Concat"]


def test_patterns_add_up_in_the_graphs_order() -> None:
    assert names(("*ghost2*", "Relu", "*.ghost2")) == ["Relu", "blocks.1.0.ghost2/Concat"]


def test_a_convolution_is_found_in_the_layer_that_its_activation_ends() -> None:
    assert names(("conv_stem",)) == ["Relu"]
    assert names(("conv_stem/Conv",)) == ["Relu"]


def test_an_unknown_name_is_answered_with_the_closest() -> None:
    with pytest.raises(InputError) as caught:
        choose_layers(GHOSTNET, ("blocks.1.0.ghots2/Concat",))
    assert "closest: blocks.1.0.ghost2/Concat" in str(caught.value)


def test_a_name_like_no_other_is_answered_with_the_list() -> None:
    with pytest.raises(InputError, match="--list prints their names"):
        choose_layers(GHOSTNET, ("§§§§",))


def test_a_network_without_feature_maps_is_refused() -> None:
    with pytest.raises(InputError, match="no feature maps"):
        choose_layers(network(), ())


def test_layers_meet_by_name() -> None:
    other = network(layer("Relu", side=16), layer("extra"))
    chosen = choose_layers(GHOSTNET, ("Relu", "blocks.1.0"))
    assert counterparts(chosen, GHOSTNET, other) == {"Relu": other.by_name["Relu"]}


def test_where_a_quantizer_dropped_the_relu_the_convolution_before_it_is_the_layer() -> None:
    other = network(layer("conv_stem/Conv", side=16))
    chosen = choose_layers(GHOSTNET, ("Relu",))
    assert counterparts(chosen, GHOSTNET, other) == {"Relu": other.by_name["conv_stem/Conv"]}


def test_another_shape_under_the_same_name_is_another_network() -> None:
    other = network(layer("Relu", channels=16, side=16))
    with pytest.raises(InputError, match=r"another network: Relu is \[16, 16, 16\]"):
        check_same_network(GHOSTNET, other, FILE)


def test_a_size_that_a_file_leaves_open_contradicts_nothing() -> None:
    other = Layers({"Relu": Layer("Relu", "Relu", (8, None, None))}, {})
    check_same_network(GHOSTNET, other, FILE)


def test_no_name_in_common_is_another_network() -> None:
    with pytest.raises(InputError, match="not one of its layers"):
        check_same_network(GHOSTNET, network(layer("z")), FILE)


def test_a_primary_channel_stands_beside_its_ghost() -> None:
    assert choose_channels(layer("g", primary=4), 8, 99, None) == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_a_primary_channel_stands_beside_all_its_ghosts() -> None:
    twice = layer("g", channels=6, primary=2)
    assert choose_channels(twice, 6, 99, None) == [[0, 2, 3], [1, 4, 5]]


def test_the_pair_of_the_worst_channel_is_drawn_first() -> None:
    worst_first = [6, 0, 1, 2, 3, 4, 5, 7]
    assert choose_channels(layer("g", primary=4), 8, 2, worst_first) == [[2, 6]]
    assert choose_channels(layer("g", primary=4), 8, 5, worst_first) == [[0, 4], [2, 6]]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60), st.integers(1, 70), st.booleans(), st.randoms())
def test_no_more_channels_are_drawn_than_asked_for_and_none_twice(
    groups: int, limit: int, ghosts: bool, random: object
) -> None:
    channels = 2 * groups if ghosts else groups
    each = layer("g", channels=channels, primary=groups if ghosts else None)
    order = list(range(channels))
    random.shuffle(order)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    for worst_first in (None, order):
        chosen = choose_channels(each, channels, limit, worst_first)
        drawn = [channel for group in chosen for channel in group]
        assert len(set(drawn)) == len(drawn)
        assert len(drawn) <= max(limit, 2 if ghosts else 1)
        assert len(drawn) >= min(limit, channels) - 1
        assert chosen == sorted(chosen)
