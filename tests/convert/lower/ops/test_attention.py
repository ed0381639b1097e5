# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""Attention as torch exports it, in one op or in its parts."""

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

sampled = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seeds = st.integers(0, 2**31 - 1)


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
