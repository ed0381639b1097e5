"""Single layers in TFLite, each in float32, int8 and int16 activations, by TensorFlow's converter.

int16 is the converter's mode of 16-bit activations with 8-bit weights ("16x8"). Inputs and outputs
are of the activations' type, so that a file holds the layer and nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

PRECISIONS = {
    "int8": (tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.int8),
    "int16": (
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        tf.int16,
    ),
}
SAMPLES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=Path, required=True, help="NAME.npz: kind, weight, …")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    for file in sorted(args.layers.glob("*.npz")):
        layer = np.load(file)
        for precision in ("float32", *PRECISIONS):
            data = _convert(layer, precision)
            (args.output / f"{file.stem}_{precision}.tflite").write_bytes(data)


def _convert(layer: np.lib.npyio.NpzFile, precision: str) -> bytes:
    shape = layer["shape"].tolist()
    signature = tf.TensorSpec(shape, tf.float32)
    call = _function(layer)
    concrete = tf.function(call, input_signature=[signature]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    if precision != "float32":

        def representative() -> Iterator[list[np.ndarray]]:
            random = np.random.default_rng(1)
            for _ in range(SAMPLES):
                yield [random.normal(size=shape).astype(np.float32)]

        ops, dtype = PRECISIONS[precision]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [ops]
        converter.inference_input_type = converter.inference_output_type = dtype
    return bytes(converter.convert())


def _function(layer: np.lib.npyio.NpzFile) -> Callable[[tf.Tensor], tf.Tensor]:
    kind, stride = str(layer["kind"]), int(layer["stride"])
    weight, bias = tf.constant(layer["weight"]), tf.constant(layer["bias"])

    def conv(x: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(tf.nn.conv2d(x, weight, stride, "SAME") + bias)

    def depthwise(x: tf.Tensor) -> tf.Tensor:
        steps = [1, stride, stride, 1]
        return tf.nn.relu(tf.nn.depthwise_conv2d(x, weight, steps, "SAME") + bias)

    def dense(x: tf.Tensor) -> tf.Tensor:
        return tf.matmul(x, weight) + bias

    return {"conv": conv, "depthwise": depthwise, "dense": dense}[kind]


if __name__ == "__main__":
    main()
