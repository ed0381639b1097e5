"""Permutations of axes agree with what numpy's transpose does by them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge_convert.passes.axes import (
    compose,
    inverse,
    is_identity,
    moves_nothing,
    ranks,
)

PERMUTATIONS = st.permutations(range(4)).map(tuple)
ARRAY = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)


@settings(deadline=None)
@given(first=PERMUTATIONS, second=PERMUTATIONS)
def test_two_transposes_are_one_by_the_composed_permutation(first, second):
    both = ARRAY.transpose(first).transpose(second)
    assert np.array_equal(ARRAY.transpose(compose(first, second)), both)


@settings(deadline=None)
@given(perm=PERMUTATIONS)
def test_a_permutation_and_its_inverse_are_the_identity(perm):
    assert is_identity(compose(perm, inverse(perm)))


@settings(deadline=None)
@given(perm=PERMUTATIONS, shape=st.tuples(*[st.integers(1, 2)] * 4))
def test_a_permutation_moves_nothing_where_the_elements_keep_their_order(perm, shape):
    array = np.arange(np.prod(shape)).reshape(shape)
    in_order = np.array_equal(array.transpose(perm).reshape(-1), array.reshape(-1))
    # Two axes of which one has a single element can be exchanged without a trace.
    assert moves_nothing(shape, perm) == in_order


@pytest.mark.parametrize(
    ("axes", "order"), [((3, 0, 2), (2, 0, 1)), ((1,), (0,)), ((0, 1, 2), (0, 1, 2))]
)
def test_ranks_are_the_order_of_axes_among_themselves(axes, order):
    assert ranks(axes) == order
