"""Train the bundled checkpoint: GhostNet 0.5x on drawn glyphs, on the CPU, from a seed.

Writes the float16 weights and the ``config.json`` beside them that ``ghostedge convert`` reads, and
scores what it wrote, reloaded from the file, on images that no training step has seen. It is one
recipe for one network, not a training framework.

    python examples/glyphs/train.py --out out/glyphs-model
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from generate import LABELS, make_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.optim.lr_scheduler import OneCycleLR

from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_runtime.metadata import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

WEIGHTS = "ghostnet_050_glyphs.safetensors"
WIDTH = 0.5
SIZE = 64
TRAIN_SEED, UNSEEN_SEED = 1001, 1002


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result, the number of processes included."""

    images: int = 48_000
    epochs: int = 8
    processes: int = 2  # single-threaded ones: the layers are too small to share among threads
    batch: int = 48  # per process
    peak_lr: float = 0.15
    weight_decay: float = 5e-5
    label_smoothing: float = 0.05
    max_shift: int = 4  # pixels, each way
    seed: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps, each on one batch per process."""
        return self.images // self.processes // self.batch


def new_network() -> GhostNet:
    """GhostNet 0.5x for the 36 glyphs, in the memory format that is fastest on a CPU."""
    network = GhostNet(width=WIDTH, num_classes=len(LABELS), dropout=0.0)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return] # torch's stubs lack this form


def to_input(images: Tensor) -> Tensor:
    """Normalise uint8 ``[N, H, W, 3]`` to float32 ``[N, 3, H, W]``, channels last in memory."""
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)


def augment(images: Tensor, max_shift: int, rng: np.random.Generator) -> Tensor:
    """Shift a batch, swap its colour channels and, half the time, invert it.

    None of these changes which glyph is seen. One draw serves a whole batch of uint8
    ``[N, H, W, 3]``: that costs one pass over memory and the batches differ enough.
    """
    size = images.shape[1]
    padded = torch.nn.functional.pad(
        images.permute(0, 3, 1, 2).float(), (max_shift,) * 4, mode="replicate"
    )
    y, x = rng.integers(0, 2 * max_shift + 1, 2)
    order = torch.from_numpy(rng.permutation(3))
    cut = padded[:, order, y : y + size, x : x + size].to(torch.uint8).permute(0, 2, 3, 1)
    return 255 - cut if rng.random() < 0.5 else cut


def batches(
    images: NDArray[np.uint8], targets: NDArray[np.int64], recipe: Recipe, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch of shuffled, augmented batches; the last short one is left out."""
    order = rng.permutation(len(images))
    for step in range(recipe.steps_per_epoch):
        rows = order[step * recipe.batch : (step + 1) * recipe.batch]
        batch = augment(torch.from_numpy(images[rows]), recipe.max_shift, rng)
        yield to_input(batch), torch.from_numpy(targets[rows])


def new_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Decay kernels only: batch norm's scales and the biases keep their size."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if p.ndim > 1]},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        groups, recipe.peak_lr, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )


def average_gradients(network: nn.Module) -> None:
    """Replace each gradient by its mean over the processes, in one exchange."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, mean in zip(
        gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True
    ):
        gradient.copy_(mean.view_as(gradient))


def train_share(rank: int, recipe: Recipe, folder: Path, store: str) -> None:
    """Train on one process's share of the images; the first process prints and saves.

    The processes average their gradients each step. Batch norm's running statistics are the first
    process's own: the shares are alike.
    """
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=recipe.processes
    )
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng((recipe.seed, rank))
    share = recipe.images // recipe.processes
    data = make_arrays(TRAIN_SEED, range(rank * share, (rank + 1) * share), SIZE)
    network = new_network()
    optimizer = new_optimizer(network, recipe)
    schedule = OneCycleLR(
        optimizer, recipe.peak_lr, recipe.epochs * recipe.steps_per_epoch, pct_start=0.2
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    start = time.perf_counter()
    for epoch in range(1, recipe.epochs + 1):
        losses = []
        for batch, wanted in batches(*data, recipe, rng):
            loss = criterion(network(batch), wanted)
            optimizer.zero_grad()
            loss.backward()
            average_gradients(network)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        if rank == 0:
            seconds = time.perf_counter() - start
            print(f"epoch {epoch:2d}  loss {np.mean(losses):.4f}  {seconds:6.0f} s", flush=True)
    if rank == 0:
        save(network, folder)
    distributed.destroy_process_group()


def save(network: GhostNet, folder: Path) -> None:
    """Write float16 weights and ``config.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: _compact(value) for key, value in network.state_dict().items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config(), indent=2) + "\n")


def _compact(value: Tensor) -> Tensor:
    value = value.contiguous(memory_format=torch.contiguous_format)
    return value.half() if value.is_floating_point() else value


def config() -> dict[str, object]:
    """Describe the checkpoint by the convention of Hugging Face and timm."""
    return {
        "architecture": "ghostnet_050",
        "num_classes": len(LABELS),
        "pretrained_cfg": {
            "input_size": [3, SIZE, SIZE],
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
            "num_classes": len(LABELS),
            "label_names": LABELS,
        },
    }


def load(path: Path) -> GhostNet:
    """Load a checkpoint of ``save`` as float32, in evaluation mode."""
    network = new_network()
    network.load_state_dict(load_file(path))
    return network.eval()


@torch.inference_mode()
def accuracy(network: GhostNet, *, count: int, seed: int) -> float:
    """Share of ``count`` images, drawn from ``seed``, whose top-1 is right."""
    images, targets = make_arrays(seed, range(count), SIZE)
    right = 0
    for start in range(0, count, 250):
        logits = network(to_input(torch.from_numpy(images[start : start + 250])))
        right += int((logits.argmax(1).numpy() == targets[start : start + 250]).sum())
    return right / count


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Train GhostNet 0.5x on drawn glyphs.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="output folder")
    parser.add_argument("--images", type=int, default=Recipe.images)
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    args = parser.parse_args()
    recipe = Recipe(images=args.images, epochs=args.epochs)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        share = (recipe, args.out, f"{scratch}/store")
        spawn(train_share, share, recipe.processes)  # type: ignore[no-untyped-call] # torch's own
    seconds = time.perf_counter() - start
    score = accuracy(load(args.out / WEIGHTS), count=5000, seed=UNSEEN_SEED)
    print(f"{args.out / WEIGHTS}: {score:.2%} of 5000 unseen images, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
