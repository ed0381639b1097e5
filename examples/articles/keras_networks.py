"""The articles' three Keras networks: channels last, as Keras has it, logits out.

Where an article leaves a number open it is chosen so that a CPU trains the network in minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import layers

SHAPE = (32, 32, 3)


def parallel_streams(classes: int = 10, width: int = 16) -> keras.Model:
    """Three modules side by side, flattened into a dense classifier (functional).

    A module is two streams of 3×3 conv and pool, concatenated, and a third conv that fuses them.
    """
    image = keras.Input(SHAPE, name="input")

    def module() -> Any:
        streams = [
            layers.MaxPooling2D(2)(
                layers.Conv2D(width, 3, padding="same", activation="relu")(image)
            )
            for _ in range(2)
        ]
        both = layers.Concatenate()(streams)
        return layers.Conv2D(width, 3, padding="same", activation="relu")(both)

    features = layers.Flatten()(layers.Concatenate()([module() for _ in range(3)]))
    hidden = layers.Dense(64, activation="relu")(features)
    return keras.Model(image, layers.Dense(classes, name="logits")(hidden), name="parallel_streams")


@keras.saving.register_keras_serializable("articles")
class AddedStreams(layers.Layer):  # type: ignore[misc] # keras has no types
    """Two streams of 3×3 conv and pool, added; a 3×3 conv of twice the width, batch norm, ReLU.

    Args:
        width: Channels of a stream.
    """

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.streams = [
            layers.Conv2D(width, 3, padding="same", activation="relu") for _ in range(2)
        ]
        self.pools = [layers.MaxPooling2D(3, strides=1, padding="same") for _ in range(2)]
        self.fuse = layers.Conv2D(2 * width, 3, padding="same", use_bias=False)
        self.norm = layers.BatchNormalization()

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build every part, so that a saved file holds them all."""
        stream = (*input_shape[:-1], self.width)
        for conv in self.streams:
            conv.build(input_shape)
        self.fuse.build(stream)
        self.norm.build((*input_shape[:-1], 2 * self.width))
        super().build(input_shape)

    def call(self, x: Any, training: bool = False) -> Any:
        """[N, H, W, C] → [N, H, W, 2·width]."""
        one, two = (pool(conv(x)) for pool, conv in zip(self.pools, self.streams, strict=True))
        return keras.ops.relu(self.norm(self.fuse(one + two), training=training))

    def get_config(self) -> dict[str, Any]:
        """What a saved file needs to make the layer again."""
        return {**super().get_config(), "width": self.width}


def added_streams(classes: int = 10, width: int = 16) -> keras.Model:
    """``AddedStreams`` stacked with max pools, a global average pool and a classifier."""
    image = x = keras.Input(SHAPE, name="input")
    for factor in (1, 2, 4):
        x = layers.MaxPooling2D(2)(AddedStreams(factor * width)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(classes, name="logits")(x), name="added_streams")


def attentive_module(x: Any, channels: int) -> Any:
    """Conv stream and max-pool stream; a softmax over channels weighs the pooled one.

    The article adds the input to the concatenation, whose channels are more: a 1×1 projection
    makes them as many.
    """
    convolved = layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
    pooled = layers.MaxPooling2D(3, strides=1, padding="same")(x)
    both = layers.Concatenate()([convolved, pooled])
    weights = layers.Softmax(axis=-1)(layers.Conv2D(x.shape[-1], 1)(both))
    weighted = layers.Concatenate()([convolved, layers.Multiply()([pooled, weights])])
    return layers.Add()([weighted, layers.Conv2D(weighted.shape[-1], 1)(x)])


def attentive(classes: int = 10, width: int = 32) -> keras.Model:
    """Three attentive modules with pools between them, averaged and classified (functional)."""
    image = keras.Input(SHAPE, name="input")
    x = layers.MaxPooling2D(2)(attentive_module(image, width - SHAPE[-1]))
    x = layers.MaxPooling2D(2)(attentive_module(x, width))
    x = layers.GlobalAveragePooling2D()(attentive_module(x, 2 * width))
    return keras.Model(image, layers.Dense(classes, name="logits")(x), name="attentive")


NETWORKS: Mapping[str, Callable[[], keras.Model]] = {
    "parallel_streams": parallel_streams,
    "added_streams": added_streams,
    "attentive": attentive,
}
