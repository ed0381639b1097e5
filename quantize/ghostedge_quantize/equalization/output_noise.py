"""How much each tensor's quantization alone moves a float graph's outputs; measured by running it.

One session per sharing group, with that group's pairs in an otherwise float graph, on a few images,
as many at a time as there are cores.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import helper, numpy_helper

from ghostedge_quantize.codes import QuantParams


class OutputNoise:
    """A float graph's outputs on some images, to hold changed graphs against.

    Args:
        graph: One float32 input.
        images: Batches in the graph's own batch size.
    """

    def __init__(self, graph: ir.Model, images: Sequence[np.ndarray]) -> None:
        self._proto = ir.to_proto(graph)
        self._images = images
        self._reference = self._outputs(self._proto)

    def of_pairs(
        self, groups: Mapping[str, Sequence[str]], params: Mapping[str, QuantParams]
    ) -> dict[str, float]:
        """Group → noise of quantizing its tensors and nothing else, relative to the outputs.

        The noise of an image is the root of its mean square error; the mean over the images is
        squared. So an image whose outliers were clipped counts as one image, not as all. Of
        several outputs each counts alike, however large its values are.
        """

        def noise(group: str) -> float:
            return self.of(with_pairs(self._proto, groups[group], params[group]))

        # Variants are made in the workers: each is a copy of the whole model.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return dict(zip(groups, pool.map(noise, groups), strict=True))

    def of(self, variant: onnx.ModelProto) -> float:
        """Noise of any graph with the same input and outputs."""
        pairs = zip(self._outputs(variant), self._reference, strict=True)
        return float(np.mean([_relative(*pair) for pair in pairs]))

    def _outputs(self, model: onnx.ModelProto) -> list[list[np.ndarray]]:
        """Of each output the batches, flat float64 arrays."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        name = session.get_inputs()[0].name
        batches = [session.run(None, {name: images}) for images in self._images]
        return [
            [out.reshape(-1).astype(np.float64) for out in column]
            for column in zip(*batches, strict=True)
        ]


def _relative(disturbed: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> float:
    """One output's noise power over its signal power."""
    errors = [np.sqrt(np.mean(np.square(a - b))) for a, b in zip(disturbed, reference, strict=True)]
    power = np.mean([np.mean(np.square(batch)) for batch in reference])
    return float(np.mean(errors) ** 2 / max(power, np.finfo(float).tiny))


def with_pairs(
    model: onnx.ModelProto, tensors: Sequence[str], params: QuantParams
) -> onnx.ModelProto:
    """A copy in which every reader of ``tensors`` gets them through an int8 pair."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph, names = copy.graph, set(tensors)
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.asarray(params.scale, np.float32), "pair_scale"),
            numpy_helper.from_array(np.asarray(params.zero_point, np.int8), "pair_zero_point"),
        ]
    )
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in names:
                node.input[index] = f"{name}_paired"
    nodes = [pair for value in graph.input if value.name in names for pair in _pair(value.name)]
    for node in graph.node:
        nodes.append(node)
        nodes.extend(pair for name in node.output if name in names for pair in _pair(name))
    outputs = [f"{o.name}_paired" if o.name in names else o.name for o in graph.output]
    del graph.node[:], graph.output[:]
    graph.node.extend(nodes)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return copy


def _pair(name: str) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    codes, parameters = f"{name}_codes", ["pair_scale", "pair_zero_point"]
    return (
        helper.make_node("QuantizeLinear", [name, *parameters], [codes]),
        helper.make_node("DequantizeLinear", [codes, *parameters], [f"{name}_paired"]),
    )
