# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""Products of matrices: Einsum, MatMul of any two operands, and attention as torch exports it."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from ghostedge_convert.lower import lower_to_tflite
from ghostedge_convert.passes.deploy import to_deploy_graph
from ghostedge_runtime.errors import UnsupportedOpError

sampled = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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


class Attention(nn.Module):
    """Two heads over the pixels of an image, by torch's own function or written out."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.qkv, self.proj = nn.Linear(8, 24), nn.Linear(8, 8)
        self.heads = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        if self.kind == "module":
            return self.heads(tokens, tokens, tokens, need_weights=False)[0]
        batch, count, width = tokens.shape
        split = self.qkv(tokens).reshape(batch, count, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        q, k, v = split[0], split[1], split[2]
        if self.kind == "function":
            mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        else:
            mixed = (q @ k.transpose(-2, -1) * 0.5).softmax(-1) @ v
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, width))


def exported(model, image, *, dynamo):
    if dynamo:
        return torch.onnx.export(model, (image,), dynamo=True, verbose=False).model_proto
    buffer = io.BytesIO()
    torch.onnx.export(model, (image,), buffer, dynamo=False, opset_version=17)
    return onnx.load_from_string(buffer.getvalue())


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("kind", ["module", "function", "written out"])
def test_attention_stays_in_xnnpack(agree, left_outside_xnnpack, kind, dynamo):
    torch.manual_seed(0)
    model = Attention(kind).eval()
    image = torch.randn(1, 8, 3, 4)
    deployed = to_deploy_graph(exported(model, image, dynamo=dynamo)).model
    agree(deployed, {deployed.graph.input[0].name: image.numpy()})
    assert not left_outside_xnnpack(lower_to_tflite(deployed).data)


@sampled
@given(
    st.integers(1, 2),
    st.integers(1, 2),
    st.sampled_from([1, 2]),
    st.booleans(),
    st.sampled_from([None, "float", "bool"]),
    st.booleans(),
    seeds,
)
def test_attention_of_opset_23(net, agree, batch, few, groups, apart, mask, causal, seed):
    network = net()
    rng = np.random.default_rng(seed)
    rows, columns, depth, width = 3, 3 if causal else 4, 2, 3
    sizes = [(few * groups, rows, depth), (few, columns, depth), (few, columns, width)]
    shapes = [(batch, *size) if apart else (batch, size[1], size[0] * size[2]) for size in sizes]
    operands = [network.input(shape, name) for shape, name in zip(shapes, "qkv", strict=True)]
    if mask == "float":
        operands.append(network.input((rows, columns), "mask"))
    elif mask == "bool":
        operands.append(rng.random((rows, columns)) < np.eye(rows, columns) + 0.7)
    heads = {} if apart else {"q_num_heads": few * groups, "kv_num_heads": few}
    y = network.add("Attention", *operands, is_causal=int(causal), **heads)
    agree(network.model(y, opset=23), network.feeds(seed))


@pytest.mark.parametrize("kind", ["module", "function"])
def test_torch_exports_attention_as_one_op(agree, kind):
    torch.manual_seed(0)
    model, image = Attention(kind).eval(), torch.randn(1, 8, 3, 4)
    program = torch.onnx.export(model, (image,), dynamo=True, verbose=False, opset_version=23)
    deployed = to_deploy_graph(program.model_proto).model
    assert "Attention" in {node.op_type for node in deployed.graph.node}
    agree(deployed, {deployed.graph.input[0].name: image.numpy()})
