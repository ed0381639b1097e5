"""OpenVINO IR files, ``.xml`` with ``.bin``: written, inspected, looked into.

All of it needs the ``openvino`` extra, and none of it more. An IR is OpenVINO's own reading of the
ONNX graph, so its numbers are OpenVINO's: of int8 it chooses kernels and roundings itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ghostedge.formats.format import (
    Inspection,
    Kind,
    Layer,
    LayerReader,
    Layers,
    Maps,
    OpCount,
    Shape,
    Step,
    count_ops,
    full_batch,
    image_input,
    layers_of,
    precision_of,
)
from ghostedge_runtime.formats.backend import Array, inference_failed, model_io
from ghostedge_runtime.formats.loading import companion_files, read_model_file, whole_digest
from ghostedge_runtime.formats.openvino import import_openvino
from ghostedge_runtime.metadata import METADATA_KEY, ModelMetadata, Preprocessing

openvino = import_openvino()  # first, for where it is missing the line below names another extra

from ghostedge_runtime.formats.openvino.session import (  # noqa: E402 - see the line above
    OpenvinoBackend,
    network_metadata,
    read_network,
    refused,
    tensor_info,
)

if TYPE_CHECKING:
    import onnx

# Place of the first axis of the weights that is summed over.
_WEIGHTED = {"Convolution": 1, "ConvolutionBackpropData": 1, "GroupConvolution": 2, "MatMul": 0}
# What stands between stored weights and the operator, or codes and their reader.
_DECODERS = frozenset(
    {"Convert", "FakeConvert", "FakeQuantize", "Multiply", "Reshape", "Subtract", "Transpose"}
)
_NUMBERED = re.compile(r"[A-Z][A-Za-z]*_\d+")
# Names of what is no operator of the ONNX graph: put in by OpenVINO, or a convolution's first half.
_NOT_IN_ONNX = re.compile(r".*(_(read|made)_\d+|/WithoutBiases)")
_DECODED = "_dequantize"
_KINDS: dict[str, Kind] = {
    "Clamp": "activation",
    "Pad": "relay",
    "Parameter": "relay",
    "Relu": "activation",
    "Transpose": "relay",
}


def write_openvino(
    model: onnx.ModelProto, metadata: ModelMetadata, path: Path
) -> Mapping[str, tuple[int, ...]]:
    """Write a graph as ``.xml`` and, beside it, ``.bin``; equal graphs give equal bytes.

    Float weights keep the precision that the graph has them in.

    Args:
        model: A float graph, or one in the QDQ format.
        metadata: The graph's; they go into the file.
        path: Where to write the ``.xml``.

    Returns:
        Nothing: every output's axes stand as in the graph.
    """
    from openvino._offline_transformations import (  # noqa: PLC0415 - after `import_openvino`
        apply_moc_transformations,
        compress_quantize_weights_transformation,
    )

    # This is what `openvino.convert_model` does, but for its telemetry, which goes out unasked.
    network = openvino.Core().read_model(model=model.SerializeToString())
    _name_by_place(network, "read")
    apply_moc_transformations(network, cf=False, smart_reshape=True)
    compress_quantize_weights_transformation(network)
    network.set_rt_info(metadata.to_json(), METADATA_KEY)
    if network.has_rt_info("framework"):  # a second copy, from the ONNX graph
        del network.rt_info["framework"]
    _name_by_place(network, "made")
    openvino.save_model(network, path, compress_to_fp16=metadata.precision == "float16")
    return {}


def _name_by_place(network: Any, step: str) -> None:
    """Name by their place the operators that only have a number that this process gave them."""
    for index, op in enumerate(network.get_ordered_ops()):
        name = op.get_friendly_name()
        folded = op.get_type_name() == "Constant" and _NUMBERED.fullmatch(name)
        if name == op.get_name() or folded:
            op.set_friendly_name(f"{op.get_type_name()}_{step}_{index}")


def open_in_openvino(model: onnx.ModelProto, at_once: int) -> Sequence[OpenvinoBackend]:
    """A graph opened so many times; each runs one image at a time."""
    data = model.SerializeToString()
    return [OpenvinoBackend(data, threads=1, where=Path("graph")) for _ in range(at_once)]


def inspect_openvino(path: Path) -> Inspection:
    """Read the graph, the sizes and the metadata of an IR.

    Raises:
        ModelFileError: It is no IR, damaged, or without its ``.bin``.
    """
    data, network = _read(path)
    sha256, size = whole_digest(data, path)
    metadata = network_metadata(network, path)
    operators = [op for op in network.get_ordered_ops() if not _is_constant(op)]
    ops = _count_ops(operators)
    beside = companion_files(data, path)
    return Inspection(
        file=str(path),
        kind="openvino",
        bytes=size,
        sha256=sha256,
        parameters=sum(map(_parameters, operators)),
        macs=sum(op.macs for op in ops),
        facts={
            "name": network.get_friendly_name(),
            **({"weights beside it": ", ".join(beside)} if beside else {}),
        },
        inputs=tuple(tensor_info(port, path) for port in network.inputs),
        outputs=tuple(tensor_info(port, path) for port in network.outputs),
        ops=ops,
        metadata=None if metadata is None else json.loads(metadata.to_json()),
    )


def open_openvino(path: Path, preprocessing: Preprocessing | None) -> LayerReader:
    """Open an IR to look into.

    Args:
        path: The file.
        preprocessing: For a file that carries none.

    Raises:
        ModelFileError: It cannot be read or run, or takes no image.
    """
    data, network = _read(path)
    metadata = network_metadata(network, path)
    io = model_io(
        [tensor_info(port, path) for port in network.inputs],
        [tensor_info(port, path) for port in network.outputs],
        path,
    )
    described, assumed, encode = image_input(metadata, io.input, path, preprocessing)

    def read(batch: Array, layers: Sequence[Layer]) -> list[Maps]:
        return _run(data, path, full_batch(batch, io.input.shape[0]), layers)

    return LayerReader(
        path=path,
        sha256=whole_digest(data, path)[0],
        format="openvino",
        precision=precision_of(
            metadata,
            coded=any(op.get_type_name() == "FakeQuantize" for op in network.get_ops()),
        ),
        metadata=described,
        assumed=assumed,
        layers=_layers(network),
        encode=encode,
        read=read,
    )


def _read(path: Path) -> tuple[bytes, Any]:
    data = read_model_file(path)
    try:
        return data, read_network(data, path)
    except RuntimeError as error:
        raise refused(error, path) from error


def _run(data: bytes, path: Path, batch: Array, layers: Sequence[Layer]) -> list[Maps]:
    """Run the graph with the layers as outputs besides its own."""
    network = read_network(data, path)
    ports = {_key(port): port for op in network.get_ordered_ops() for port in op.outputs()}
    own = len(network.outputs)
    wanted = list(dict.fromkeys(layer.tensor for layer in layers))
    try:
        network.add_outputs([ports[key] for key in wanted])
        compiled = openvino.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        results = compiled([batch]).to_tuple()[own:]
    except RuntimeError as error:
        raise inference_failed("OpenVINO", error, path) from error
    arrays = dict(zip(wanted, results, strict=True))
    return [np.asarray(arrays[layer.tensor][0], np.float32) for layer in layers]


def _layers(network: Any) -> Layers:
    operators = [op for op in network.get_ordered_ops() if not _is_constant(op)]
    named = [op for op in operators if not _NOT_IN_ONNX.fullmatch(op.get_friendly_name())]
    ports = [op.output(0) for op in named if op.get_output_size()]
    # An operator has the name that it has in ONNX.
    names = {_key(port): port.node.get_friendly_name().removesuffix(_DECODED) for port in ports}
    shapes = {_key(port): shape for port in ports if (shape := _shape(port))}
    return layers_of(list(_steps(operators)), shapes, names)


def _steps(operators: Sequence[Any]) -> Iterator[Step]:
    """The operators; a convolution and the bias added to it are one, as they are in ONNX."""
    for op in operators:
        convolution = _biased(op)
        source = op if convolution is None else convolution
        inputs = (port.get_source_output() for port in source.inputs())
        keys = tuple(_key(port) for port in inputs if not _is_constant(port.node))
        for port in op.outputs():
            yield Step(_kind(source), keys, _key(port))


def _biased(op: Any) -> Any:
    """The convolution whose bias an operator adds; None if it does not."""
    if op.get_type_name() != "Add":
        return None
    sources = [port.get_source_output().node for port in op.inputs()]
    if not any(_is_constant(source) for source in sources):
        return None
    return next((s for s in sources if s.get_type_name() in _WEIGHTED), None)


def _kind(op: Any) -> Kind:
    name = op.get_type_name()
    if name == "FakeQuantize":
        # A ReLU before it is gone where the range begins at zero; its name is left.
        before = op.input(0).get_source_output().node.get_friendly_name()
        return "quantize" if op.get_friendly_name() == before + _DECODED else "activation"
    if name == "Concat":
        return "concat" if op.get_attributes()["axis"] in (1, -3) else "other"
    if name == "GroupConvolution":
        # [groups, outputs of each, inputs of each, height, width]
        return "depthwise" if op.input(1).get_partial_shape()[2] == 1 else "other"
    return _KINDS.get(name, "other")


def _count_ops(operators: Sequence[Any]) -> tuple[OpCount, ...]:
    named = ((op.get_type_name(), op) for op in operators)
    return count_ops(
        OpCount(
            name,
            count=1,
            int8=name in _WEIGHTED and _origin(op.input(0)).get_type_name() == "FakeQuantize",
            macs=_macs(op),
        )
        for name, op in named
        if name not in ("Parameter", "Result")
    )


def _macs(op: Any) -> int:
    """Multiply-accumulates: for each output element, the weights that go into it."""
    name = op.get_type_name()
    if name not in _WEIGHTED:
        return 0
    weights, outputs = _sizes(op.input(1)), _sizes(op.output(0))
    if name == "MatMul":
        return prod(outputs) * (prod(weights) // outputs[-1])
    if name == "ConvolutionBackpropData":
        outputs = _sizes(op.input(0))
    return prod(outputs) * prod(weights[_WEIGHTED[name] :])


def _parameters(op: Any) -> int:
    """Elements of an operator's weights, or of the bias that it adds."""
    if op.get_type_name() in _WEIGHTED:
        return prod(_sizes(op.input(1))) if _is_constant(_origin(op.input(1))) else 0
    if _biased(op) is None:
        return 0
    return sum(prod(_sizes(p)) for p in op.inputs() if _is_constant(p.get_source_output().node))


def _origin(port: Any) -> Any:
    """The operator before what decodes stored numbers, or codes."""
    op = port.get_source_output().node
    while op.get_type_name() in _DECODERS - {"FakeQuantize"} and not _is_constant(op):
        op = op.input(0).get_source_output().node
    return op


def _is_constant(op: Any) -> bool:
    """Whether it is a constant, or made of constants alone."""
    if op.get_type_name() == "Constant":
        return True
    sources = [port.get_source_output().node for port in op.inputs()]
    return op.get_type_name() in _DECODERS and all(map(_is_constant, sources))


def _key(port: Any) -> str:
    return f"{port.node.friendly_name}:{port.get_index()}"


def _sizes(port: Any) -> tuple[int, ...]:
    """Sizes by axis; 0 where the file leaves one open."""
    return tuple(0 if size.is_dynamic else size.get_length() for size in port.get_partial_shape())


def _shape(port: Any) -> Shape | None:
    sizes = _sizes(port)
    if len(sizes) != 4:
        return None
    _, channels, height, width = (size or None for size in sizes)
    return channels, height, width
