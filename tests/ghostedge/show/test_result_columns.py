"""What a conversion measured is shown like any other measurement."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from ghostedge.commands.report import command
from ghostedge.records.manifest import Manifest, manifest_of
from ghostedge.show.contents import gather
from ghostedge.show.markdown import markdown
from ghostedge.show.page import page
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.record import document

VERSION_1 = Path(__file__).parents[1] / "records" / "manifest_v1.json"


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return manifest_of(json.loads(VERSION_1.read_text()), VERSION_1)


def rows(text: str) -> list[list[str]]:
    """The cells of the table of results."""
    table = text.partition("## Results")[2].partition("\n\np50,")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def report(*arguments: object) -> None:
    CliRunner().invoke(
        command, list(map(str, arguments)), catch_exceptions=False, standalone_mode=False
    )


def test_every_file_is_shown_with_size_latency_score_and_likeness(manifest: Manifest) -> None:
    headings, _, *cases = rows(markdown(gather([manifest])))
    by_file = {case[0].split("`")[1]: dict(zip(headings, case, strict=True)) for case in cases}
    assert list(by_file) == [artefact.file for artefact in manifest.artefacts]
    for artefact in manifest.artefacts:
        shown = by_file[artefact.file]
        assert artefact.latency is not None
        assert artefact.latency.p50_ms is not None
        assert artefact.accuracy is not None
        assert float(shown["p50"].removesuffix(" ms")) == pytest.approx(
            artefact.latency.p50_ms.value, rel=0.01
        )
        assert shown["top-1"] == f"{artefact.accuracy.top1_pct:.2f} %"
        assert shown["size"] == f"{artefact.bytes / 1e6:.2f} MB"
    assert by_file["ghostnet_050_glyphs_int8.tflite"]["sqnr to float"] == "26.6 dB"
    assert by_file["ghostnet_050_glyphs_int8.tflite"]["agrees with float"] == "100.00 %"
    assert by_file["ghostnet_050_glyphs.tflite"]["sqnr to float"] == "–"


def test_how_large_a_file_is_zipped_is_shown_where_it_is_known(manifest: Manifest) -> None:
    artefacts = tuple(replace(each, zipped_bytes=each.bytes // 2) for each in manifest.artefacts)
    headings, _, first, *_ = rows(markdown(gather([replace(manifest, artefacts=artefacts)])))
    assert dict(zip(headings, first, strict=True))["zipped"] == "2.73 MB"
    assert "zipped" not in rows(markdown(gather([manifest])))[0]


def test_a_figure_without_an_interval_is_shown_without_one(manifest: Manifest) -> None:
    assert "0.382 ms |" in markdown(gather([manifest]))
    assert "p50 0.382 ms&#10;p90" in (text := page(gather([manifest])))
    assert "(95 %: )" not in text


def test_the_page_has_a_point_for_each_file_and_says_what_was_missed(manifest: Manifest) -> None:
    missed = replace(manifest, missed=("a.tflite: the <budget> is 20 dB",))
    text = page(gather([missed]))
    assert text.count("<section") > 4
    assert "What the conversion missed" in text
    assert "a.tflite: the &lt;budget&gt; is 20 dB" in text
    assert "What the conversion missed" not in page(gather([manifest]))


def test_the_content_decides_what_a_file_is_and_it_stands_beside_measurements(
    tmp_path: Path, bare
) -> None:
    shutil.copy(VERSION_1, tmp_path / "run.json")
    (tmp_path / "manifest.json").write_text(json.dumps(document([bare])))
    report(tmp_path / "run.json", tmp_path / "manifest.json", "-o", tmp_path / "both.md")
    text = (tmp_path / "both.md").read_text()
    assert text.startswith("# 8 cases on ")
    assert "ghostnet_050_glyphs_int8.onnx" in text
    assert "broken.tflite" in text


def test_a_conversion_that_was_not_timed_shows_what_else_is_known(manifest: Manifest) -> None:
    artefacts = tuple(replace(each, latency=None) for each in manifest.artefacts)
    headings, *_ = rows(markdown(gather([replace(manifest, artefacts=artefacts)])))
    assert headings[:2] == ["case", "backend"]
    assert "size" in headings
    assert "top-1" in headings
    assert "p50" not in headings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"manifest_version": 3}, "version 3, this GhostEdge reads up to 2"),
        ({"artefacts": [{"file": "a.onnx"}]}, "it has no 'format'"),
        ({"artefacts": []}, "it holds no results"),
    ],
)
def test_one_of_a_newer_version_or_a_broken_one_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    broken = tmp_path / "manifest.json"
    broken.write_text(json.dumps(json.loads(VERSION_1.read_text()) | changes))
    with pytest.raises(InputError, match=message):
        report(broken, "-o", tmp_path / "r.md")
    assert not (tmp_path / "r.md").exists()
