"""Real images and weights, where the machine has them.

They are looked for in the folder that ``GHOSTEDGE_SHARED`` names, or in ``shared/`` beside the
repository. A test that needs them skips, saying so, where they are absent.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[1]
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
    return REPO / "examples" / "glyphs" / "ghostnet_050_glyphs.safetensors"


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
    "tests/convert/keras/",
    "tests/examples/",
    "tests/arm/",
    "tests/base_install/",
    "tests/devices/",
    "tests/unchanged/",
    "tests/report/",
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
