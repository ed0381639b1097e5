"""Which file to ship, from the figures of a manifest alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ghostedge.records.manifest import Artefact, Manifest, manifest_of
from ghostedge.show.shipping import shipping_sentences
from ghostedge_runtime.record import Estimate

V1 = Path(__file__).parents[1] / "records" / "manifest_v1.json"
NAME = "ghostnet_050_glyphs"


@pytest.fixture
def manifest() -> Manifest:
    """ONNX and TFLite, float and int8, of the bundled network."""
    return manifest_of(json.loads(V1.read_text()), V1)


def with_times(manifest: Manifest, times: Mapping[str, tuple[float, float, float]]) -> Manifest:
    """The same files with other p50 and intervals, by the ends of their names."""

    def timed(artefact: Artefact) -> Artefact:
        latency = artefact.latency
        assert latency is not None
        p50 = Estimate(*times[artefact.file.removeprefix(NAME)])
        base = times[artefact.file.removeprefix(NAME).replace("_int8", "")][0]
        speed_up = base / p50.value if "_int8" in artefact.file else None
        return replace(artefact, latency=replace(latency, p50_ms=p50), speed_up=speed_up)

    return replace(manifest, artefacts=tuple(map(timed, manifest.artefacts)))


SLOW_ONNX = {
    ".onnx": (1.0, 0.98, 1.02),
    ".tflite": (0.8, 0.79, 0.81),
    "_int8.onnx": (1.25, 1.23, 1.27),
    "_int8.tflite": (0.4, 0.39, 0.41),
}


def test_the_fastest_file_is_named_with_the_reasons(manifest: Manifest) -> None:
    advice, *_ = shipping_sentences(with_times(manifest, SLOW_ONNX))
    assert advice.startswith(f"to ship on this machine: {NAME}_int8.tflite (the fastest file")
    assert f"0.400 ms; 2.00 times the speed of {NAME}.tflite" in advice


def test_an_int8_file_slower_than_float_is_never_left_unsaid(manifest: Manifest) -> None:
    _, slower = shipping_sentences(with_times(manifest, SLOW_ONNX))
    assert slower.startswith(
        f"{NAME}_int8.onnx is slower than {NAME}.onnx on this machine (0.80 times its speed): "
        f"of the two ship {NAME}.onnx"
    )


def test_times_that_overlap_are_not_called_slower(manifest: Manifest) -> None:
    overlapping = SLOW_ONNX | {"_int8.onnx": (1.01, 0.97, 1.05)}
    _, same = shipping_sentences(with_times(manifest, overlapping))
    assert f"is not shown to be faster than {NAME}.onnx" in same
    assert "what it saves is size" in same


def test_a_file_that_misses_its_budget_is_not_advised(manifest: Manifest) -> None:
    def missing(artefact: Artefact) -> Artefact:
        parity = artefact.parity
        assert parity is not None
        return replace(artefact, parity=replace(parity, within_budget="_int8" not in artefact.file))

    timed = with_times(manifest, SLOW_ONNX)
    advice, *_ = shipping_sentences(replace(timed, artefacts=tuple(map(missing, timed.artefacts))))
    assert f"{NAME}.tflite" in advice.split(" (")[0]


def test_nothing_is_advised_where_nothing_was_timed(manifest: Manifest) -> None:
    untimed = tuple(replace(a, latency=None) for a in manifest.artefacts)
    assert list(shipping_sentences(replace(manifest, artefacts=untimed))) == []
