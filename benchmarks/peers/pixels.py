"""How pixels become a network's input, for the scripts beside it: ``--mean`` and ``--std``."""

from __future__ import annotations

import argparse

import numpy as np

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options; ImageNet's values by default."""
    for option, values in (("--mean", MEAN), ("--std", STD)):
        parser.add_argument(
            option, nargs=3, type=float, default=values, help="of R, G and B, pixels from 0 to 1"
        )


def normalised(image: np.ndarray, args: argparse.Namespace) -> np.ndarray:
    """A batch of one: uint8 [H, W, 3] becomes float32 [1, H, W, 3]."""
    mean, std = np.array(args.mean, np.float32), np.array(args.std, np.float32)
    return np.asarray((image[None] / np.float32(255) - mean) / std)
