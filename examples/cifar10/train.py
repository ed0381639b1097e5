"""Train the smallest GhostNetV2, GhostNetV3 and RepGhostNet on CIFAR-10, on the CPU, from a seed.

Writes the float16 weights and the ``config.json`` beside them that ``ghostedge convert`` reads, and
scores what it wrote, reloaded from the file, on the test images. The data set is a folder per class
of 32 × 32 images in ``train/`` and in ``test/``; it is not part of the project.

    python examples/cifar10/train.py cifar10/ --network repghostnet --out out/repghostnet
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad
from torch.optim.lr_scheduler import OneCycleLR

from ghostedge_convert.architectures.ghostnetv2 import GhostNetV2
from ghostedge_convert.architectures.ghostnetv3 import GhostNetV3
from ghostedge_convert.architectures.repghost import RepGhostNet
from ghostedge_runtime.images import open_image
from ghostedge_runtime.metadata import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


WEIGHTS = "model.safetensors"
MAX_SHIFT = 4  # pixels of the 32 × 32 image, each way


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result.

    Attributes:
        network: Called with ``width``, ``num_classes`` and ``dropout``.
        architecture: What ``config.json`` calls it.
        width: The channel multiplier.
        size: Height and width that the images are enlarged to.
        mean: Of the three colours, as a share of 255; the networks differ in it on purpose.
        std: Likewise.
    """

    network: Callable[..., nn.Module]
    architecture: str
    width: float
    size: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    epochs: int = 12
    batch: int = 96
    peak_lr: float = 0.2
    weight_decay: float = 5e-5
    label_smoothing: float = 0.05
    seed: int = 0


RECIPES = {
    "ghostnetv2": Recipe(
        GhostNetV2,
        "ghostnetv2_050",
        0.5,
        64,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    ),
    "ghostnetv3": Recipe(GhostNetV3, "ghostnetv3_040", 0.4, 48, epochs=10),
    "repghostnet": Recipe(
        RepGhostNet, "repghostnet_050", 0.5, 64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    ),
}


def load_images(folder: Path) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Read a folder per class.

    Returns:
        Images, uint8 of shape (N, 3, 32, 32); classes, int64 of shape (N,); and their names.
    """
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    pixels, targets = [], []
    for index, name in enumerate(classes):
        for path in sorted((folder / name).iterdir()):
            pixels.append(np.asarray(open_image(path)))
            targets.append(index)
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor(targets), tuple(classes)


def to_input(images: Tensor, recipe: Recipe) -> Tensor:
    """Enlarge and normalise uint8 ``[N, 3, 32, 32]`` to float32 ``[N, 3, size, size]``."""
    mean = torch.tensor(recipe.mean).view(3, 1, 1)
    std = torch.tensor(recipe.std).view(3, 1, 1)
    size = (recipe.size, recipe.size)
    large = interpolate(images.float() / 255, size, mode="bilinear").clamp(0, 1)
    return ((large - mean) / std).contiguous(memory_format=torch.channels_last)


def augment(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Mirror half of a batch, and shift each image by up to ``MAX_SHIFT`` pixels."""
    count, _, height, width = images.shape
    padded = pad(images.float(), (MAX_SHIFT,) * 4, mode="reflect").to(torch.uint8)
    shifts = rng.integers(0, 2 * MAX_SHIFT + 1, (count, 2))
    cut = [
        image[:, y : y + height, x : x + width]
        for image, (y, x) in zip(padded, shifts, strict=True)
    ]
    mirrored = torch.from_numpy(rng.random(count) < 0.5).view(-1, 1, 1, 1)
    batch = torch.stack(cut)
    return torch.where(mirrored, batch.flip(3), batch)


def new_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Decay kernels only: batch norm's scales and the biases keep their size."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if p.ndim > 1]},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        groups, recipe.peak_lr, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )


def batches(
    images: Tensor, targets: Tensor, recipe: Recipe, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch of shuffled, augmented batches; the last short one is left out."""
    order = torch.from_numpy(rng.permutation(len(images)))
    for step in range(len(images) // recipe.batch):
        rows = order[step * recipe.batch : (step + 1) * recipe.batch]
        yield to_input(augment(images[rows], rng), recipe), targets[rows]


def train(images: Tensor, targets: Tensor, classes: int, recipe: Recipe) -> nn.Module:
    """Train a network, printing a line per epoch."""
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    network = recipe.network(width=recipe.width, num_classes=classes, dropout=0.0)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stubs lack this form
    optimizer = new_optimizer(network, recipe)
    steps = recipe.epochs * (len(images) // recipe.batch)
    schedule = OneCycleLR(optimizer, recipe.peak_lr, steps, pct_start=0.2)
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    start = time.perf_counter()
    for epoch in range(1, recipe.epochs + 1):
        losses = []
        for batch, wanted in batches(images, targets, recipe, rng):
            loss = criterion(network(batch), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        seconds = time.perf_counter() - start
        print(f"epoch {epoch:2d}  loss {np.mean(losses):.4f}  {seconds:6.0f} s", flush=True)
    return network.eval()


def save(network: nn.Module, classes: Sequence[str], recipe: Recipe, folder: Path) -> None:
    """Write float16 weights and ``config.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: _compact(value) for key, value in network.state_dict().items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    text = json.dumps(config(classes, recipe), indent=2)
    (folder / "config.json").write_text(f"{text}\n", encoding="utf-8")


def _compact(value: Tensor) -> Tensor:
    value = value.contiguous(memory_format=torch.contiguous_format)
    return value.half() if value.is_floating_point() else value


def config(classes: Sequence[str], recipe: Recipe) -> dict[str, object]:
    """Describe the checkpoint by the convention of Hugging Face and timm."""
    return {
        "architecture": recipe.architecture,
        "num_classes": len(classes),
        "pretrained_cfg": {
            "input_size": [3, recipe.size, recipe.size],
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "mean": recipe.mean,
            "std": recipe.std,
            "num_classes": len(classes),
            "label_names": list(classes),
        },
    }


@torch.inference_mode()
def accuracy(network: nn.Module, images: Tensor, targets: Tensor, recipe: Recipe) -> float:
    """Share of the images whose top-1 is right."""
    right = 0
    for rows in torch.split(torch.arange(len(images)), 250):
        right += int((network(to_input(images[rows], recipe)).argmax(1) == targets[rows]).sum())
    return right / len(images)


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Train a small network on CIFAR-10.")
    parser.add_argument("data", type=Path, help="folder with train/ and test/, a folder per class")
    parser.add_argument("--network", choices=RECIPES, required=True)
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    args = parser.parse_args()
    recipe = RECIPES[args.network]
    torch.set_num_threads(1)
    start = time.perf_counter()
    images, targets, classes = load_images(args.data / "train")
    save(train(images, targets, len(classes), recipe), classes, recipe, args.out)
    seconds = time.perf_counter() - start
    written = recipe.network(width=recipe.width, num_classes=len(classes), dropout=0.0).eval()
    written.load_state_dict(load_file(args.out / WEIGHTS))
    test_images, test_targets, _ = load_images(args.data / "test")
    score = accuracy(written, test_images, test_targets, recipe)
    print(f"{args.out / WEIGHTS}: {score:.2%} of {len(test_images)}, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
