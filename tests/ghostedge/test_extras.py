"""What an extra brings is needed for nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
GLYPHS = REPO / "examples" / "glyphs" / "ghostnet_050_glyphs.safetensors"
WITHOUT_REPORT = """
import sys
sys.modules["matplotlib"] = None
from ghostedge.cli import main
sys.argv = ["ghostedge", *sys.argv[1:]]
main()
"""


def ghostedge(cwd: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command where the packages of the extra ``report`` cannot be imported."""
    command = [sys.executable, "-c", WITHOUT_REPORT, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled network, converted without that extra."""
    path = tmp_path_factory.mktemp("without_report")
    done = ghostedge(path, "convert", GLYPHS, "-o", "out", "--name", "glyphs")
    assert done.returncode == 0, done.stderr
    return path


def test_convert_and_inspect_need_no_package_of_the_extra_report(folder: Path) -> None:
    assert (folder / "out" / "glyphs.tflite").is_file()
    for name in ("glyphs.onnx", "glyphs.tflite"):
        done = ghostedge(folder, "inspect", f"out/{name}")
        assert done.returncode == 0, done.stderr
        assert "MACs" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "--quantization", "out/glyphs.onnx", "--calib", ".", "--plot", "layers.png"),
        ("report", "out/manifest.json", "-o", "report.html"),
        ("report", "out/manifest.json", "-o", "report.png"),
    ],
)
def test_what_needs_it_names_the_line_that_installs_it(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    done = ghostedge(folder, *arguments)
    assert done.returncode == 2
    assert "pip install 'ghostedge[report]'" in done.stderr
    assert not (folder / arguments[-1]).exists()


def test_a_manifest_as_markdown_needs_the_base_install_alone(folder: Path) -> None:
    done = ghostedge(folder, "report", "out/manifest.json", "-o", "report.md")
    assert done.returncode == 0, done.stderr
    assert (folder / "report.md").read_text().startswith("# 2 cases on ")
