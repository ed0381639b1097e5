"""Which tensors of a graph are feature maps, and which of them a ghost module made.

ONNX and TFLite are both read into `Step`s, so that one rule finds the layers of either and gives
them the same names: a convolution and the ReLU behind it are one layer, as they are one operation
on a device, and bear the ReLU's name. Nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["activation", "concat", "depthwise", "dequantize", "quantize", "relay", "other"]
"""``concat`` joins channels; ``relay`` hands values on, moved or padded but unchanged."""

Shape = tuple[int | None, int | None, int | None]
"""Channels, height, width; None where the file leaves a size open."""

_SAME_VALUES = frozenset({"dequantize", "quantize", "relay"})


@dataclass(frozen=True)
class Step:
    """One operator: what it is, the tensors it computes on (no constants), what it makes."""

    kind: Kind
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True)
class Layer:
    """A feature map.

    Attributes:
        name: As a person names it.
        tensor: What to read: with the codes of its quantization, where it has one.
        shape: Of one image.
        primary: Of a ghost module's output, how many of its channels are primary; they come first,
            then the ghosts in the order of the channels they were made from, several for each
            where there are more. None for any other layer.
    """

    name: str
    tensor: str
    shape: Shape
    primary: int | None = None


@dataclass(frozen=True)
class Layers:
    """The feature maps of a graph, in its order.

    Attributes:
        found: By name.
        inner: Names of results that are no layer, since an activation takes them up, each with the
            layer's that they belong to.
    """

    found: Mapping[str, Layer]
    inner: Mapping[str, str]


def layers_of(
    steps: Sequence[Step], shapes: Mapping[str, Shape], names: Mapping[str, str]
) -> Layers:
    """Find the feature maps.

    Args:
        steps: In an order that they can be computed in.
        shapes: Of every tensor that has channels, height and width.
        names: What a person calls each of them.
    """
    graph = _Graph(steps)
    found: dict[str, Layer] = {}
    inner: dict[str, str] = {}
    for step in steps:
        if step.kind in _SAME_VALUES or step.output not in shapes:
            continue
        activated = graph.activation_behind(step.output)
        if activated is not None and activated in shapes:
            inner[names[step.output]] = names[activated]
            continue
        name = names[step.output]
        primary = graph.primary_of(step, shapes)
        found[name] = Layer(name, graph.decoded(step.output), shapes[step.output], primary)
    return Layers(found, inner)


class _Graph:
    def __init__(self, steps: Sequence[Step]) -> None:
        self._makers = {step.output: step for step in steps}
        self._readers: dict[str, list[Step]] = {}
        for step in steps:
            for name in step.inputs:
                self._readers.setdefault(name, []).append(step)

    def activation_behind(self, tensor: str) -> str | None:
        """The output of an activation that is the tensor's only reader."""
        readers = self._readers.get(tensor, [])
        only = readers[0] if len(readers) == 1 else None
        return only.output if only is not None and only.kind == "activation" else None

    def decoded(self, tensor: str) -> str:
        """The tensor with its quantization's codes; itself where it is not quantized."""
        for reader in self._readers.get(tensor, []):
            if reader.kind == "quantize":
                back = [r for r in self._readers.get(reader.output, []) if r.kind == "dequantize"]
                return back[0].output if back else reader.output
        return tensor

    def primary_of(self, step: Step, shapes: Mapping[str, Shape]) -> int | None:
        """The number of primary channels, where the step ends a ghost module.

        That is a concatenation of some channels with what a depthwise convolution makes of them
        (Han et al., CVPR 2020, figure 1b), activations in between or behind notwithstanding.
        """
        joined = self._through(step, {"activation"})
        if joined.kind != "concat" or len(joined.inputs) != 2:
            return None
        primary, ghost = (self._origin(name) for name in joined.inputs)
        cheap = self._makers.get(ghost)
        if cheap is None or primary not in shapes:
            return None
        cheap = self._through(cheap, {"activation", *_SAME_VALUES})
        made_from = [self._origin(name) for name in cheap.inputs]
        channels, (every, _, _) = shapes[primary][0], shapes[joined.output]
        if cheap.kind != "depthwise" or made_from != [primary] or not channels or not every:
            return None
        return channels if every % channels == 0 else None

    def _through(self, step: Step, kinds: set[str]) -> Step:
        """The first step before this one, or itself, that is of another kind."""
        while step.kind in kinds and step.inputs and step.inputs[0] in self._makers:
            step = self._makers[step.inputs[0]]
        return step

    def _origin(self, tensor: str) -> str:
        """The tensor whose values this one has."""
        maker = self._makers.get(tensor)
        while maker is not None and maker.kind in _SAME_VALUES and maker.inputs:
            tensor = maker.inputs[0]
            maker = self._makers.get(tensor)
        return tensor
