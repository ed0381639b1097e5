"""How much each tensor's quantization alone moves a float graph's outputs; measured by running it.

Each sharing group's pairs stand in an otherwise float graph, which runs from there on, on a few
images; a group on each core at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from ghostedge_quantize.codes import QuantParams
from ghostedge_quantize.equalization.segments import Segments
from ghostedge_quantize.parallel import in_parallel, session_of_one_thread


class OutputNoise:
    """A float graph's outputs on some images, to hold changed graphs against.

    Args:
        graph: One float32 input.
        images: Batches in the graph's own batch size.
    """

    def __init__(self, graph: ir.Model, images: Sequence[np.ndarray]) -> None:
        self._images, self._proto = images, ir.to_proto(graph)
        self._segments = Segments(self._proto, images)

    def of_pairs(
        self, groups: Mapping[str, Sequence[str]], params: Mapping[str, QuantParams]
    ) -> dict[str, float]:
        """Group → noise of quantizing its tensors and nothing else, relative to the outputs.

        The noise of an image is the root of its mean square error; the mean over the images is
        squared. So an image whose outliers were clipped counts as one image, not as all. Of
        several outputs each counts alike, however large its values are.
        """
        reference = self._segments.outputs()

        def noise(group: str) -> float:
            def change(part: onnx.ModelProto, tensors: Collection[str]) -> onnx.ModelProto:
                return with_pairs(part, tensors, params[group])

            return _noise(self._segments.changed(groups[group], change), reference)

        return dict(zip(groups, in_parallel(noise, groups), strict=True))

    def of(self, variant: onnx.ModelProto) -> float:
        """Noise of any graph with the same input and outputs."""
        return _noise(self._outputs(variant), self._outputs(self._proto))

    def _outputs(self, model: onnx.ModelProto) -> list[list[np.ndarray]]:
        """Of each batch the outputs of a graph that is run whole."""
        session = session_of_one_thread(model)
        name = session.get_inputs()[0].name
        return [session.run(None, {name: images}) for images in self._images]


def _noise(
    disturbed: Sequence[Sequence[np.ndarray]], reference: Sequence[Sequence[np.ndarray]]
) -> float:
    """Noise of the outputs of all batches, relative to the reference's."""
    pairs = zip(_by_output(disturbed), _by_output(reference), strict=True)
    return float(np.mean([_relative(*pair) for pair in pairs]))


def _by_output(batches: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
    """Of each output the batches, flat float64 arrays."""
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
    model: onnx.ModelProto, tensors: Collection[str], params: QuantParams
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
