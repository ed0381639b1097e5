"""Keras models of many layers, what TensorFlow answers, and what its own conversion does.

Run as ``python make_models.py FOLDER IMAGES.npz [NAME…]`` in a process with TensorFlow;
``IMAGES.npz`` has uint8 images by size, ``64x64`` and ``48x32``; without names it makes all. Each
model is saved as ``NAME.keras``, ``NAME.h5`` and the SavedModel ``NAME/``; in ``NAME.npz`` are, for
each output, TensorFlow's values and those of TensorFlow's interpreter on its own TFLite conversion.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

Tensor = Any


def _normed(x: Tensor, activation: str | None = "relu") -> Tensor:
    x = layers.BatchNormalization()(x)
    return x if activation is None else layers.Activation(activation)(x)


def _ghost(x: Tensor, channels: int, activation: str | None = "relu") -> Tensor:
    conv = layers.Conv2D(channels // 2, 1, use_bias=False)
    primary = _normed(conv(x), activation)
    cheap = layers.DepthwiseConv2D(3, padding="same", use_bias=False)
    return layers.Concatenate()([primary, _normed(cheap(primary), activation)])


def _squeeze_excite(x: Tensor) -> Tensor:
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(x.shape[-1] // 4, 1, activation="relu")(gate)
    gate = layers.Conv2D(x.shape[-1], 1, activation="hard_sigmoid")(gate)
    return layers.Multiply()([x, gate])


def _bottleneck(x: Tensor, inner: int, outer: int, stride: int, *, gated: bool) -> Tensor:
    y = _ghost(x, inner)
    if stride == 2:
        conv = layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)
        y = _normed(conv(y), None)
    y = _ghost(_squeeze_excite(y) if gated else y, outer, None)
    if stride == 1 and x.shape[-1] == outer:
        return layers.Add()([x, y])
    conv = layers.DepthwiseConv2D(5, strides=stride, padding="same", use_bias=False)
    x = _normed(conv(x), None)
    x = _normed(layers.Conv2D(outer, 1, use_bias=False)(x), None)
    return layers.Add()([x, y])


def ghostnet() -> keras.Model:
    """A small GhostNet over raw pixels, with a softmax head."""
    images = keras.Input((64, 64, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(images)
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(x)
    x = _bottleneck(_normed(x), 16, 16, 1, gated=False)
    x = _bottleneck(x, 48, 24, 2, gated=True)
    x = _bottleneck(x, 64, 24, 1, gated=True)
    x = layers.SeparableConv2D(40, 3, padding="same", depth_multiplier=2, activation="relu6")(x)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, layers.Dense(10, activation="softmax")(x))


def flattened() -> keras.Model:
    """Not square, normalised by statistics, flattened to dense layers, as a Sequential."""
    statistics = {"mean": [120.0, 110.0, 100.0], "variance": [3600.0, 3000.0, 2500.0]}
    return keras.Sequential(
        [
            keras.Input((48, 32, 3)),
            layers.Normalization(**statistics),
            layers.ZeroPadding2D(((2, 1), (0, 3))),
            layers.Conv2D(8, 5, strides=2, padding="valid", activation="relu"),
            layers.MaxPooling2D(3, 2, padding="same"),
            layers.Conv2D(12, 3, padding="same", dilation_rate=2),
            layers.ReLU(),
            layers.AveragePooling2D(3, 2, padding="same"),
            layers.Flatten(),
            layers.Dense(20, activation="relu"),
            layers.Dense(5),
        ]
    )


def gates() -> keras.Model:
    """Gates made of dense layers, before and after a reshape; a batch norm on its own."""
    images = keras.Input((64, 64, 3))
    x = layers.Conv2D(12, 3, strides=2, padding="same")(images)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="relu")(x)
    squeezed = layers.Dense(6, activation="relu")(layers.GlobalAveragePooling2D()(x))
    gate = layers.Reshape((1, 1, 24))(layers.Dense(24, activation="sigmoid")(squeezed))
    x = layers.Multiply()([x, gate])
    x = layers.BatchNormalization()(layers.Add()([x, layers.MaxPooling2D(3, 1, "same")(x)]))
    whole = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = x * layers.Dense(24, activation="sigmoid")(layers.Dense(8, activation="silu")(whole))
    x = layers.Conv2D(16, 3, strides=2, padding="same")(x)
    return keras.Model(images, layers.Dense(7)(layers.GlobalMaxPooling2D()(x)))


def pyramid() -> keras.Model:
    """Two outputs: a feature map and scores."""
    images = keras.Input((64, 64, 3))
    x = layers.Rescaling(1 / 255)(images)
    fine = layers.Conv2D(8, 3, strides=2, padding="same", activation="elu")(x)
    coarse = layers.Conv2D(16, 3, strides=2, padding="same")(fine)
    coarse = layers.LeakyReLU(negative_slope=0.1)(coarse)
    up = layers.UpSampling2D(2, interpolation="bilinear")(layers.Conv2D(8, 1)(coarse))
    maps = layers.Add(name="maps")([fine, up])
    scores = layers.Dense(4, name="scores")(layers.GlobalAveragePooling2D()(coarse))
    return keras.Model(images, {"maps": maps, "scores": scores})


def activations() -> keras.Model:
    """Every activation that small networks use, an output each."""
    images = keras.Input((48, 32, 3))
    x = layers.Conv2D(8, 3, strides=4, padding="same")(layers.Rescaling(1 / 64, -2.0)(images))
    named = ("elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "softsign", "tanh", "relu6")
    named += ("hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu", "log_softmax", "log_sigmoid")
    ends = {name: layers.Activation(name)(x) for name in (*named, "exponential", "squareplus")}
    slopes = keras.initializers.RandomUniform(0.05, 0.5)
    ends["prelu"] = layers.PReLU(slopes)(x)
    ends["prelu_shared"] = layers.PReLU(slopes, shared_axes=[1, 2])(x)
    ends["elu_layer"] = layers.ELU(0.7)(x)
    ends["relu_bounds"] = layers.ReLU(max_value=1.5, negative_slope=0.1, threshold=0.2)(x)
    return keras.Model(images, ends)


def decoder() -> keras.Model:
    """What makes images larger, smaller or cuts them, and norms, an output each."""
    images = keras.Input((48, 32, 3))
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, strides=4, padding="same")(images))
    ends = {
        f"transposed_{padding}_{kernel}": layers.Conv2DTranspose(
            6, kernel, strides=2, padding=padding, bias_initializer="glorot_normal"
        )(x)
        for padding in ("same", "valid")
        for kernel in (2, 3, 4)
    }
    more = layers.Conv2DTranspose(6, 3, strides=2, padding="same", output_padding=1)
    ends["transposed_more"] = more(x)
    for name in ("nearest", "bilinear"):
        ends[f"up_{name}"] = layers.UpSampling2D((2, 3), interpolation=name)(x)
        ends[f"resized_{name}"] = layers.Resizing(18, 13, interpolation=name)(x)
    ends["padded"] = layers.Conv2D(4, 3)(layers.ZeroPadding2D(((1, 0), (0, 2)))(x))
    ends["cropped"] = layers.Cropping2D(((1, 2), (0, 1)))(x)
    ends["group_norm"] = layers.GroupNormalization(4)(x)
    ends["instance_norm"] = layers.GroupNormalization(-1)(x)
    ends["layer_norm"] = layers.LayerNormalization()(x)
    ends["rms_norm"] = layers.RMSNormalization()(x)
    ends["unit_norm"] = layers.UnitNormalization()(x)
    ends["separable"] = layers.SeparableConv2D(6, 3, padding="same", depth_multiplier=2)(x)
    ends["dilated"] = layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")(x)
    rows = layers.Permute((3, 1, 2))(layers.Reshape((24, 16, 2))(x))
    ends["shuffled"] = layers.Reshape((24, 16, 2))(layers.Permute((2, 3, 1))(rows))
    return keras.Model(images, ends)


def tokens() -> keras.Model:
    """One-dimensional layers, products and merges, an output each."""
    images = keras.Input((48, 32, 3))
    x = layers.Conv2D(8, 3, strides=8, padding="same")(images)
    y = layers.Conv2D(8, 1, strides=8)(images)
    one, other = layers.Reshape((-1, 8))(x), layers.Reshape((-1, 8))(y)
    gate = layers.Reshape((8, 1))(layers.GlobalAveragePooling2D()(x))
    gate = layers.Conv1D(1, 3, padding="same", activation="sigmoid")(gate)
    whole = layers.GlobalMaxPooling2D(keepdims=True)(x)
    merges = ("Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
    means = keras.ops.mean(x, axis=-1, keepdims=True), keras.ops.max(x, axis=-1, keepdims=True)
    places = layers.Conv2D(1, 3, padding="same", activation="sigmoid")(layers.Concatenate()(means))
    return keras.Model(
        images,
        {
            **{name.lower(): getattr(layers, name)()([x, y]) for name in merges},
            "conv1d": layers.GlobalAveragePooling1D()(layers.Conv1D(6, 5, strides=2)(one)),
            "pooled1d": layers.AveragePooling1D(2)(layers.MaxPooling1D(2)(one)),
            "eca": layers.Multiply()([x, layers.Reshape((1, 1, 8))(gate)]),
            "cbam": x * places,
            "dot": layers.Dot(axes=(2, 2))([one, other]),
            "attended": layers.MultiHeadAttention(2, 4)(one, layers.LayerNormalization()(other)),
            "cosine": layers.Dot(1, normalize=True)([layers.Flatten()(x), layers.Flatten()(y)]),
            "repeated": layers.RepeatVector(3)(layers.Flatten()(whole)),
            "dropped": layers.SpatialDropout2D(0.3)(layers.GaussianNoise(0.1)(x)),
            "cut": x[:, 1:-1, ::2, 3] + 0.5,
        },
    )


LAYERS = ("activations", "decoder", "tokens")
"""Models whose outputs are single layers; TensorFlow's own conversion of them is not asked for."""

MODELS: dict[str, Callable[[], keras.Model]] = {
    "ghostnet": ghostnet,
    "flattened": flattened,
    "gates": gates,
    "pyramid": pyramid,
    "activations": activations,
    "decoder": decoder,
    "tokens": tokens,
}


def vary(model: keras.Model, images: np.ndarray) -> None:
    """Give batch norms parameters of their own and the statistics of real images."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
            layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
            layer.beta.assign(rng.normal(0, 0.3, layer.beta.shape))
    model(images, training=True)


def tflite_answers(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    """What TensorFlow's interpreter makes of TensorFlow's own float conversion."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    interpreter = tf.lite.Interpreter(model_content=converter.convert(), num_threads=1)
    interpreter.allocate_tensors()
    rows: list[list[np.ndarray]] = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        rows.append(
            [interpreter.get_tensor(d["index"])[0] for d in interpreter.get_output_details()]
        )
    return [np.stack(column) for column in zip(*rows, strict=True)]


def main(folder: Path, pixels: dict[str, np.ndarray], names: list[str]) -> None:
    """Write the models and their answers."""
    for name in names or list(MODELS):
        keras.utils.set_random_seed(0)
        model = MODELS[name]()
        height, width = model.input_shape[1:3]
        images = pixels[f"{height}x{width}"].astype(np.float32)
        # A model without a rescaling of its own gets what most training scripts feed: 0 to 1.
        images = images / 255 if name in ("gates", "decoder", "tokens") else images
        vary(model, images)
        found = model(images, training=False)
        outputs = found if isinstance(found, dict) else {"logits": found}
        answers = {key: value.numpy() for key, value in outputs.items()}
        own = {}
        if name not in LAYERS:
            by_shape = {each.shape: each for each in tflite_answers(model, images)}
            own = {f"tflite_{key}": by_shape[value.shape] for key, value in answers.items()}
        np.savez(folder / f"{name}.npz", images=images, **answers, **own)
        model.save(folder / f"{name}.keras")
        model.save(folder / f"{name}.h5")
        model.export(folder / name, verbose=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), dict(np.load(sys.argv[2])), sys.argv[3:])
