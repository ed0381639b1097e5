"""The networks that int8's accuracy is measured on, with their images: made once and kept.

A study is a trained network, calibration images and test images with labels, all of which ours
and every peer get. ``ghostnet_100_cifar10`` is the network of ``accuracy.py``, whose weights and
images are not in the repository; ``ghostnet_050_glyphs`` is the bundled one, whose images are
drawn: 500 to calibrate on, 5,000 to score on. ``imagenet`` has others. Files that need torch are
written by ``study_files`` in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ghostedge_runtime.folders import list_images, list_labelled
from ghostedge_runtime.images import normalize, prepare
from ghostedge_runtime.metadata import Preprocessing
from support.peers import ghostedge
from support.report import CACHE, REPO

CALIBRATION_IMAGES = 500
TEST_IMAGES = 5000
CIFAR_MODEL = Path("models", "ghostnet_100_cifar10_64", "model.pt")
CIFAR_TRAIN = Path("data", "cifar10", "train.zip")
CIFAR_TEST = Path("data", "cifar10", "test.zip")
GLYPHS = REPO / "examples" / "glyphs"
GLYPHS_MODEL = GLYPHS / "ghostnet_050_glyphs.safetensors"
GLYPHS_SEEDS = {"calibration": 2, "test": 3}  # the network was trained on 1001
# What both networks were trained with; a converted file that says otherwise is refused.
PREPROCESSING = Preprocessing(input_size=(64, 64), crop_pct=1.0)
WORK = CACHE / "int8"
NAMES = ("ghostnet_100_cifar10", "ghostnet_050_glyphs")


@dataclass(frozen=True)
class Factory:
    """A network that is of no family here: a class of a package, and how it is called.

    Attributes:
        spec: ``package.module:function``.
        arguments: JSON of the call.
        packages: Folder that holds the package.
    """

    spec: str
    arguments: str
    packages: Path

    @property
    def flags(self) -> list[str]:
        """For ``ghostedge convert``."""
        return ["--factory", self.spec, "--factory-args", self.arguments]


@dataclass(frozen=True)
class Study:
    """One network and its images.

    Attributes:
        name: Of the study, also its folder's.
        model: The checkpoint, with its ``config.json`` beside it unless there is a factory.
        calibration: Folder of the calibration images.
        test: Folder of the test images, a folder per class.
        preprocessing: How images become the network's input.
        factory: What makes the network; None where its weights tell.
        labels: Classes by index, a line each; None where the folders of ``test`` are all of them.
    """

    name: str
    model: Path
    calibration: Path
    test: Path
    preprocessing: Preprocessing = PREPROCESSING
    factory: Factory | None = None
    labels: Path | None = None

    @property
    def command(self) -> list[str]:
        """``ghostedge convert MODEL`` with what the network needs to be said of it."""
        command = [ghostedge(), "convert", str(self.model)]
        if self.factory:
            command += [*self.factory.flags, *_stated(self.preprocessing)]
        return [*command, "--labels", str(self.labels)] if self.labels else command

    @property
    def environment(self) -> dict[str, str]:
        """Variables that the command needs beside this process's."""
        if self.factory is None:
            return {}
        paths = [str(self.factory.packages), os.environ.get("PYTHONPATH", "")]
        return {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}

    @property
    def folder(self) -> Path:
        """Holds everything made for this study."""
        return WORK / self.name

    @property
    def deploy_onnx(self) -> Path:
        """Float ONNX with batch norm folded, as ``ghostedge convert`` writes it, NCHW, batch 1."""
        return self.folder / "float" / f"{self.model.stem}.onnx"

    @property
    def float_tflite(self) -> Path:
        """The same in TFLite, NHWC."""
        return self.folder / "float" / f"{self.model.stem}.tflite"

    @property
    def exported_onnx(self) -> Path:
        """Float ONNX as torch's exporter writes it, NCHW, batch 1."""
        return self.folder / "exported.onnx"

    @property
    def checkpoint(self) -> Path:
        """The weights as a plain torch state_dict in float32; a factory's as a .pt2."""
        return self.folder / ("program.pt2" if self.factory else "checkpoint.pt")

    @property
    def calibration_pixels(self) -> Path:
        """The calibration images decoded: .npy, uint8 [N, H, W, 3], RGB."""
        return self.folder / "calibration.npy"

    @property
    def test_pixels(self) -> Path:
        """The test images decoded: .npz, ``pixels`` uint8 [N, H, W, 3] and ``labels``."""
        return self.folder / "test.npz"


@dataclass(frozen=True, eq=False)
class EvaluationImages:
    """The images to score on.

    Attributes:
        pixels: uint8 [N, H, W, 3], RGB.
        normalised: float32 of the same shape, as the network was trained.
        labels: int64 [N], class indices.
        places: int64 [N], of these images among all of the study's.
    """

    pixels: npt.NDArray[np.uint8]
    normalised: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]


def study(name: str, shared: Path) -> Study:
    """The study of this name, its images unpacked or drawn and its float files written.

    Args:
        name: One of ``NAMES``.
        shared: Holds the weights and images of ``ghostnet_100_cifar10``.
    """
    return prepared(_cifar(shared) if name == "ghostnet_100_cifar10" else _glyphs())


def prepared(inputs: Study) -> Study:
    """The study, its calibration images decoded and its float files written."""
    key = _key(inputs)
    stamp = inputs.folder / "inputs.sha256"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != key:
        print(f"{inputs.name}: preparing images and float files …", file=sys.stderr)
        inputs.folder.mkdir(parents=True, exist_ok=True)
        pixels = _decoded(list_images(inputs.calibration), inputs.preprocessing)
        np.save(inputs.calibration_pixels, pixels)
        _write_float_files(inputs)
        stamp.write_text(key, encoding="utf-8")
    return inputs


def evaluation_images(inputs: Study, count: int | None = None) -> EvaluationImages:
    """The study's test images decoded, every n-th of them where ``count`` is given."""
    decoded_file = inputs.test_pixels
    if not decoded_file.exists():
        labels = inputs.labels.read_text(encoding="utf-8").split() if inputs.labels else None
        labelled = list_labelled(inputs.test, labels, None)
        pixels = _decoded(labelled.paths, inputs.preprocessing)
        np.savez(decoded_file, pixels=pixels, labels=np.array(labelled.targets))
    with np.load(decoded_file) as arrays:
        whole = len(arrays["labels"])
        places = np.arange(whole)[:: max(1, whole // count) if count else 1][:count]
        pixels, labels = arrays["pixels"][places], arrays["labels"][places]
    return EvaluationImages(pixels, normalize(pixels, inputs.preprocessing), labels, places)


def need(shared: Path, name: Path) -> Path:
    """The file or folder ``name`` under ``shared``, or the end of the program with a remedy."""
    path = shared / name
    if not path.exists():
        print(f"this benchmark needs {name}, which is not under {shared}", file=sys.stderr)
        print("  → pass --shared FOLDER, or set GHOSTEDGE_SHARED", file=sys.stderr)
        raise SystemExit(2)
    return path


def extract(archive: Path, folder: Path, count: int | None) -> Path:
    """Unpack every n-th image of the sorted archive, ``count`` in all, kept between runs."""
    with zipfile.ZipFile(archive) as z:
        names = sorted(name for name in z.namelist() if not name.endswith("/"))
        chosen = names[:: max(1, len(names) // count)][:count] if count else names
        if sum(1 for path in folder.rglob("*") if path.is_file()) != len(chosen):
            shutil.rmtree(folder, ignore_errors=True)
            z.extractall(folder, chosen)
    (inner,) = folder.iterdir()  # the archive holds one folder, with a folder per class
    return inner


def checkpoint_and_calibration(name: str, shared: Path) -> tuple[Path, Path]:
    """A study's weights and the folder of its calibration images, and nothing else prepared."""
    folder = WORK / name
    if name == "ghostnet_050_glyphs":
        return GLYPHS_MODEL, _drawn(folder, "calibration", CALIBRATION_IMAGES)
    model, train = (need(shared, path) for path in (CIFAR_MODEL, CIFAR_TRAIN))
    return model, extract(train, folder / "calibration", CALIBRATION_IMAGES)


def _cifar(shared: Path) -> Study:
    model, train, test = (need(shared, name) for name in (CIFAR_MODEL, CIFAR_TRAIN, CIFAR_TEST))
    folder = WORK / "ghostnet_100_cifar10"
    calibration = extract(train, folder / "calibration", CALIBRATION_IMAGES)
    return Study(folder.name, model, calibration, extract(test, folder / "test", TEST_IMAGES))


def _glyphs() -> Study:
    folder = WORK / "ghostnet_050_glyphs"
    calibration = _drawn(folder, "calibration", CALIBRATION_IMAGES)
    return Study(folder.name, GLYPHS_MODEL, calibration, _drawn(folder, "test", TEST_IMAGES))


def _drawn(folder: Path, part: str, count: int) -> Path:
    """The folder of so many drawn glyphs, kept between runs."""
    if not (folder / part).exists():
        command = [sys.executable, str(GLYPHS / "generate.py"), str(folder / part)]
        command += ["--images", str(count), "--seed", str(GLYPHS_SEEDS[part])]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return folder / part


def _key(inputs: Study) -> str:
    """Changes with the weights and the images' names."""
    names = [str(path.relative_to(inputs.calibration)) for path in list_images(inputs.calibration)]
    digest = hashlib.sha256(inputs.model.read_bytes())
    digest.update(json.dumps([names, repr(inputs.preprocessing)]).encode())
    return digest.hexdigest()


def _decoded(paths: Sequence[Path], preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    return np.stack([prepare(path, preprocessing) for path in paths])


def _stated(preprocessing: Preprocessing) -> list[str]:
    """The preprocessing as options of ``ghostedge convert``."""
    height, width = preprocessing.input_size
    return [
        *("--input-size", f"{height}x{width}"),
        *("--interpolation", preprocessing.interpolation),
        *("--crop-pct", str(preprocessing.crop_pct)),
        *("--mean", ",".join(map(str, preprocessing.mean))),
        *("--std", ",".join(map(str, preprocessing.std))),
    ]


def _write_float_files(inputs: Study) -> None:
    output = inputs.folder / "float"
    shutil.rmtree(output, ignore_errors=True)
    environment = os.environ | inputs.environment
    command = [*inputs.command, "-o", str(output)]
    subprocess.run(command, check=True, stdout=sys.stderr, env=environment)
    height, width = inputs.preprocessing.input_size
    command = [sys.executable, "-m", "support.study_files", "--model", str(inputs.model)]
    command += ["--folder", str(inputs.folder), "--size", str(height), str(width)]
    command += inputs.factory.flags if inputs.factory else []
    place = REPO / "benchmarks"
    subprocess.run(command, check=True, stdout=sys.stderr, cwd=place, env=environment)
