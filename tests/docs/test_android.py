"""What docs/android.md has an app do is what GhostEdge does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostedge_runtime import Model
from ghostedge_runtime.images import prepare
from ghostedge_runtime.metadata import Preprocessing

REPO = Path(__file__).resolve().parents[2]
PAGE = (REPO / "docs" / "android.md").read_text(encoding="utf-8")
MODEL = REPO / "examples" / "glyphs" / "ghostnet_050_glyphs_int8.tflite"


def _bilinear(x):
    return np.maximum(0, 1 - abs(x))


def _bicubic(x):
    d = abs(x)
    inner = (1.5 * d - 2.5) * d * d + 1
    outer = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d < 1, inner, np.where(d < 2, outer, 0))


FILTERS = {"bilinear": (1, _bilinear), "bicubic": (2, _bicubic)}


def _resized(values, target, filter_name):
    """The page's ``Image.resized``, line by line."""
    support, weight = FILTERS[filter_name]
    width = values.shape[1]
    scale = width / target
    stretch = max(scale, 1)
    reach = support * stretch
    result = np.empty((values.shape[0], target, 3), np.float32)
    for column in range(target):
        centre = (column + 0.5) * scale
        first = max(int(centre - reach + 0.5), 0)
        last = min(int(centre + reach + 0.5), width)
        weights = weight((np.arange(first, last) - centre + 0.5) / stretch)
        found = np.tensordot(values[:, first:last], weights, (1, 0)) / weights.sum()
        result[:, column] = np.clip(np.floor(found + 0.5), 0, 255)
    return result


def _model_input(values, side, crop_pct, filter_name):
    """The page's ``modelInput``, line by line."""
    height, width = values.shape[:2]
    short = int(np.floor(side / crop_pct))
    new_width = short * width // height if width > height else short
    new_height = short if width > height else short * height // width
    found = _resized(values.astype(np.float32), new_width, filter_name)
    found = _resized(found.transpose(1, 0, 2), new_height, filter_name).transpose(1, 0, 2)
    left, top = (int(np.rint((of - side) / 2)) for of in (new_width, new_height))
    return found[top : top + side, left : left + side].astype(np.uint8)


@pytest.mark.parametrize("filter_name", list(FILTERS))
@pytest.mark.parametrize(("side", "crop_pct"), [(224, 0.875), (64, 1.0)])
def test_the_pages_resize_gives_our_pixels(pictures, filter_name, side, crop_pct):
    wanted = Preprocessing(input_size=(side, side), crop_pct=crop_pct, interpolation=filter_name)
    off = []
    for path in sorted(pictures.iterdir())[:6]:
        values = np.asarray(Image.open(path).convert("RGB"))
        ours = prepare(path, wanted).astype(int)
        off.append(np.abs(ours - _model_input(values, side, crop_pct, filter_name)))
    assert max(each.max() for each in off) <= 1
    assert np.mean([each.mean() for each in off]) < 0.002


def test_the_page_has_the_filters_that_were_tested_here():
    """A change of the Kotlin asks for one here."""
    for line in (
        "maxOf(0f, 1f - abs(x))",
        "(1.5f * d - 2.5f) * d * d + 1f",
        "((-0.5f * d + 2.5f) * d - 4f) * d + 2f",
        "maxOf((centre - reach + 0.5f).toInt(), 0)",
        "minOf((centre + reach + 0.5f).toInt(), width)",
        "(first + it - centre + 0.5f) / stretch",
        "floor(sum / total + 0.5f)",
        "rint((width - side) / 2.0)",
    ):
        assert line in PAGE


def test_the_fields_that_the_app_reads_are_there():
    found = subprocess.run(
        [sys.executable, "-m", "ghostedge", "inspect", str(MODEL), "--json"],
        capture_output=True,
        check=True,
    )
    metadata = json.loads(found.stdout)["metadata"]
    read = set(re.findall(r'\.(?:get\w+)\("(\w+)"\)', PAGE)) - {"metadata"}
    assert read == {
        "preprocessing",
        "labels",
        "input",
        "dtype",
        "normalized",
        "color_order",
        "input_size",
        "crop_pct",
        "interpolation",
    }
    assert read <= {*metadata, *metadata["input"], *metadata["preprocessing"]}
    assert metadata["input"] == {"dtype": "uint8", "layout": "NHWC", "normalized": False}
    assert metadata["probabilities"] is False


def test_litert_takes_the_pages_signed_bytes_for_the_unsigned_input():
    compiled_model = pytest.importorskip("ai_edge_litert.compiled_model")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    with Model(MODEL) as model:
        expected = model.predict(pixels)[0]
    compiled = compiled_model.CompiledModel.from_file(str(MODEL))
    inputs, outputs = compiled.create_input_buffers(0), compiled.create_output_buffers(0)
    inputs[0].write(pixels.view(np.int8))
    compiled.run_by_index(0, inputs, outputs)
    assert (outputs[0].read(expected.size, np.float32) == expected).all()


def test_the_pages_measurement_of_another_resize_runs(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    shutil.copy(MODEL, tmp_path / "model_int8.tflite")
    (tmp_path / "photos").mkdir()
    generator = np.random.default_rng(0)
    for number, (low, high) in enumerate(pairwise((90, 201, 150, 311))):
        noise = generator.integers(0, 256, (low, high, 3)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / f"{number}.png")
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"same top-1 on [0-3] of 3\n", found.stdout)
