"""Images and trained weights for the tests: real ones where the machine has them, else drawn ones.

Real photographs and weights trained on CIFAR-10 are looked for in the folder that
``GHOSTEDGE_SHARED`` names, or in ``shared/`` beside the repository.

=====================  =====================================================================
a test's claim holds   it asks for
=====================  =====================================================================
for any images         ``pictures``: the photographs, or drawn pictures of as many sizes
for any trained        ``trained_checkpoint``, ``trained_calib`` and ``trained_test`` (images of
network                its classes): CIFAR-10's, or those of the bundled glyph network, whose
                       weights are saved as the same kind of file
for photographs, or    ``photos``, ``cifar_checkpoint``, ``cifar_calib``, ``cifar_test``: it
for these weights      skips, saying so, where they are absent
=====================  =====================================================================

A test of the first two kinds asserts bounds that hold for both; a figure that differs (classes,
MACs, accuracy) is an attribute of the fixture ``trained``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

REPO = Path(__file__).resolve().parents[1]
GLYPHS = REPO / "examples" / "glyphs"
SHARED = Path(os.environ.get("GHOSTEDGE_SHARED", REPO.parent / "shared"))
ARM = Path(os.environ.get("GHOSTEDGE_ARM", REPO / ".cache" / "arm"))


def _need(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"needs {path.name}, not found under {SHARED} (set GHOSTEDGE_SHARED)")
    return path


@pytest.fixture(scope="session")
def photos() -> Path:
    """84 real photographs of various sizes."""
    return _need(SHARED / "data" / "photos")


@pytest.fixture(scope="session")
def cifar_checkpoint() -> Path:
    """GhostNet 1.0x trained on CIFAR-10 at 64×64, a torch state_dict beside its config.json."""
    return _need(SHARED / "models" / "ghostnet_100_cifar10_64" / "model.pt")


def _unpacked(name: str, root: Path, every: int = 1) -> Path:
    archive = _need(SHARED / "data" / "cifar10" / f"{name}.zip")
    with zipfile.ZipFile(archive) as z:
        images = [member for member in z.namelist() if not member.endswith("/")]
        z.extractall(root, images[::every])
    return root / name


@pytest.fixture(scope="session")
def cifar_test(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5,000 labelled test images, a folder per class."""
    return _unpacked("test", tmp_path_factory.mktemp("cifar_test"))


@pytest.fixture(scope="session")
def cifar_calib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 training images, every hundredth of the 50,000."""
    return _unpacked("train", tmp_path_factory.mktemp("cifar_calib"), every=100)


@pytest.fixture(scope="session")
def example_checkpoint() -> Path:
    """The bundled GhostNet 0.5x trained on synthetic glyphs."""
    return GLYPHS / "ghostnet_050_glyphs.safetensors"


@pytest.fixture(scope="session")
def glyphs() -> ModuleType:
    """``examples/glyphs/generate.py``, which draws the bundled network's images."""
    spec = importlib.util.spec_from_file_location("glyphs_generate", GLYPHS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _scene(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """A picture with a photograph's statistics: power falls with frequency, and shapes have edges.

    The 1/f spectrum of natural scenes: Field, "Relations between the statistics of natural
    images", 1987. Three quarters of the detail is the same in all channels.
    """
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    noise = random.standard_normal((height, width, 4))
    noise[..., :3] = 0.5 * noise[..., :3] + 1.5 * noise[..., 3:]
    spectrum = np.fft.rfft2(noise[..., :3], axes=(0, 1)) / frequency[..., None]
    scene = np.fft.irfft2(spectrum, (height, width), axes=(0, 1))
    scene = scene / scene.std() * random.uniform(30, 60) + random.uniform(70, 180, 3)
    image = Image.fromarray(scene.clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for draw in (pen.ellipse, pen.rectangle):
        (left, right), (top, bottom) = np.sort(random.random((2, 2))) * ((width,), (height,))
        draw((left, top, right, bottom), fill=tuple(random.integers(0, 256, 3).tolist()))
    return image


SCENE_SIZES = ((500, 375), (333, 500), (300, 300), (150, 200), (135, 97), (640, 286), (230, 160))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """84 photographs of various sizes, or as many drawn JPEGs; two are in grey."""
    photographs = SHARED / "data" / "photos"
    if photographs.exists():
        return photographs
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(84):
        size = SCENE_SIZES[index % len(SCENE_SIZES)]
        scene = _scene(np.random.default_rng(index), *size)
        mode = "L" if index in (40, 60) else "RGB"
        scene.convert(mode).save(folder / f"{index:02d}_scene.JPEG", quality=92)
    return folder


CIFAR_LABELS = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


@dataclass(frozen=True)
class Trained:
    """A trained network, and what is known of it before it is converted.

    Attributes:
        checkpoint: ``model.pt``, a torch ``state_dict``, beside its ``config.json``.
        architecture: As ``--arch`` takes it.
        width: Multiplier of its channels.
        labels: Of its classes, in order.
        macs: Multiply-accumulates of one image of 64 × 64 pixels.
        parameters: Of the deployed network.
        test_images: In ``trained_test``.
        top1_pct: On these, in float.
        sure_label: Whose first image it gives this label in every precision.
    """

    checkpoint: Path
    architecture: str
    width: float
    labels: tuple[str, ...]
    macs: int
    parameters: int
    test_images: int
    top1_pct: float
    sure_label: str


@pytest.fixture(scope="session")
def trained(
    example_checkpoint: Path, glyphs: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """The GhostNet 1.0x of CIFAR-10, or else the bundled 0.5x, float32, saved by torch."""
    real = SHARED / "models" / "ghostnet_100_cifar10_64" / "model.pt"
    if real.exists():
        return Trained(
            checkpoint=real,
            architecture="ghostnet_100",
            width=1.0,
            labels=CIFAR_LABELS,
            macs=13_935_872,
            parameters=3_903_334,
            test_images=5000,
            top1_pct=83.3,  # 83.34 % on all 10,000 test images, of which there are half
            sure_label="ship",
        )
    import torch  # noqa: PLC0415 - slow, and few tests come here
    from safetensors.torch import load_file  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("trained")
    weights = {name: value.float() for name, value in load_file(example_checkpoint).items()}
    torch.save(weights, folder / "model.pt")
    shutil.copy(example_checkpoint.with_name("config.json"), folder)
    return Trained(
        checkpoint=folder / "model.pt",
        architecture="ghostnet_050",
        width=0.5,
        labels=glyphs.LABELS,
        macs=4_305_472,
        parameters=1_346_916,
        test_images=1440,
        top1_pct=97.0,
        sure_label="S",
    )


@pytest.fixture(scope="session")
def trained_checkpoint(trained: Trained) -> Path:
    """``model.pt``, a torch ``state_dict``, beside its ``config.json``."""
    return trained.checkpoint


@pytest.fixture(scope="session")
def trained_calib(
    trained: Trained,
    glyphs: ModuleType,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """500 images to calibrate ``trained`` on, a folder per class."""
    if trained.labels == CIFAR_LABELS:
        return request.getfixturevalue("cifar_calib")  # type: ignore[no-any-return]
    folder = tmp_path_factory.mktemp("glyphs") / "calib"
    glyphs.write_images(folder, count=500, seed=2)
    return folder


@pytest.fixture(scope="session")
def trained_test(
    trained: Trained,
    glyphs: ModuleType,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Labelled images that ``trained`` has not seen, a folder per class: 5,000, drawn 1,440."""
    if trained.labels == CIFAR_LABELS:
        return request.getfixturevalue("cifar_test")  # type: ignore[no-any-return]
    folder = tmp_path_factory.mktemp("glyphs") / "test"
    glyphs.write_images(folder, count=trained.test_images, seed=3)
    return folder


def _arm_board(name: str) -> Path:
    if shutil.which("qemu-aarch64-static") is None:
        pytest.skip("qemu-aarch64-static is not installed")
    failed = ARM / "not-set-up.txt"
    if failed.is_file():
        pytest.skip(f"tests/arm/emulate.py could not set up arm64: {failed.read_text()}")
    if not (ARM / name / "python").is_file():
        pytest.skip("no arm64 system: python tests/arm/emulate.py sets one up")
    return ARM / name


@pytest.fixture(scope="session")
def arm_board() -> Callable[[str], Path]:
    """arm_board("cortex-a72") → the folder of that processor's emulated interpreters."""
    return _arm_board


# Files that share a conversion of a minute: one worker runs them all, and makes it once.
_CONVERTED = tuple(
    f"tests/e2e/test_{name}.py"
    for name in (
        "command_line",
        "features",
        "inspect_quantization",
        "quantized_onnx",
        "real_weights",
    )
)
# Where the slow files are: they come first, so that no worker is left alone with one at the end.
_SLOW = (
    "tests/e2e/",
    "tests/networks/",
    "tests/detectors/",
    "tests/several_outputs/",
    "tests/convert/sources/keras/",
    "tests/examples/",
    "tests/arm/",
    "tests/base_install/",
    "tests/ghostedge/devices/",
    "tests/unchanged/",
    "tests/ghostedge/show/",
    "tests/convert/",
)


def _unit(nodeid: str) -> str:
    """What goes to a worker as a whole: mostly a file."""
    path = nodeid.partition("::")[0]
    return "converted" if path in _CONVERTED else path


def _haste(nodeid: str) -> tuple[int, bool]:
    place = next((i for i, folder in enumerate(_SLOW) if nodeid.startswith(folder)), len(_SLOW))
    return place, _unit(nodeid) != "converted"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _haste(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """``--dist loadfile``, with the units and the order above."""
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 - only there with pytest-xdist

    if config.getoption("dist") != "loadfile":
        return None

    class Units(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _unit(nodeid)

    config.option.loadscopereorder = False
    return Units(config, log)
