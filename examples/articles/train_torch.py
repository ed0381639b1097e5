"""Train the PyTorch form on CIFAR-10, briefly, on the CPU, from a seed.

python examples/articles/train_torch.py --data train.zip --test test.zip --out out/articles
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cifar
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch_networks import attentive

NAME = "attentive_torch"


def to_input(pictures: cifar.Pictures) -> Tensor:
    """float32 [N, 3, 32, 32]."""
    return torch.from_numpy(cifar.normalised(pictures.images).transpose(0, 3, 1, 2).copy())


def train(
    network: nn.Module,
    pictures: cifar.Pictures,
    *,
    epochs: int,
    batch: int = 64,
    rate: float = 4e-3,
    seed: int = 0,
) -> None:
    """Train in place, half the batches mirrored; the last short batch of an epoch is left out."""
    rng = np.random.default_rng(seed)
    images, targets = to_input(pictures), torch.from_numpy(pictures.targets)
    steps = len(images) // batch
    optimizer = torch.optim.Adam(network.parameters(), rate)
    schedule = OneCycleLR(optimizer, rate, epochs * steps)
    criterion = nn.CrossEntropyLoss()
    network.train()
    for epoch in range(1, epochs + 1):
        start, losses = time.perf_counter(), []
        order = torch.from_numpy(rng.permutation(len(images)))
        for rows in order[: steps * batch].reshape(steps, batch):
            x = images[rows].flip(3) if rng.random() < 0.5 else images[rows]
            loss = criterion(network(x), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {np.mean(losses):.3f}, {time.perf_counter() - start:.0f} s")
    network.eval()


@torch.inference_mode()
def accuracy_pct(network: nn.Module, pictures: cifar.Pictures) -> float:
    """Share of the pictures whose top-1 is right, in %."""
    images = to_input(pictures)
    parts = [images[start : start + 250] for start in range(0, len(images), 250)]
    answers = torch.cat([network(part).argmax(1) for part in parts])
    return 100 * float((answers.numpy() == pictures.targets).mean())


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Train the articles' PyTorch network.")
    parser.add_argument("--data", type=Path, required=True, help="folder or zip to train on")
    parser.add_argument("--test", type=Path, required=True, help="folder or zip to score on")
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    pictures, network = cifar.read(args.data, args.images), attentive()
    train(network, pictures, epochs=args.epochs, seed=args.seed)
    folder = args.out / NAME
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folder / f"{NAME}.pt")
    cifar.write_config(folder, pictures.labels)
    score = accuracy_pct(network, cifar.read(args.test))
    print(f"{folder / NAME}.pt: top-1 {score:.2f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
