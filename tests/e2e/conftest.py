"""One conversion of real weights, shared by all the tests that look at it."""

from __future__ import annotations

from pathlib import Path

import pytest

import ghostedge
from ghostedge.manifest import Manifest


@pytest.fixture(scope="session")
def converted(
    cifar_checkpoint: Path,
    cifar_calib: Path,
    cifar_test: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Manifest:
    """GhostNet 1.0x, CIFAR-10, every precision: int8 from 500 training images, scored on 5,000."""
    return ghostedge.convert(
        cifar_checkpoint,
        precision=("float16", "dynamic", "int8"),
        calib=cifar_calib,
        eval=cifar_test,
        output=tmp_path_factory.mktemp("converted") / "out",
    )
