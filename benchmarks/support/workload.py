"""What every conversion is given: a network's weights, its float ONNX, calibration photos.

Latency and conversion time do not depend on what the weights know, so they are seeded random ones
whose batch-norm statistics come from a forward pass over the photos: activations then have the
spread of a trained network's. ``workload_files`` makes them in a process of its own, because it
needs torch and the process that measures must stay small. Accuracy is another benchmark's, on
real weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support.report import CACHE

SEED = 0
ABOUT = "about.json"
ARCHITECTURE = "ghostnet_100"
BENCHMARKS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Workload:
    """Files that the converters read, all in ``folder``.

    Attributes:
        folder: Holds them; its name changes with the arguments they were made from.
        architecture: The network's name, such as ``ghostnetv3_100``.
        photos: How many calibration photos, and in words where they come from.
        weights_source: In words.
    """

    folder: Path
    architecture: str
    photos: int
    photo_source: str
    weights_source: str

    @property
    def checkpoint(self) -> Path:
        """A plain torch state_dict, in the form that the network is deployed in."""
        return self.folder / f"{self.architecture}_224.pt"

    @property
    def onnx(self) -> Path:
        """The float ONNX of the same weights as torch's exporter writes it, NCHW, batch 1."""
        return self.folder / f"{self.architecture}_224.onnx"

    @property
    def photo_folder(self) -> Path:
        """The calibration photos as image files."""
        return self.folder / "photos"

    @property
    def calibration(self) -> Path:
        """The same photos resized and cropped: .npy, uint8 [N, 224, 224, 3], RGB."""
        return self.folder / "calibration.npy"


def add_arguments(parser: argparse.ArgumentParser, *, photos: Path) -> None:
    """The options that choose a workload; ``photos`` is the default folder."""
    add_photo_arguments(parser, photos=photos)
    parser.add_argument("--checkpoint", type=Path, help="your own GhostNet V1 weights")


def add_photo_arguments(parser: argparse.ArgumentParser, *, photos: Path) -> None:
    """Those of the options that choose the photos."""
    parser.add_argument("--photos", type=Path, default=photos, help="calibration photos")
    parser.add_argument("--photo-count", type=int, default=128)
    parser.set_defaults(checkpoint=None)


def workload(args: argparse.Namespace, architecture: str = ARCHITECTURE) -> Workload:
    """The workload of these arguments, made in a child process unless it is there already.

    Args:
        args: With the options of `add_arguments` or `add_photo_arguments`.
        architecture: The network's name; a checkpoint tells its own.
    """
    asked = ["--photos", str(args.photos.resolve()), "--photo-count", str(args.photo_count)]
    asked += ["--architecture", architecture]
    if args.checkpoint:
        asked += ["--checkpoint", str(args.checkpoint.resolve())]
    key = hashlib.sha256(json.dumps([SEED, *asked]).encode()).hexdigest()[:12]
    folder = CACHE / f"workload-{key}"
    if not (folder / ABOUT).exists():
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, "-m", "support.workload_files", "--folder", str(folder), *asked]
        subprocess.run(command, check=True, stdout=sys.stderr, cwd=BENCHMARKS)
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    return Workload(folder=folder, **about)
