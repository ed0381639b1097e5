"""Einsum of one or two operands computes what ONNX Runtime computes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghostedge_convert.lower import lower_to_tflite
from ghostedge_runtime.errors import UnsupportedOpError

sampled = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seeds = st.integers(0, 2**31 - 1)


@st.composite
def equations(draw):
    """Terms and output of an Einsum without diagonals, and the sizes of its letters."""
    letters = st.permutations("abcde")
    terms = [
        "".join(draw(letters)[: draw(st.integers(1, 4))]) for _ in range(draw(st.integers(1, 2)))
    ]
    known = sorted(set("".join(terms)))
    out = "".join(draw(st.permutations(known))[: draw(st.integers(1, 4))])
    sizes = {letter: draw(st.integers(1, 4)) for letter in known}
    return terms, out, sizes


@sampled
@given(equations(), st.booleans(), seeds)
def test_einsum_of_one_or_two_operands(net, agree, equation, constant, seed):
    terms, out, sizes = equation
    network = net()
    shapes = [tuple(sizes[letter] for letter in term) for term in terms]
    operands = [network.input(shapes[0], "a")]
    for shape in shapes[1:]:
        weights = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
        operands.append(weights if constant else network.input(shape, "b"))
    y = network.add("Einsum", *operands, equation=f"{','.join(terms)}->{out}")
    agree(network.model(y), network.feeds(seed))


@pytest.mark.parametrize(
    "equation", ["...ij,...jk->...ik", "...ij,jk", "ij...->j...", "... ij -> ... ji"]
)
def test_einsum_with_an_ellipsis(net, agree, equation):
    network = net()
    operands = [network.input((2, 3, 3, 3), "a")]
    if "," in equation:
        operands.append(network.input((3, 3) if "ij,jk" in equation else (2, 3, 3, 3), "b"))
    y = network.add("Einsum", *operands, equation=equation)
    agree(network.model(y), network.feeds(1))


@pytest.mark.parametrize(
    ("equation", "words"), [("ii->i", "a diagonal"), ("ij,jk,kl->il", "3 operands")]
)
def test_an_einsum_that_is_neither_is_refused(net, equation, words):
    network = net()
    terms = equation.partition("->")[0].split(",")
    operands = [network.input((3, 3), f"x{i}") for i in range(len(terms))]
    y = network.add("Einsum", *operands, equation=equation)
    with pytest.raises(UnsupportedOpError, match=words):
        lower_to_tflite(network.model(y))
