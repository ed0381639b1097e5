"""What `pip install ghostedge` alone must do: a device has no torch, no onnx, no TensorFlow.

Here, and as two ARM processors. `.ci/run` makes an environment with nothing but that and names its
interpreter in GHOSTEDGE_BASE_PYTHON; `tests/arm/emulate.py` sets up the emulated ones. Without
them these tests skip.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

REPO = Path(__file__).resolve().parents[2]
MODEL = REPO / "examples" / "glyphs" / "ghostnet_050_glyphs_int8.tflite"
FORBIDDEN = ("torch", "onnx", "tensorflow")

# Runs one command line in this process, then says which forbidden packages it imported.
PROBE = f"""
import sys
from ghostedge.cli import main
try:
    main()
except SystemExit as stop:
    code = stop.code
print([m for m in {FORBIDDEN!r} if m in sys.modules], file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module", params=["here", "cortex-a72", "cortex-a76"])
def python(request: pytest.FixtureRequest, arm_board: Callable[[str], Path]) -> str:
    if request.param != "here":
        return str(arm_board(request.param) / "python")
    path = os.environ.get("GHOSTEDGE_BASE_PYTHON")
    if not path:
        pytest.skip("GHOSTEDGE_BASE_PYTHON is not set: .ci/run makes that environment")
    return path


@pytest.fixture(scope="module")
def glyph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "grey.png"
    Image.new("RGB", (80, 60), (120, 130, 140)).save(path)
    return path


def ghostedge(python: str, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-c", PROBE, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_the_environment_has_none_of_the_heavy_packages(python: str, tmp_path: Path) -> None:
    code = f"import importlib.util as u; print([m for m in {FORBIDDEN!r} if u.find_spec(m)])"
    done = subprocess.run(
        [python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_bench_times_the_shipped_model(python: str, tmp_path: Path) -> None:
    done = ghostedge(
        python, tmp_path, "bench", str(MODEL), "--min-seconds", "0.2", "--min-runs", "20", "--json"
    )
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    (result,) = run["results"]
    assert result["runs"] >= 20
    assert 0 < result["p50_ms"]["value"] <= result["p99_ms"]["value"]
    assert done.stderr.strip().endswith("[]")


def test_run_classifies_an_image_with_the_shipped_model(
    python: str, tmp_path: Path, glyph: Path
) -> None:
    done = ghostedge(python, tmp_path, "run", str(MODEL), str(glyph), "--top-k", "36", "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert {c["label"] for c in result["classes"]} == set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert sum(c["score"] for c in result["classes"]) == pytest.approx(1, abs=1e-6)
    assert done.stderr.strip().endswith("[]")


def test_inspect_reads_the_shipped_model(python: str, tmp_path: Path) -> None:
    done = ghostedge(python, tmp_path, "inspect", str(MODEL), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["metadata"]["architecture"]["name"] == "ghostnet_050"
    assert found["inputs"][0]["dtype"] == "uint8"
    assert done.stderr.strip().endswith("[]")


def test_features_draws_the_layers_of_the_shipped_model(
    python: str, tmp_path: Path, glyph: Path
) -> None:
    done = ghostedge(python, tmp_path, "features", str(MODEL), str(glyph), "-o", "inside", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert all(layer["primary"] for layer in document["layers"])
    assert sorted(p.name for p in (tmp_path / "inside").iterdir()) == document["files"]
    assert done.stderr.strip().endswith("[]")


def test_features_names_the_extra_that_other_files_need(
    python: str, tmp_path: Path, glyph: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    for model in ("model.pt", "model.onnx"):
        done = ghostedge(python, tmp_path, "features", model, str(glyph))
        assert done.returncode == 2
        assert "pip install 'ghostedge[convert]'" in done.stderr
        assert not (tmp_path / "model_features").exists()


def test_convert_names_the_extra_that_it_needs(python: str, tmp_path: Path) -> None:
    done = ghostedge(python, tmp_path, "convert", "model.pt")
    assert done.returncode == 2
    assert "pip install 'ghostedge[convert]'" in done.stderr
    assert "Traceback" not in done.stderr
