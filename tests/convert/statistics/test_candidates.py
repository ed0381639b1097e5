"""The table of preprocessings in use, and what of it is tried on a network."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostedge_convert.statistics.candidates import (
    Candidate,
    candidate_of,
    candidates,
    reversed_colors,
)
from ghostedge_runtime.metadata import Preprocessing

IMAGENET = candidate_of(Preprocessing())
_shares = st.floats(0.05, 1.0)


@given(st.tuples(_shares, _shares, _shares), st.tuples(_shares, _shares, _shares))
def test_reversing_the_colours_twice_changes_nothing(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    candidate = Candidate("drawn", mean, std, "RGB")
    assert reversed_colors(candidate).mean == mean[::-1]
    assert reversed_colors(reversed_colors(candidate)) == candidate


@pytest.mark.parametrize(
    ("mean", "std", "name"),
    [
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "ImageNet's mean and std"),
        ((0.5,) * 3, (0.5,) * 3, "mean and std of 0.5"),
        ((127 / 255,) * 3, (128 / 255,) * 3, "(x - 127) / 128"),
        ((0.1307,), (0.3081,), "MNIST's mean and std"),
        ((0.2, 0.3, 0.4), (0.1, 0.1, 0.1), "its own"),
    ],
)
def test_a_preprocessing_has_the_name_that_people_call_it(
    mean: tuple[float, ...], std: tuple[float, ...], name: str
) -> None:
    assert candidate_of(Preprocessing(mean=mean, std=std)).name == name


@given(st.floats(1.01, 1.03))
def test_alike_is_alike_from_either_side_so_that_what_is_given_is_among_those_tried(
    factor: float,
) -> None:
    near = candidate_of(Preprocessing(mean=(0.0,) * 3, std=(factor,) * 3))
    tried = candidates(near)
    assert [c.is_like(near) for c in tried] == [near.is_like(c) for c in tried]
    assert any(c.is_like(near) for c in tried)


def test_both_orders_of_colours_are_tried_of_all() -> None:
    tried = candidates(IMAGENET)
    assert len(tried) == 16
    assert [c for c in tried if not any(c.is_like(reversed_colors(t)) for t in tried)] == []


def test_one_that_nobody_uses_is_tried_too_in_both_orders() -> None:
    odd = candidate_of(Preprocessing(mean=(0.2, 0.3, 0.4), std=(0.1, 0.1, 0.1)))
    assert candidates(odd)[-2:] == (odd, reversed_colors(odd))


def test_of_transparency_nothing_else_is_tried_than_what_is_in_use() -> None:
    clear = Candidate("drawn", (0.5, 0.5, 0.5, 0.1), (0.5, 0.5, 0.5, 0.9), "RGB")
    colored = [c for c in candidates(clear) if c.name.startswith(("ImageNet", "CIFAR", "Caffe"))]
    assert len(colored) == 8
    assert {(c.mean[3], c.std[3]) for c in colored} == {(0.1, 0.9)}


def test_caffes_bgr_is_as_usual_as_imagenets_rgb() -> None:
    usual = [(c.name, c.color_order) for c in candidates(IMAGENET) if c.rarity == 0]
    assert ("Caffe's means of bytes", "BGR") in usual
    assert ("ImageNet's mean and std", "RGB") in usual
    assert ("ImageNet's mean and std", "BGR") not in usual


def _named(name: str) -> Candidate:
    return next(c for c in candidates(IMAGENET) if c.name == name)


def test_imagenets_and_cifar10s_mean_and_std_are_close_and_nothing_else_in_use_is() -> None:
    tried = [c for c in candidates(IMAGENET) if c.color_order == "RGB"]
    close = {
        frozenset((one.name, other.name))
        for one in tried
        for other in tried
        if one is not other and one.is_close(other) and not one.is_like(other)
    }
    assert close == {frozenset(("ImageNet's mean and std", "CIFAR-10's mean and std"))}


def test_what_differs_by_a_fifth_of_a_std_or_in_the_order_of_colours_is_not_close() -> None:
    unit = _named("0 to 1")
    assert unit.is_close(replace(unit, mean=(0.0, 0.0, 0.19)))
    assert not unit.is_close(replace(unit, mean=(0.0, 0.0, 0.2)))
    assert not unit.is_close(replace(unit, std=(1.0, 1.0, 0.8)))
    assert not unit.is_close(reversed_colors(unit))
