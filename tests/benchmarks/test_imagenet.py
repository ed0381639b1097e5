"""What the benchmark on ImageNet weights rests on: its folds, what it asks for, and its tables."""

from __future__ import annotations

import argparse
import importlib
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ghostedge_runtime.images import normalize
from ghostedge_runtime.metadata import Preprocessing

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def support(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Modules of ``benchmarks/support`` by name, as the scripts import them."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return lambda name: importlib.import_module(f"support.{name}")


def test_files_of_two_folds_are_scored_as_one_over_all_images(support, tmp_path):
    scoring, studies = support("scoring"), support("studies")
    random = np.random.default_rng(0)
    reference = random.normal(size=(10, 5)).astype(np.float32)
    logits = reference + random.normal(size=(10, 5)).astype(np.float32)
    labels = random.integers(0, 5, 10)
    scorers, files = [], []
    for number, part in enumerate((slice(0, 6), slice(6, 10))):
        pixels = np.zeros((len(labels[part]), 1, 1, 3), np.uint8)
        places = np.arange(len(pixels))
        images = studies.EvaluationImages(pixels, pixels, labels[part], places)
        scorers.append(scoring.Scorer(images, reference[part]))
        files.append(tmp_path / f"{number}.npy")
        np.save(files[-1], logits[part])
    pooled = scoring.Folds(tuple(scorers))(files)
    assert pooled == scoring.score(logits, reference, labels)
    assert pooled.agreement_pct < 100


def test_halves_hold_every_second_photograph_each(support, tmp_path, monkeypatch):
    imagenet = support("imagenet")
    monkeypatch.setattr(imagenet, "WORK", tmp_path / "work")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as z:
        for name in ("n3/c.jpg", "n1/a.jpg", "n4/d.jpg", "n2/b.jpg"):
            z.writestr(name, name)
    halves = imagenet._halves(tmp_path / "images.zip")
    names = [[path.name for path in sorted(half.rglob("*.jpg"))] for half in halves]
    assert names == [["a.jpg", "c.jpg"], ["b.jpg", "d.jpg"]]


def test_images_are_resized_to_32_pixels_more_than_the_middle_that_is_cut_out(support):
    networks = support("imagenet").NETWORKS.values()
    resized = [math.floor(network.side / network.preprocessing.crop_pct) for network in networks]
    assert resized == [256, 272, 292]


def test_a_pixel_is_taken_as_its_distance_from_127_in_128ths(support):
    preprocessing = support("imagenet").NETWORKS["lite0"].preprocessing
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    expected = (pixels.astype(np.float32) - 127) / 128
    assert normalize(pixels, preprocessing) == pytest.approx(expected, abs=1e-6)


def test_a_network_of_a_package_is_converted_with_its_factory_and_preprocessing_stated(
    support, tmp_path, monkeypatch
):
    studies = support("studies")
    monkeypatch.setattr(studies, "ghostedge", lambda: "ghostedge")
    monkeypatch.setenv("PYTHONPATH", "before")
    factory = studies.Factory("package:Net", '["lite"]', tmp_path)
    preprocessing = Preprocessing((224, 192), "bicubic", 0.875, (0.5, 0.5, 0.25), (1.0, 1.0, 0.5))
    study = studies.Study(
        "name", Path("w.pth"), Path("calib"), Path("test"), preprocessing, factory, Path("l.txt")
    )
    assert study.command == [
        *("ghostedge", "convert", "w.pth"),
        *("--factory", "package:Net", "--factory-args", '["lite"]'),
        *("--input-size", "224x192", "--interpolation", "bicubic", "--crop-pct", "0.875"),
        *("--mean", "0.5,0.5,0.25", "--std", "1.0,1.0,0.5", "--labels", "l.txt"),
    ]
    assert study.environment["PYTHONPATH"].split(":") == [str(tmp_path), "before"]
    assert study.checkpoint.name == "program.pt2"


def test_a_network_of_the_family_needs_nothing_said_of_it(support, monkeypatch):
    studies = support("studies")
    monkeypatch.setattr(studies, "ghostedge", lambda: "ghostedge")
    study = studies.Study("name", Path("model.pt"), Path("calib"), Path("test"))
    assert (study.command, study.environment) == (["ghostedge", "convert", "model.pt"], {})
    assert study.checkpoint.name == "checkpoint.pt"


def test_peers_normalise_pixels_as_we_do(support, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS / "peers")
    pixels = importlib.import_module("pixels")
    parser = argparse.ArgumentParser()
    pixels.add_arguments(parser)
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    default = pixels.normalised(image, parser.parse_args([]))
    assert default == pytest.approx(normalize(image[None], Preprocessing()), abs=1e-6)
    asked = parser.parse_args(["--mean", "0.1", "0.2", "0.3", "--std", "0.5", "0.6", "0.7"])
    stated = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    assert pixels.normalised(image, asked) == pytest.approx(
        normalize(image[None], stated), abs=1e-6
    )


def _figures(**changed: float) -> dict[str, float]:
    figures = {"top1_pct": 88.2, "drop_points": 0.0, "agreement_pct": 98.8}
    return {**figures, "expected_agreement_pct": 98.5, "sqnr_db": 23.61, **changed}


@pytest.fixture
def document() -> dict[str, Any]:
    """What the benchmark prints where one peer works, one fails and one is not installed."""
    over = {"median": 0.8123, "low": 0.8, "high": 0.83}
    latency = {
        "ghostedge_float.tflite": {"cpu_p50_ms": 21.04, "ours_over": over},
        "ghostedge.tflite": {"cpu_p50_ms": 9.96},
        "ghostedge.onnx": {"cpu_p50_ms": 11.2},
        "onnxruntime.onnx": {"cpu_p50_ms": 13.8, "ours_over": over},
    }
    setting = {"setting": "from deploy: --per-channel", **_figures(sqnr_db=18.82)}
    worse = {"setting": "from deploy: defaults", **_figures(sqnr_db=10.0)}
    peers = {
        "onnxruntime": {"slug": "onnxruntime", "best": 1, "settings": [worse, setting]},
        "NNCF": {"slug": "nncf", "best": None, "settings": [{"setting": "a", "failed": "no"}]},
        "onnx2tf": {"slug": "onnx2tf", "best": None, "settings": [], "skipped": "no"},
    }
    ours = {"onnx": _figures(), "tflite": _figures(drop_points=0.2)}
    wrong = {"onnx": _figures(), "tflite": _figures(top1_pct=76.4, agreement_pct=96.0)}
    network = {
        "float": {"top1_pct": 88.4},
        "ours": ours,
        "peers": peers,
        "latency": latency,
    }
    guesses = {"lite0": {"float": {"top1_pct": 76.6}, **wrong}}
    machine = {"cpu": "Cortex-A76", "os": "Debian 12", "load_average_1min": 0.4}
    measured = {"folds": [0, 1], "images_per_fold": 250, "machine": machine}
    return {"networks": {"lite0": network}, "wrong_guess": guesses, **measured}


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| EfficientNet")]
    return [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in lines]


def test_every_quantizer_has_a_row_with_its_best_setting_or_why_there_is_none(support, document):
    text = support("imagenet_markdown").markdown(document)
    assert text.startswith(
        "Measured on Cortex-A76, Debian 12; load average 0.4 at the end. Scored on 500"
    )
    ours = ["88.20", "0.20", "98.80", "98.50", "23.61"]
    assert _rows(text)[:6] == [
        ["float", "", "88.4", "", "", "", "", "21.0"],
        ["ours, TFLite", "", *ours, "10.0"],
        ["ours, ONNX", "", "88.20", "0.00", *ours[2:], "11.2"],
        [
            *("onnxruntime", "from deploy: --per-channel", "88.20", "0.00", "98.80", "98.50"),
            *("18.82", "13.8 · 0.81 [0.80, 0.83]"),
        ],
        ["NNCF", "", "failed", "", "", "", "", ""],
        ["onnx2tf", "", "skipped", "", "", "", "", ""],
    ]


def test_a_wrong_guess_stands_below_the_right_one(support, document):
    text = support("imagenet_markdown").markdown(document)
    assert _rows(text)[6:] == [
        ["its own", "88.4", "88.2", "98.8", "23.6"],
        ["ImageNet's", "76.6", "76.4", "96.0", "23.6"],
    ]


def test_a_network_that_was_not_given_a_wrong_guess_has_no_table_of_it(support, document):
    text = support("imagenet_markdown").markdown(document | {"wrong_guess": {}})
    assert len(_rows(text)) == 6
    assert "guess" not in text
