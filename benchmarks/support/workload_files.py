"""Write a workload's files: photos gathered or drawn, weights seeded or read, ONNX exported.

Run as ``python -m support.workload_files``; ``about.json`` is written last and so says that the
rest is there.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from PIL import Image, ImageOps
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by

from ghostedge_convert import Checkpoint, build, export_onnx, identify, load_checkpoint
from ghostedge_convert.architectures.ghostnet import SqueezeExcite
from ghostedge_convert.architectures.table import parse_architecture
from ghostedge_runtime.images import list_images, normalize, open_image, prepare
from ghostedge_runtime.metadata import Preprocessing
from support.workload import ABOUT, SEED, Workload, add_arguments

PREPROCESSING = Preprocessing()
CLASSES = 1000
GENERATED_SIZE = (320, 256)  # width and height in pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--architecture", required=True)
    add_arguments(parser, photos=Path())
    args = parser.parse_args()
    loaded = load_checkpoint(args.checkpoint) if args.checkpoint else None
    inputs = Workload(
        folder=args.folder,
        architecture=identify(loaded).name if loaded else args.architecture,
        photos=args.photo_count,
        photo_source=_collect_photos(args.photos, args.folder / "photos", args.photo_count),
        weights_source=str(args.checkpoint or f"random, seed {SEED}, batch norm from the photos"),
    )
    _write_models(inputs, loaded)
    about = {key: value for key, value in asdict(inputs).items() if key != "folder"}
    (args.folder / ABOUT).write_text(json.dumps(about), encoding="utf-8")


class _PublishedGate(SqueezeExcite):
    """The gate spelt as in Huawei's and timm's code, which is what a peer's users feed it.

    The same function; but onnx2tf turns a HardSigmoid node into an operator that leaves XNNPACK,
    and this into ones that stay, so anything else would be unfair to it.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = self.conv_expand(F.relu(self.conv_reduce(F.adaptive_avg_pool2d(x, 1))))
        return x * (F.relu6(gate + 3) / 6)


def _collect_photos(source: Path, folder: Path, count: int) -> str:
    """Fill ``folder`` with ``count`` pictures and say in words what they are.

    Photos of ``source`` first, then their mirror images, then generated pictures.
    """
    folder.mkdir(parents=True)
    originals = list(islice(list_images(source), count)) if source.is_dir() else []
    mirrored = originals[: count - len(originals)]
    for number, photo in enumerate(originals):
        shutil.copyfile(photo, folder / f"{number:04}{photo.suffix}")
    for number, photo in enumerate(mirrored, len(originals)):
        ImageOps.mirror(open_image(photo)).save(folder / f"{number:04}.png")
    rng = np.random.default_rng(SEED)
    done = len(originals) + len(mirrored)
    for number in range(done, count):
        _generated(rng).save(folder / f"{number:04}.png")
    return f"{len(originals)} photos, {len(mirrored)} mirrored, {count - done} generated"


def _write_models(workload: Workload, loaded: Checkpoint | None) -> None:
    """Write ``calibration.npy``, the state_dict and the ONNX model of the workload."""
    photos = list_images(workload.photo_folder)
    images = np.stack([prepare(photo, PREPROCESSING) for photo in photos])
    np.save(workload.calibration, images)
    if loaded:
        module = build(loaded, identify(loaded))
    else:
        module = seeded(workload.architecture, normalize(images, PREPROCESSING))
    torch.save(module.state_dict(), workload.checkpoint)
    exported = export_onnx(as_published(module), input_size=PREPROCESSING.input_size)
    onnx.save(exported, workload.onnx)


def as_published(module: torch.nn.Module) -> torch.nn.Module:
    """The module itself, its gates now spelt as published."""
    for layer in module.modules():
        if isinstance(layer, SqueezeExcite):
            layer.__class__ = _PublishedGate
    return module


def seeded(architecture: str, images: npt.NDArray[np.float32]) -> torch.nn.Module:
    """A network with random weights as trained ones are deployed, branches fused.

    Args:
        architecture: Its name, such as ``repghostnet_100``.
        images: [N, H, W, 3], normalised, of which the batch norms take their statistics.
    """
    family, size = parse_architecture(architecture)
    if size is None:
        raise SystemExit(f"{architecture} has no size: one of {', '.join(family.published())}")
    torch.manual_seed(SEED)
    module = family.forms[0].network(**dict(size.options), num_classes=CLASSES).train()
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # a plain average over what it sees
    with torch.no_grad():
        module(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))
    module.eval()
    return module if family.fuse is None else family.fuse(module).eval()


def _generated(rng: np.random.Generator) -> Image.Image:
    """Coloured blobs with grain: coarse noise enlarged smoothly, plus fine noise."""
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize(GENERATED_SIZE, Image.Resampling.BICUBIC), np.int16)
    grain = rng.normal(0, 12, smooth.shape)
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
