"""A report of an analysis, from what the analysis itself writes."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from ghostedge.records.quantization import read_quantization
from ghostedge.show.markdown import markdown
from ghostedge.show.page import page
from ghostedge_runtime.errors import InputError


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """As ``ghostedge inspect --quantization --json`` writes it."""
    findings = pytest.importorskip("ghostedge_quantize.analysis.findings")
    inspection = pytest.importorskip("ghostedge.layer_errors")
    effect = findings.Effect(mse=0.1, sqnr_db=22.5, changed=0.02)
    layers = tuple(
        findings.LayerAnalysis(
            name=f"blocks.{n}/Conv",
            op="Conv",
            activation=findings.Activation("t", 30.0 + n, 25.0, 0.0, 0.0, 256, 250, 200),
            weights=findings.Weights(None if n == 1 else 41.5, "file", 0.0, 127, 1.0),
            effect=effect,
            share=(0.1, 0.7, 0.2)[n],
        )
        for n in range(3)
    )
    culprit = findings.Culprit("blocks.1/Conv", effect, None, "one scale for all", "per channel")
    analysis = findings.Analysis(8, True, effect, layers, (culprit,))
    report = inspection.QuantizationReport("net_int8.onnx", "photos", None, ("a note",), analysis)
    file = tmp_path_factory.mktemp("layers") / "layers.json"
    file.write_text(json.dumps(asdict(report)))
    return file


def test_the_analysis_reads_back_as_it_was_written(written):
    found = read_quantization(written)
    assert found.file == "net_int8.onnx"
    assert [layer.share for layer in found.analysis.layers] == [0.1, 0.7, 0.2]
    assert found.analysis.layers[1].weights.sqnr_db is None
    assert found.analysis.total.changed == 0.02


def test_the_page_shows_each_layer_and_the_worst_with_its_remedy(written, bare, contents_of):
    text = page(contents_of(bare, quantization=(read_quantization(written),)))
    section = text[text.index("<h2>Quantization error") : text.index("<h2>The machine")]
    assert "22.5 dB above its noise; 98.0 % keep their top-1" in section
    assert section.index("blocks.1/Conv") < section.index("blocks.2/Conv", section.index("<table"))
    assert "one scale for all → per channel" in section
    assert section.count('aria-label="blocks.1/Conv&#10;Conv: 70.0 % of the noise"') == 2
    assert "a note" in section


def test_markdown_shows_the_worst_layers_first(written, bare, contents_of):
    text = markdown(contents_of(bare, quantization=(read_quantization(written),)))
    rows = re_rows(text)
    assert rows == ["`blocks.1/Conv`", "`blocks.2/Conv`", "`blocks.0/Conv`"]
    assert "| `blocks.1/Conv` | `Conv` | 31.0 dB | 25.0 dB | exact | 70.0 % |" in text


def re_rows(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.startswith("| `blocks.")]
    return [line.split("|")[1].strip() for line in lines]


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"analysis": 3}', '{"run_version": 1, "runs": []}']
)
def test_another_file_is_refused_with_what_writes_the_right_one(tmp_path, content):
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(InputError, match="inspect --quantization") as raised:
        read_quantization(file)
    assert raised.value.where == str(file)
