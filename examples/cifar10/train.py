"""Train the smallest GhostNetV2, GhostNetV3 and RepGhostNet on CIFAR-10, on the CPU, from a seed.

Writes the float16 weights and the ``config.json`` beside them that ``ghostedge convert`` reads, and
scores what it wrote, reloaded from the file, on the test images. The data set is not part of the
project: two folders, ``train`` and ``test``, with a folder of 32 × 32 images per class in each.

    python examples/cifar10/train.py cifar10/ --network repghostnet --out out/repghostnet

``--start`` goes on from weights: a network's own, or for GhostNetV3 those of a GhostNetV2. That has
the same function and trains in less time; the branches that V3 adds to it begin with a scale of 0.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from dataclasses import dataclass, replace
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
from ghostedge_runtime.errors import GhostEdgeError
from ghostedge_runtime.folders import list_labelled
from ghostedge_runtime.images import open_image
from ghostedge_runtime.metadata import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result.

    Attributes:
        network: Called with ``width``, ``num_classes`` and ``dropout``.
        architecture: What ``config.json`` calls it.
        width: The channel multiplier.
        size: Height and width that the images are enlarged to.
        mean: Subtracted from red, green and blue, which are 0 to 1; the networks differ in it on
            purpose.
        std: Divided by then.
        epochs: Passes over the training images.
        batch: Images per step.
        peak_lr: Learning rate of Nesterov's SGD at the top of one cycle.
        weight_decay: Of kernels.
        label_smoothing: Share of a target that is spread over all classes.
        max_shift: Of an image before it is enlarged, in pixels each way.
        seed: Of the weights, of the order of the images and of what is done to them.
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
    max_shift: int = 4
    seed: int = 0

    def new_network(self, classes: int) -> nn.Module:
        """The network with weights from torch's generator."""
        return self.network(width=self.width, num_classes=classes, dropout=0.0)


RECIPES = {
    "ghostnetv2": Recipe(
        GhostNetV2,
        "ghostnetv2_040",
        0.4,
        48,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        epochs=8,
    ),
    "ghostnetv3": Recipe(GhostNetV3, "ghostnetv3_040", 0.4, 48, epochs=8),
    "repghostnet": Recipe(
        RepGhostNet, "repghostnet_050", 0.5, 64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    ),
}


# Where V3 has the weights of a V2: in the first branch of each.
_FIRST_BRANCHES = (
    (r"\.primary_conv\.0\.", ".primary_rpr_conv.0.conv."),
    (r"\.primary_conv\.1\.", ".primary_rpr_conv.0.bn."),
    (r"\.cheap_operation\.0\.", ".cheap_rpr_conv.0.conv."),
    (r"\.cheap_operation\.1\.", ".cheap_rpr_conv.0.bn."),
    (r"\.conv_dw\.", ".dw_rpr_conv.0.conv."),
    (r"\.bn_dw\.", ".dw_rpr_conv.0.bn."),
)
_SCALE = re.compile(r"_rpr_(skip|.*\.bn)\.weight$")  # of the batch norm that ends a branch


def load_images(folder: Path) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Read a folder per class.

    Returns:
        Images, uint8 of shape (N, 3, 32, 32); classes, int64 of shape (N,); and their names.

    Raises:
        ImageError: There is no such folder, or no images in folders of it.
    """
    labelled = list_labelled(folder, None, None)
    pixels = np.stack([np.asarray(open_image(path)) for path in labelled.paths])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor(labelled.targets), labelled.class_names


def to_input(images: Tensor, recipe: Recipe) -> Tensor:
    """Enlarge and normalise uint8 ``[N, 3, 32, 32]`` to float32 ``[N, 3, size, size]``."""
    mean = torch.tensor(recipe.mean).view(3, 1, 1)
    std = torch.tensor(recipe.std).view(3, 1, 1)
    size = (recipe.size, recipe.size)
    large = interpolate(images.float() / 255, size, mode="bilinear")
    return ((large - mean) / std).contiguous(memory_format=torch.channels_last)


def augment(images: Tensor, max_shift: int, rng: np.random.Generator) -> Tensor:
    """Mirror about half of a batch, and shift each image by up to ``max_shift`` pixels.

    What a shift uncovers is the image's own reflection.
    """
    count, _, height, width = images.shape
    padded = pad(images.float(), (max_shift,) * 4, mode="reflect").to(torch.uint8)
    shifts = rng.integers(0, 2 * max_shift + 1, (count, 2))
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
        yield to_input(augment(images[rows], recipe.max_shift, rng), recipe), targets[rows]


def begin(classes: int, recipe: Recipe, start: Mapping[str, Tensor] | None = None) -> nn.Module:
    """The network before training, its random weights from the recipe's seed.

    Args:
        classes: Size of the classifier.
        recipe: Which network.
        start: Weights to take in their place, the network's or a GhostNetV2's for a GhostNetV3.
    """
    torch.manual_seed(recipe.seed)
    network = recipe.new_network(classes)
    if start is not None:
        state = network.state_dict()
        network.load_state_dict(start if start.keys() == state.keys() else branched(state, start))
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return] # torch's stubs lack this form


def branched(state: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a GhostNetV3 in its training form that compute what a GhostNetV2 does.

    Args:
        state: Of the GhostNetV3; its other branches keep their kernels and get a scale of 0.
        start: Of the GhostNetV2.
    """
    weights = {k: torch.zeros_like(v) if _SCALE.search(k) else v for k, v in state.items()}
    for key, value in start.items():
        for pattern, name in _FIRST_BRANCHES:
            key = re.sub(pattern, name, key)  # noqa: PLW2901 - at most one of them applies
        weights[key] = value
    return weights


def train(network: nn.Module, images: Tensor, targets: Tensor, recipe: Recipe) -> nn.Module:
    """Train a network, printing a line per epoch; it comes back in evaluation mode."""
    rng = np.random.default_rng(recipe.seed)
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


def load(path: Path, classes: int, recipe: Recipe) -> nn.Module:
    """Load a checkpoint of `save` as float32, in evaluation mode."""
    network = recipe.new_network(classes)
    network.load_state_dict(load_file(path))
    return network.eval()


@torch.inference_mode()
def accuracy(network: nn.Module, images: Tensor, targets: Tensor, recipe: Recipe) -> float:
    """Share of the images whose top-1 is right."""
    right = 0
    for rows in torch.split(torch.arange(len(images)), 250):
        right += int((network(to_input(images[rows], recipe)).argmax(1) == targets[rows]).sum())
    return right / len(images)


def run(data: Path, recipe: Recipe, folder: Path, start: Path | None = None) -> str:
    """Train on ``data/train``, save, score on ``data/test``; what came of it in one line.

    Raises:
        ImageError: The images are not there.
    """
    began = time.perf_counter()
    images, targets, classes = load_images(data / "train")
    test_images, test_targets, _ = load_images(data / "test")
    network = begin(len(classes), recipe, load_file(start) if start else None)
    save(train(network, images, targets, recipe), classes, recipe, folder)
    seconds = time.perf_counter() - began
    written = load(folder / WEIGHTS, len(classes), recipe)
    score = accuracy(written, test_images, test_targets, recipe)
    return f"{folder / WEIGHTS}: {score:.2%} of {len(test_images)}, {seconds:.0f} s"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Train a small network on CIFAR-10.")
    parser.add_argument("data", type=Path, help="folder with train/ and test/, a folder per class")
    parser.add_argument("--network", choices=RECIPES, required=True)
    parser.add_argument("--start", type=Path, help="a model.safetensors to go on from")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--peak-lr", type=float, help="instead of the recipe's")
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    args = parser.parse_args(arguments)
    recipe = RECIPES[args.network]
    recipe = replace(
        recipe, epochs=args.epochs or recipe.epochs, peak_lr=args.peak_lr or recipe.peak_lr
    )
    torch.set_num_threads(1)
    try:
        print(run(args.data, recipe, args.out, args.start))
    except GhostEdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
