"""What every format has in common for `ghostedge inspect` and `ghostedge features`.

`Inspection` is what is found in a file, whatever its kind. `LayerReader` is a network whose inner
tensors can be read. `layers_of` says which tensors of a graph are feature maps, and which of them a
ghost module made: every format is read into `Step`s, so that one rule finds the layers of all and
gives them the same names. A convolution and the ReLU behind it are one layer, as they are one
operation on a device, and bear the ReLU's name. `image_input` says what a model's input is fed: as
its metadata says, else as its shape lets one guess. Nothing here reads a file.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ghostedge.records.image_fit import ImageFit
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.formats.backend import Array, TensorInfo
from ghostedge_runtime.inputs import ImageInput
from ghostedge_runtime.metadata import (
    ColorOrder,
    InputSpec,
    ModelMetadata,
    Precision,
    Preprocessing,
)


@dataclass(frozen=True)
class OpCount:
    """One kind of operator in a graph.

    Attributes:
        op: The format's own name of the operator.
        count: How often it occurs.
        int8: How many of them compute on int8 activations.
        macs: Multiply-accumulates of all of them, for one run of the graph as it is written.
    """

    op: str
    count: int
    int8: int
    macs: int


@dataclass(frozen=True)
class Inspection:
    """What is in a checkpoint or a model file.

    Attributes:
        kind: ``checkpoint``, or the name of a format.
        facts: What does not fit a column, in the order it is shown.
        parameters: Elements of all weights and biases.
        macs: Multiply-accumulates of one run; None where the file does not say.
        metadata: The ghostedge metadata inside, as its JSON document; None where there is none.
        image_fit: Images held against what its batch norms remember; None where none were given.
    """

    file: str
    kind: str
    bytes: int
    sha256: str
    parameters: int
    macs: int | None
    facts: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[TensorInfo, ...] = ()
    outputs: tuple[TensorInfo, ...] = ()
    ops: tuple[OpCount, ...] = ()
    metadata: Mapping[str, Any] | None = None
    image_fit: ImageFit | None = None


def count_ops(ops: Iterable[OpCount]) -> tuple[OpCount, ...]:
    """Operators, each counted by itself, added up by kind; the most frequent first."""
    counts: Counter[str] = Counter()
    int8: Counter[str] = Counter()
    macs: Counter[str] = Counter()
    for op in ops:
        counts[op.op] += op.count
        int8[op.op] += op.int8
        macs[op.op] += op.macs
    return tuple(
        OpCount(name, count, int8[name], macs[name]) for name, count in counts.most_common()
    )


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


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
        by_name: Each feature map by its name.
        inner: Names of results that are no layer, since an activation takes them up, each with the
            layer's that they belong to.
    """

    by_name: Mapping[str, Layer]
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
    by_name: dict[str, Layer] = {}
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
        by_name[name] = Layer(name, graph.decoded(step.output), shapes[step.output], primary)
    return Layers(by_name, inner)


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


Maps = npt.NDArray[np.float32]
"""Feature maps of one image: float32 [channels, height, width]."""


@dataclass(frozen=True)
class Building:
    """How a network is made of MODEL, where it is not one yet: flags of `ghostedge convert`."""

    ema: bool = False
    key_prefix: str | None = None
    arch: str | None = None
    unsafe_pickle: bool = False
    factory: str | None = None
    factory_args: str | None = None
    input_size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    color_order: ColorOrder | None = None

    def stated(self) -> list[str]:
        """The flags that were given."""
        names = (name for name, value in asdict(self).items() if value)
        return [f"--{name.replace('_', '-')}" for name in names]


NO_FLAGS = Building()


@dataclass(frozen=True)
class LayerReader:
    """An opened network.

    Attributes:
        path: The file.
        sha256: Of its bytes.
        format: ``onnx``, ``tflite``, or what the network was built of, such as ``checkpoint``.
        precision: As the metadata has it, else whether it computes on codes.
        metadata: With the preprocessing; assumed where the file carries none.
        assumed: What had to be assumed, a sentence each.
        layers: Its feature maps.
        encode: Makes the network's input, a batch of one, of an image.
        read: Runs the network on such an input; the layers' real values, in the order asked for.
    """

    path: Path
    sha256: str
    format: str
    precision: Precision
    metadata: ModelMetadata
    assumed: tuple[str, ...]
    layers: Layers
    encode: Callable[[Any], Array]
    read: Callable[[Array, Sequence[Layer]], list[Maps]]


def precision_of(metadata: ModelMetadata | None, *, coded: bool) -> Precision:
    """What a file says of itself; without metadata ``int8`` where its tensors are codes."""
    if metadata is not None:
        return metadata.precision
    return "int8" if coded else "float32"


def full_batch(batch: Array, size: int | None) -> Array:
    """A batch of one image, repeated to the size that a file is fixed to."""
    return batch if size in (None, 1) else np.repeat(batch, size, axis=0)


# What an input is taken to be, by its dtype and the axis that holds the three channels.
_SPECS = {
    ("uint8", 3): InputSpec("NHWC", "uint8", normalized=False),
    ("uint8", 1): InputSpec("NCHW", "uint8", normalized=False),
    ("float32", 1): InputSpec("NCHW", "float32", normalized=True),
    ("float32", 3): InputSpec("NHWC", "float32", normalized=True),
}


def image_input(
    metadata: ModelMetadata | None,
    tensor: TensorInfo,
    where: Path,
    preprocessing: Preprocessing | None = None,
    origin: str | Path | None = None,
) -> tuple[ModelMetadata, tuple[str, ...], ImageInput]:
    """What makes a file's input of an image.

    Args:
        metadata: The file's, None where it carries none.
        tensor: Its input.
        where: The file.
        preprocessing: For a file without metadata, if it is for the input's size; by default
            ImageNet's.
        origin: Where that was taken from.

    Returns:
        The metadata, what had to be assumed for it (a sentence each), and the encoder.

    Raises:
        ModelFileError: The metadata does not describe the input, or it is no image.
    """
    if metadata is not None:
        return metadata, (), ImageInput(metadata, tensor, where)
    spec, size = _guess(tensor, where)
    if preprocessing is None or preprocessing.input_size != size:
        preprocessing, origin = Preprocessing(input_size=size), "ImageNet's defaults"
    note = f"{where.name} does not say how images are prepared: taken from {origin}"
    assumed = ModelMetadata(preprocessing, spec)
    return assumed, (note,), ImageInput(assumed, tensor, where)


def _guess(tensor: TensorInfo, where: Path) -> tuple[InputSpec, tuple[int, int]]:
    """Layout and size from the shape: raw pixels where it takes uint8, normalised ones as float."""
    kinds = {axes: spec for (dtype, axes), spec in _SPECS.items() if dtype == tensor.dtype}
    for channels, spec in kinds.items():
        shape = tensor.shape
        if len(shape) == 4 and shape[channels] == 3:
            height, width = (side for axis, side in enumerate(shape) if axis not in (0, channels))
            if height is not None and width is not None:
                return spec, (height, width)
    raise ModelFileError(
        f"its input {tensor} is no image of a known size, and it has no ghostedge metadata",
        where=where,
        remedy="give a model with a static input such as float32 1×3×224×224",
    )
