"""The whole networks of ``benchmarks/networks``, each made once, and what torch answers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import nn

from ghostedge_convert import to_deploy_graph

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # for the whole session: pytest collects by the networks' names
import networks  # noqa: E402 - in the path above
from networks import measure  # noqa: E402

Floats = npt.NDArray[np.float32]

torch.set_num_threads(1)


@dataclass(frozen=True)
class Example:
    """A network, some images of its size and what torch makes of them.

    Attributes:
        name: Its row in ``networks.NETWORKS``.
        module: In evaluation mode.
        images: float32 ``[4, 3, H, W]``.
        outputs: By name, channels first; ``logits`` where there is one.
    """

    name: str
    module: nn.Module
    images: Floats
    outputs: measure.Outputs

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return networks.NETWORKS[self.name].size


@pytest.fixture(scope="session", params=networks.NETWORKS)
def example(request: pytest.FixtureRequest) -> Example:
    """Each of the networks in turn."""
    module = networks.make(request.param)
    images = networks.images(4, networks.NETWORKS[request.param].size, seed=5).numpy()
    return Example(request.param, module, images, measure.by_torch(module, images))


def assert_same_function(exported: onnx.ModelProto, example: Example) -> None:
    """The deploy graph and the lowered file compute what torch does, within a thousandth.

    Of the output's largest number, where that is above 1.
    """
    deploy = to_deploy_graph(exported).model
    for outputs in (
        measure.by_onnx_runtime(deploy, example.images),
        measure.by_tflite(deploy, example.images).outputs,
    ):
        found = dict(zip(example.outputs, outputs.values(), strict=True))
        assert [v.shape for v in found.values()] == [v.shape for v in example.outputs.values()]
        assert measure.relative_difference(found, example.outputs) <= 1e-3


@pytest.fixture(scope="session")
def check_same_function():
    """check_same_function(exported, example) fails where a file computes something else."""
    return assert_same_function
