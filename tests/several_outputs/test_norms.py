"""Every usual way to write an L2 normalisation in torch reaches TFLite and computes the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by

from ghostedge_convert import export_onnx, lower_to_tflite, to_deploy_graph

NORMS = {
    "normalize": lambda x: F.normalize(x, dim=1),
    "norm_clamped": lambda x: x / x.norm(dim=1, keepdim=True).clamp_min(1e-6),
    "norm": lambda x: x / x.norm(p=2, dim=1, keepdim=True),
    "vector_norm": lambda x: x / torch.linalg.vector_norm(x, dim=1, keepdim=True),
    "rsqrt": lambda x: x * torch.rsqrt(x.square().sum(1, keepdim=True) + 1e-6),
    "sqrt_of_powers": lambda x: x / (x**2).sum(1, keepdim=True).sqrt().add(1e-6),
    "maximum": lambda x: x / torch.maximum(x.norm(dim=1, keepdim=True), torch.tensor(1e-6)),
    "expand_as": lambda x: x / x.norm(dim=1, keepdim=True).expand_as(x),
}


class Normed(nn.Module):
    def __init__(self, norm, *, pooled: bool) -> None:
        super().__init__()
        self.conv, self.norm, self.pooled = nn.Conv2d(2, 6, 3), norm, pooled

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y.mean((2, 3)) if self.pooled else y)


@pytest.mark.parametrize(
    ("norm", "pooled"), [*((name, True) for name in NORMS), ("normalize", False), ("rsqrt", False)]
)
def test_a_norm_computes_in_tflite_what_it_does_in_torch(norm, pooled):
    torch.manual_seed(0)
    module = Normed(NORMS[norm], pooled=pooled).eval()
    model = to_deploy_graph(export_onnx(module, input_size=(7, 5), in_channels=2)).model
    lowered = lower_to_tflite(model)
    image = torch.randn(1, 2, 7, 5)
    with torch.no_grad():
        wanted = module(image).numpy()
    interpreter = Interpreter(model_content=lowered.data)
    found = interpreter.get_signature_runner()(input=image.numpy().transpose(0, 2, 3, 1))["logits"]
    order = np.argsort(lowered.output_layouts["logits"]).tolist()
    assert np.abs(found.transpose(order) - wanted).max() <= 1e-5
