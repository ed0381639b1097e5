"""CIFAR-10's pictures, or any others, as arrays: from a folder, or a zip, with a folder per class.

All that the training scripts here share: how pictures become the networks' input, and the
``config.json`` that tells ``ghostedge convert`` the same. Nothing is downloaded.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = 32
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
_PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures.

    Attributes:
        images: uint8 [N, 32, 32, 3], RGB.
        targets: int64 [N], indices into ``labels``.
        labels: Folder names, sorted.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.int64]
    labels: tuple[str, ...]


def read(source: Path, limit: int | None = None) -> Pictures:
    """Read a folder or a .zip; a picture's label is the name of the folder it lies in.

    Args:
        source: Where to look, at any depth, for PNG and JPEG.
        limit: Take only so many, evenly spread over the sorted names and so over the classes.

    Raises:
        ValueError: There is no picture.
    """
    names = sorted(_names(source), key=str)
    if not names:
        raise ValueError(f"{source} holds no PNG or JPEG")
    labels = tuple(sorted({name.parent.name for name in names}))
    if limit is not None and limit < len(names):
        names = [names[i * len(names) // limit] for i in range(limit)]
    images = np.stack([_decoded(data) for data in _contents(source, names)])
    targets = np.array([labels.index(name.parent.name) for name in names])
    return Pictures(images, targets, labels)


def _names(source: Path) -> list[PurePosixPath]:
    if source.is_dir():
        names = [PurePosixPath(p.relative_to(source).as_posix()) for p in source.rglob("*")]
    else:
        with zipfile.ZipFile(source) as archive:
            names = [PurePosixPath(name) for name in archive.namelist()]
    return [name for name in names if name.suffix.lower() in _PICTURES]


def _contents(source: Path, names: list[PurePosixPath]) -> Iterator[bytes]:
    if source.is_dir():
        for name in names:
            yield (source / name).read_bytes()
        return
    with zipfile.ZipFile(source) as archive:
        for name in names:
            yield archive.read(str(name))


def _decoded(data: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(data)) as picture:
        rgb = picture.convert("RGB")
    if rgb.size != (SIZE, SIZE):
        rgb = rgb.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(rgb)


def normalised(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the networks take: float32, the same shape, about -2 to 2."""
    scaled = images.astype(np.float32) / np.float32(255)
    mean, std = np.asarray(MEAN, np.float32), np.asarray(STD, np.float32)
    whitened: NDArray[np.float32] = (scaled - mean) / std
    return whitened


def write_config(folder: Path, labels: tuple[str, ...]) -> None:
    """Write the ``config.json`` from which ``ghostedge convert`` knows preprocessing and labels."""
    config = {
        "num_classes": len(labels),
        "pretrained_cfg": {
            "input_size": [3, SIZE, SIZE],
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "mean": MEAN,
            "std": STD,
            "label_names": labels,
        },
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
