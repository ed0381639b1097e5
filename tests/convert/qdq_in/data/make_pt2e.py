"""Makes float.onnx and pt2e_*.onnx beside it: a small ghost-like network, quantized by PT2E.

PT2E is no dependency of the tests, so its output is committed. This ran in an environment of its
own, Python 3.11 on x86-64:

    pip install torch==2.13.0 torchao==0.18.0 onnx==1.23.2 onnxscript==0.7.2
    python make_pt2e.py

The network has what GhostNets have: ghost modules, a squeeze-excite gate, a strided depthwise
shortcut, a classifier. Its weights and the calibration inputs are random with fixed seeds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as x86
from torch import nn
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.testing.pt2e._xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)

HERE = Path(__file__).parent
SAMPLES = 16


def conv(inputs, outputs, size, stride=1, *, depthwise=False, relu=True):
    layers = [
        nn.Conv2d(
            inputs,
            outputs,
            size,
            stride,
            size // 2,
            groups=inputs if depthwise else 1,
            bias=False,
        ),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([nn.ReLU()] if relu else []))


class Ghost(nn.Module):
    def __init__(self, inputs, outputs, *, relu=True):
        super().__init__()
        self.primary = conv(inputs, outputs // 2, 1, relu=relu)
        self.cheap = conv(outputs // 2, outputs // 2, 3, depthwise=True, relu=relu)

    def forward(self, x):
        x = self.primary(x)
        return torch.cat([x, self.cheap(x)], 1)


class Gate(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, 8, 1), nn.Conv2d(8, channels, 1)

    def forward(self, x):
        gate = torch.nn.functional.adaptive_avg_pool2d(x, 1)
        gate = self.expand(torch.relu(self.reduce(gate)))
        return x * torch.nn.functional.hardsigmoid(gate)


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = conv(3, 8, 3, 2)
        self.expand = Ghost(8, 24)
        self.down = conv(24, 24, 3, 2, depthwise=True, relu=False)
        self.gate = Gate(24)
        self.project = Ghost(24, 16, relu=False)
        self.shortcut = nn.Sequential(
            conv(8, 8, 3, 2, depthwise=True, relu=False), conv(8, 16, 1, relu=False)
        )
        self.head = conv(16, 32, 1)
        self.classifier = nn.Linear(32, 10)

    def forward(self, x):
        x = self.stem(x)
        y = self.project(self.gate(self.down(self.expand(x)))) + self.shortcut(x)
        y = torch.nn.functional.adaptive_avg_pool2d(self.head(y), 1).flatten(1)
        return self.classifier(y)


def network() -> nn.Module:
    torch.manual_seed(0)
    module = Tiny().train()
    with torch.no_grad():
        for _ in range(20):
            module(torch.randn(16, 3, 32, 32))
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
    return module.eval()


def save(model, path: Path) -> None:
    """Without the exporter's notes on every node, which are most of the bytes."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
        value.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for tensor in model.graph.initializer:
        tensor.doc_string = ""
    onnx.save(model, path)


def export(module, path: Path) -> None:
    torch.onnx.export(
        module,
        (torch.zeros(1, 3, 32, 32),),
        path,
        input_names=["image"],
        output_names=["logits"],
        dynamo=True,
        external_data=False,
    )
    save(onnx.load(path), path)


def main() -> None:
    module = network()
    export(module, HERE / "float.onnx")
    quantizers = {
        "pt2e_per_channel": XNNPACKQuantizer().set_global(
            get_symmetric_quantization_config(is_per_channel=True)
        ),
        "pt2e_per_tensor": XNNPACKQuantizer().set_global(
            get_symmetric_quantization_config(is_per_channel=False)
        ),
        "pt2e_x86": x86.X86InductorQuantizer().set_global(
            x86.get_default_x86_inductor_quantization_config()
        ),
    }
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((1, 3, 32, 32)).astype(np.float32) for _ in range(SAMPLES)]
    for name, quantizer in quantizers.items():
        exported = torch.export.export(module, (torch.zeros(1, 3, 32, 32),)).module()
        prepared = prepare_pt2e(exported, quantizer)
        for sample in inputs:
            prepared(torch.from_numpy(sample))
        export(convert_pt2e(prepared), HERE / f"{name}.onnx")


if __name__ == "__main__":
    main()
