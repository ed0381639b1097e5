"""A conversion's record is read as it was written, by this version and by the one before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ghostedge.records.manifest import Manifest, is_manifest, manifest_of
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.machine.words import fact_rows
from ghostedge_runtime.record import Case, Estimate, Score

VERSION_1 = Path(__file__).with_name("manifest_v1.json")
"""What GhostEdge wrote of the bundled network before version 2, byte for byte."""


def read(path: Path) -> Manifest:
    return manifest_of(json.loads(path.read_text()), path)


@pytest.fixture
def first() -> Manifest:
    return read(VERSION_1)


def written(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "any name at all"
    path.write_text(json.dumps(document))
    return path


def test_version_1_is_read_as_the_same_objects(first: Manifest) -> None:
    document = json.loads(VERSION_1.read_text())
    assert document["manifest_version"] == 1
    for artefact, before in zip(first.artefacts, document["artefacts"], strict=True):
        latency, kept = artefact.latency, before["latency"]
        assert latency is not None
        assert latency.case.threads == kept["threads"]
        assert latency.runs == kept["runs"]
        assert latency.p50_ms == Estimate(kept["p50_ms"], kept["p50_ms"], kept["p50_ms"])
        assert (latency.load_ms, latency.peak_rss_mb) == (kept["load_ms"], kept["peak_rss_mb"])
        assert artefact.speed_up == kept["speed_up"]
        assert artefact.accuracy == Score(**before["accuracy"])
        assert (artefact.bytes, artefact.sha256) == (before["bytes"], before["sha256"])
    assert [a.latency.case.backend for a in first.artefacts if a.latency] == [
        "onnxruntime",
        "litert",
    ] * 2
    assert first.run.machine.cpu == document["host"]["cpu"]
    assert "instructions" not in fact_rows(first.run.machine)  # version 1 did not keep them
    assert first.run.settings.min_runs == 50
    assert first.folder == VERSION_1.parent


def test_what_is_written_is_of_version_2_and_read_as_it_was(
    first: Manifest, tmp_path: Path
) -> None:
    first.write(tmp_path)
    document = json.loads((tmp_path / "manifest.json").read_text())
    assert document["manifest_version"] == 2
    assert document["artefacts"][0]["latency"]["rounds"] == []
    assert "folder" not in document
    assert read(tmp_path / "manifest.json") == replace(first, folder=tmp_path)


def test_its_run_has_each_files_result_with_its_score(first: Manifest) -> None:
    results = first.measured().results
    assert [result.case.model for result in results] == [a.file for a in first.artefacts]
    assert [result.score for result in results] == [a.accuracy for a in first.artefacts]


def test_a_file_that_was_not_timed_has_a_result_without_times(first: Manifest) -> None:
    untimed = [replace(artefact, latency=None) for artefact in first.artefacts]
    result = replace(first, artefacts=tuple(untimed)).measured().results[1]
    artefact = first.artefacts[1]
    assert result.case == Case(artefact.file, artefact.sha256, artefact.bytes, "litert", 1)
    assert result.p50_ms is None
    assert result.score == artefact.accuracy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"manifest_version": 3}, "version 3, this GhostEdge reads up to 2"),
        ({"manifest_version": "one"}, "manifest_version is 'one'"),
        ({"artefacts": None}, "artefacts: a list is expected"),
        ({"artefacts": [{"file": "a.onnx"}]}, "artefacts.0.: it has no 'format'"),
        ({"versions": []}, "versions: a dict is expected"),
        ({"host": {}}, "run.machine: it has no 'machine'"),
        ({"name": 1}, "name: a str is expected"),
    ],
)
def test_a_document_that_does_not_fit_is_refused_with_the_place(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = written(tmp_path, json.loads(VERSION_1.read_text()) | changes)
    with pytest.raises(InputError, match=message) as raised:
        read(path)
    assert raised.value.where == str(path)
    assert raised.value.remedy


def test_an_unknown_format_of_a_file_is_refused(tmp_path: Path) -> None:
    document = json.loads(VERSION_1.read_text())
    document["artefacts"][0]["format"] = "mp3"
    with pytest.raises(InputError, match="mp3"):
        read(written(tmp_path, document))


@pytest.mark.parametrize("document", [[], {}, {"run_version": 1, "runs": []}])
def test_what_has_no_version_of_it_is_no_manifest(document: Any) -> None:
    assert not is_manifest(document)
    assert is_manifest({"manifest_version": 1})
