# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""Gemm and MatMul of any operands compute what ONNX Runtime computes, float and int8."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sampled = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seeds = st.integers(0, 2**31 - 1)
sizes = st.integers(1, 7)
SCALE, ZERO = 0.027, 5
BORDERS = {"QUANTIZE": 1}
"""The test's own float input is quantized once; nothing else may be."""


def weights_of(seed, *shape):
    return np.random.default_rng(seed + 1).standard_normal(shape).astype(np.float32)


def quantized_input(network, shape, name="x", scale=SCALE, zero=ZERO):
    return network.pair(network.input(shape, name), scale, zero)


def finish(network, y, seed, agree, steps=1):
    """Quantize the result, compare, and return the operators used."""
    q = network.quantized_result(y, seed)
    return agree(network.model(q, dtype=np.int8), network.feeds(seed), steps=steps)


@sampled
@given(st.integers(1, 3), sizes, sizes, st.booleans(), st.booleans(), seeds, st.data())
def test_gemm_with_constant_weights(net, agree, n, k, m, trans_a, trans_b, seed, data):
    network = net()
    a = network.input((k, n) if trans_a else (n, k))
    b = weights_of(seed, *((m, k) if trans_b else (k, m)))
    c = data.draw(st.sampled_from([None, (m,), (1, m), (1,), (n, m), (n, 1), ()]))
    beta = 1.0 if c in ((n, m), (n, 1)) and n > 1 else data.draw(st.sampled_from([1.0, 0.5]))
    extra = [] if c is None else [weights_of(seed + 1, *c)]
    y = network.add(
        "Gemm", a, b, *extra, alpha=1.5, beta=beta, transA=int(trans_a), transB=int(trans_b)
    )
    agree(network.model(y), network.feeds(seed))


@sampled
@given(st.integers(1, 3), sizes, sizes, st.booleans(), seeds)
def test_gemm_of_two_activations(net, agree, n, k, m, trans_b, seed):
    network = net()
    a, c = network.input((n, k), "a"), network.input((n, m), "c")
    b = network.input((m, k) if trans_b else (k, m), "b")
    y = network.add("Gemm", a, b, c, transB=int(trans_b))
    agree(network.model(y), network.feeds(seed))


@sampled
@given(st.lists(st.integers(1, 3), max_size=2), sizes, sizes, sizes, st.booleans(), seeds)
def test_matmul_of_any_rank(net, agree, batch, n, k, m, constant, seed):
    network = net()
    a = network.input((*batch, n, k), "a")
    b = weights_of(seed, k, m) if constant else network.input((*batch, k, m), "b")
    agree(network.model(network.add("MatMul", a, b)), network.feeds(seed))


@sampled
@given(
    st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.booleans()), max_size=3),
    st.integers(0, 3),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    st.booleans(),
    seeds,
)
def test_matmul_broadcasts_its_batches(net, agree, batch, dropped, sizes, constant, seed):
    rows, depth, columns = sizes
    a = [1 if one else size for size, one, _ in batch]
    b = [1 if one else size for size, _, one in batch][dropped:]
    network = net()
    right = (*b, depth, columns)
    weights = np.random.default_rng(seed).standard_normal(right).astype(np.float32)
    y = network.add(
        "MatMul",
        network.input((*a, rows, depth), "a"),
        weights if constant else network.input(right, "b"),
    )
    agree(network.model(y), network.feeds(seed))


@pytest.mark.parametrize(
    ("left", "right"), [((4,), (4,)), ((4,), (4, 3)), ((2, 3, 4), (4,)), ((4,), (2, 4, 3))]
)
@pytest.mark.parametrize("constant", [False, True])
def test_matmul_with_a_vector(net, agree, left, right, constant):
    network = net()
    a = network.input(left, "a")
    b = np.ones(right, np.float32) if constant else network.input(right, "b")
    y = network.add("MatMul", a, b)
    y = network.add("Unsqueeze", y, np.asarray([0])) if left == right else y
    agree(network.model(y), network.feeds(0))


@sampled
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), seeds)
def test_gemm_with_per_channel_weights(net, agree, n, k, m, seed):
    network = net()
    x = quantized_input(network, (n, k))
    weights, scales = network.weights((m, k), seed)
    y = network.add("Gemm", x, weights, network.bias(scales, SCALE, seed), transB=1)
    assert finish(network, y, seed, agree) == {**BORDERS, "FULLY_CONNECTED": 1}
