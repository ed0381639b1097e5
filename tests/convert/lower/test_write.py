"""The file itself: equal bytes for equal models, aligned data, names, versions, metadata."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ghostedge_convert.lower import lower_to_tflite
from ghostedge_runtime.formats.tflite.file import read_tflite_metadata
from ghostedge_runtime.metadata import (
    METADATA_KEY,
    ArchitectureInfo,
    InputSpec,
    ModelMetadata,
    Preprocessing,
)

METADATA = ModelMetadata(
    preprocessing=Preprocessing(input_size=(4, 5)),
    input=InputSpec(layout="NHWC", dtype="float32", normalized=True),
    architecture=ArchitectureInfo("ghostnet_100", "ghostnet", 1.0, 3),
    labels=("cat", "dog", "ünïcode"),
)


def small_model(net):
    """Two equal convolutions in a row, a gate, a classifier."""
    network = net()
    weights = np.arange(4, dtype=np.float32).reshape(2, 2, 1, 1)
    x = network.add("Conv", network.input((1, 2, 4, 5), "image"), weights, np.zeros(2, np.float32))
    x = network.add("Conv", network.add("Relu", x), weights.copy(), np.zeros(2, np.float32))
    x = network.add("Flatten", network.add("GlobalAveragePool", x))
    return network.model(network.add("Gemm", x, np.ones((2, 3), np.float32)))


def parsed(data):
    return schema.ModelT.InitFromPackedBuf(data, 0)


def test_equal_models_give_equal_bytes(net):
    first = lower_to_tflite(small_model(net), metadata=METADATA)
    second = lower_to_tflite(small_model(net), metadata=METADATA)
    assert first.data == second.data


def test_constant_data_is_aligned_and_stored_once(net):
    data = lower_to_tflite(small_model(net)).data
    model = schema.Model.GetRootAs(data, 0)
    contents = []
    for i in range(model.BuffersLength()):
        buffer = model.Buffers(i)
        if not buffer.DataIsNone():
            table = buffer._tab
            assert table.Vector(table.Offset(4)) % 16 == 0
            contents.append(buffer.DataAsNumpy().tobytes())
    assert len(contents) == len(set(contents)) > 3
    assert model.Buffers(0).DataIsNone()


def test_the_file_says_what_the_schema_asks(net):
    data = lower_to_tflite(small_model(net)).data
    assert data[4:8] == b"TFL3"
    model = parsed(data)
    assert model.version == 3
    assert {(c.builtinCode, c.deprecatedBuiltinCode, c.version) for c in model.operatorCodes} == {
        (schema.BuiltinOperator.CONV_2D,) * 2 + (1,),
        (schema.BuiltinOperator.MEAN,) * 2 + (1,),
        (schema.BuiltinOperator.RESHAPE,) * 2 + (1,),
        (schema.BuiltinOperator.FULLY_CONNECTED,) * 2 + (1,),
    }


def test_int8_operators_carry_their_int8_versions(net):
    network = net()
    x = network.pair(network.input((1, 4, 6, 6)), 0.1, 0)
    weights, scales = network.weights((4, 1, 3, 3), 0)
    y = network.add("Conv", x, weights, network.bias(scales, 0.1, 0), group=4)
    x = network.pair(y, 0.1, 0)
    y = network.quantize(network.add("Mul", x, x), 0.005, 0)
    model = parsed(lower_to_tflite(network.model(y, dtype=np.int8)).data)
    assert {(c.builtinCode, c.version) for c in model.operatorCodes} == {
        (schema.BuiltinOperator.QUANTIZE, 1),
        (schema.BuiltinOperator.DEPTHWISE_CONV_2D, 3),
        (schema.BuiltinOperator.MUL, 3),  # 0.1 · 0.1 / 0.005 is above one
    }


def test_int8_weights_are_quantized_along_the_output_channels(net):
    network = net()
    x = network.pair(network.input((1, 4, 7, 7)), 0.1, 0)
    depthwise, scales = network.weights((4, 1, 3, 3), 0)
    x = network.pair(network.add("Conv", x, depthwise, group=4), 0.1, 0)
    dense, _ = network.weights((5, 4, 1, 1), 1)
    y = network.quantize(network.add("Conv", x, dense), 0.1, 0)
    graph = parsed(lower_to_tflite(network.model(y, dtype=np.int8)).data).subgraphs[0]
    by_shape = {tuple(t.shape): t.quantization for t in graph.tensors}
    assert by_shape[1, 3, 3, 4].quantizedDimension == 3
    assert by_shape[5, 1, 1, 4].quantizedDimension == 0
    np.testing.assert_array_equal(np.float32(by_shape[1, 3, 3, 4].scale), scales)
    bias = next(t for t in graph.tensors if t.type == schema.TensorType.INT32 and t.quantization)
    np.testing.assert_array_equal(np.float32(bias.quantization.scale), np.float32(0.1) * scales)


def test_tensors_and_the_signature_carry_the_onnx_names(net):
    onnx_model = small_model(net)
    model = parsed(lower_to_tflite(onnx_model).data)
    graph = model.subgraphs[0]
    names = [t.name.decode() for t in graph.tensors]
    assert len(names) == len(set(names))
    output = onnx_model.graph.output[0].name
    assert names[graph.inputs[0]] == "image"
    assert names[graph.outputs[0]] == output
    signature = model.signatureDefs[0]
    assert signature.signatureKey == b"serving_default"
    assert [(m.name, m.tensorIndex) for m in signature.inputs] == [(b"image", graph.inputs[0])]
    assert [(m.name, m.tensorIndex) for m in signature.outputs] == [
        (output.encode(), graph.outputs[0])
    ]


def test_metadata_comes_back_as_it_went_in(net):
    data = lower_to_tflite(small_model(net), metadata=METADATA).data
    assert read_tflite_metadata(data, "small") == METADATA
    names = [m.name.decode() for m in parsed(data).metadata]
    assert names == ["min_runtime_version", METADATA_KEY]


def test_a_file_without_metadata_says_nothing(net):
    assert read_tflite_metadata(lower_to_tflite(small_model(net)).data, "small") is None
