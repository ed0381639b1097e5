"""The peers' table is drawn from the benchmark's JSON: what stands in the README must be right."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from ghostedge_convert import (
    export_onnx,
    identify,
    load_checkpoint,
    lower_to_tflite,
    to_deploy_graph,
)
from ghostedge_runtime.record import Case, Estimate, Result

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def support(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Modules of ``benchmarks/support`` by name, as the scripts import them."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return lambda name: importlib.import_module(f"support.{name}")


def _timed(p50_ms: float, **more: Any) -> dict[str, Any]:
    return {"p50_ms": p50_ms, "bytes": 5_730_000, "logit_correlation": 0.9912, **more}


@pytest.fixture
def document() -> dict[str, Any]:
    """What the benchmark finds where onnx2tf fails in int8 and the machine was busy."""
    over = {"value": 0.7741, "low": 0.7651, "high": 0.7849}
    files = {
        "ghostedge_float.tflite": _timed(5.123),
        "ghostedge_int8.tflite": _timed(3.456),
        "onnx2tf_float.tflite": _timed(6.618, ours_over=over),
        "onnx2tf_int8.tflite": {"skipped": "no such op"},
    }
    converted = {"conversion_s": 41.7, "peak_memory_mb": 1340.0}
    converters = {
        "ghostedge": converted,
        "onnx2tf_float.tflite": converted,
        "onnx2tf_int8.tflite": {"skipped": "no such op"},
        "litert_torch_float.tflite": converted,
        "litert_torch_int8.tflite": converted,
        "onnxruntime_int8.onnx": converted,
    }
    doubts = [
        {"kind": "busy", "file": None, "text": "the machine was busy"},
        {"kind": "drifted", "file": "ghostnet_050 a", "text": "long words"},
        {"kind": "drifted", "file": "ghostnet_050 b", "text": "long words"},
    ]
    machine = {"story": "Raspberry Pi 5, 64-bit", "os": "Debian 12", "kernel": "Linux 6.6"}
    return {
        "networks": {"ghostnet_050": {"files": files, "converters": converters}},
        "interpreters": {"ai-edge-litert": "2.3.0", "onnxruntime": "1.31.1"},
        "machine": {**machine, "doubts": doubts},
    }


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| GhostNet")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_a_peers_latency_stands_with_our_time_over_it_and_a_missing_file_says_skipped(
    support, document
):
    latency = _rows(support("peers_markdown").markdown(document))[:2]
    assert latency[0][:4] == ["GhostNet 0.5x", "float", "5.12", "6.62 · 0.77 [0.77, 0.78]"]
    assert latency[1][:4] == ["GhostNet 0.5x", "int8", "3.46", "skipped"]


def test_size_likeness_and_conversion_have_their_tables(support, document):
    rows = _rows(support("peers_markdown").markdown(document))
    assert rows[2][2] == "5.73"
    assert rows[4][2] == "0.991"
    assert rows[6] == ["GhostNet 0.5x", *["42 s · 1.3 GB"] * 2, "skipped", *["42 s · 1.3 GB"] * 3]


def test_the_machine_and_its_doubts_stand_above_the_tables(support, document):
    head = support("peers_markdown").markdown(document).splitlines()[0]
    assert head == (
        "Measured on Raspberry Pi 5, 64-bit, Debian 12, Linux 6.6; LiteRT 2.3.0, ONNX Runtime "
        "1.31.1. Doubts about the figures: the machine was busy; drifted: ghostnet_050 a, "
        "ghostnet_050 b."
    )


def test_a_file_is_compared_with_ours_of_its_precision_and_format(support):
    counterpart = support("peers_markdown").counterpart
    assert counterpart("litert_torch_int8.tflite") == "ghostedge_int8.tflite"
    assert counterpart("onnxruntime_float.onnx") == "ghostedge_float.onnx"


def test_tables_replace_what_stood_between_the_markers_and_nothing_else(support, tmp_path):
    readme = tmp_path / "README.md"
    begin, end = support("peers_markdown").MARKERS
    readme.write_text(f"before\n{begin}\nold\n{end}\nafter\n", encoding="utf-8")
    support("report").write_between_markers(readme, (begin, end), "| new |")
    assert readme.read_text() == f"before\n{begin}\n\n| new |\n\n{end}\nafter\n"


def test_a_readme_without_markers_is_left_as_it_is(support, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("no place", encoding="utf-8")
    begin, end = support("peers_markdown").MARKERS
    with pytest.raises(SystemExit, match=r"README\.md has no <!-- peers_table\.py -->"):
        support("report").write_between_markers(readme, (begin, end), "| new |")
    assert readme.read_text() == "no place"


def _kept(support: Any, tmp_path: Path, **record: Any) -> Any:
    peers = support("peers")
    output = tmp_path / "onnx2tf_int8.tflite"
    output.write_bytes(b"TFL3")
    done = peers.Conversion("onnx2tf", "-oiqt", **record)
    peers._keep(tmp_path / "kept.json", "one key", done)
    return lambda key: peers._kept(tmp_path / "kept.json", key, output)


def test_a_kept_conversion_says_that_its_seconds_are_of_an_earlier_run(support, tmp_path):
    usage = support("child").Usage(seconds=9.5, cpu_seconds=9.0, peak_memory_mb=100.0)
    found = _kept(support, tmp_path, usage=usage, file=tmp_path / "elsewhere")("one key")
    assert found.file == tmp_path / "onnx2tf_int8.tflite"
    assert found.as_json()["conversion_s"] == 9.5
    assert found.notes == ("conversion_s and peak_memory_mb are of an earlier run",)


def test_a_kept_failure_is_told_again_without_another_try(support, tmp_path):
    found = _kept(support, tmp_path, skipped="no such op")("one key")
    assert (found.skipped, found.file) == ("no such op", None)


def test_what_another_version_of_a_converter_left_is_not_taken(support, tmp_path):
    assert _kept(support, tmp_path, skipped="no such op")("another key") is None


def test_a_story_names_the_file_that_a_doubt_is_about(support):
    case = Case("ghostnet_050 onnx2tf_int8.tflite", "", 1, "litert", threads=1)
    slower = Result(case, runs=60, steady=True, drift=Estimate(1.2, 1.1, 1.3))
    steady = Result(case, runs=60, steady=True, drift=Estimate(1.0, 0.9, 1.1))
    story = support("story").Story()
    story.look()
    told = story.told([steady, slower])
    (drifted,) = (doubt for doubt in told["doubts"] if doubt["kind"] == "drifted")
    assert drifted["file"] == "ghostnet_050 onnx2tf_int8.tflite"
    assert "20.0% slower" in drifted["text"]
    assert len(told["trace"]) == 2
    json.dumps(told)


def test_a_median_of_rounds_has_its_interval_and_the_file_its_hash(support, tmp_path):
    file = tmp_path / "a.onnx"
    file.write_bytes(b"abc")
    rounds = [[2.0, 2.0], [4.0, 4.0], [3.0, 3.0]] * 4
    timed = support("story").Timed("a", file, rounds)
    assert (timed.p50_ms.value, timed.p50_ms.low, timed.p50_ms.high) == (3.0, 2.0, 4.0)
    case = timed.result.case
    assert (case.backend, case.bytes, case.sha256[:8]) == ("onnxruntime", 3, "ba7816bf")


def test_a_file_over_another_is_the_ratio_of_medians_whatever_drifts_under_both(support, tmp_path):
    timed = support("story").Timed
    rounds = [[2.0 * drift, 2.0 * drift] for drift in range(1, 13)]
    twice = timed("a", tmp_path, [[2 * time for time in each] for each in rounds])
    over = twice.over(timed("b", tmp_path, rounds))
    assert (over.value, over.low, over.high) == pytest.approx((2.0, 2.0, 2.0), abs=1e-3)


def test_every_model_is_loaded_anew_between_its_bursts_and_timed_as_often_as_the_others(support):
    interleaved = support("interleaved")
    said: list[str] = []
    models = {
        n: SimpleNamespace(
            load=lambda n=n: said.append(f"load {n}"), burst=lambda n=n: said.append(n)
        )
        for n in "ab"
    }
    interleaved.time_over_loads(models, loads=3)
    assert said.count("a") == said.count("b") == 3 * interleaved.BURSTS
    loads = [place for place, word in enumerate(said) if word == "load a"]
    assert [said[:place].count("a") for place in loads] == [2, 4]


def test_the_bursts_of_a_load_stand_together(support):
    assert support("interleaved").by_load([[1.0], [2.0], [3.0], [4.0]]) == [[1.0, 2.0], [3.0, 4.0]]


@pytest.fixture(scope="module")
def small() -> onnx.ModelProto:
    """A network of one convolution, float ONNX."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    return to_deploy_graph(export_onnx(module, input_size=(8, 8))).model


def test_a_picture_gives_the_same_logits_in_both_interpreters_whatever_the_layout(
    support, small, tmp_path
):
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    onnx.save(small, tmp_path / "small.onnx")
    (tmp_path / "small.tflite").write_bytes(lower_to_tflite(small).data)
    timed = support("interleaved").TimedModel
    first, second = (timed(tmp_path / f"small.{form}", image) for form in ("onnx", "tflite"))
    np.testing.assert_allclose(first.logits(image), second.logits(image), atol=1e-5)
    assert first.logits(image).std() > 1e-3
    for model in (first, second):
        model.burst()
        assert model.figures()["runs"] == 20


@pytest.mark.parametrize("name", ["ghostnet_050", "ghostnetv3_100", "repghostnet_050"])
def test_a_seeded_network_is_in_the_form_that_is_deployed(support, tmp_path, name):
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    module = support("workload_files").seeded(name, images)
    weights = module.state_dict()
    assert not [key for key in weights if "rpr" in key or "fusion_bn" in key]
    torch.save(weights, tmp_path / "weights.pt")
    assert identify(load_checkpoint(tmp_path / "weights.pt")).name == name
