"""What images bring to the first batch norms tells preprocessings apart that the first cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from ghostedge_convert import (
    build,
    detect_architecture,
    export_onnx,
    load_checkpoint,
    resolve_preprocessing,
)
from ghostedge_convert.statistics.candidates import Candidate, candidate_of
from ghostedge_convert.statistics.early import early_norms
from ghostedge_convert.statistics.evidence import first_layer
from ghostedge_convert.statistics.measure import trained_norms
from ghostedge_convert.statistics.preprocessing import judge_preprocessing
from ghostedge_convert.statistics.stem import measure_stem
from ghostedge_runtime.images import prepare
from ghostedge_runtime.metadata import Preprocessing

REPO = Path(__file__).resolve().parents[3]
Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def bundled(example_checkpoint: Path) -> onnx.ModelProto:
    checkpoint = load_checkpoint(example_checkpoint)
    module = build(checkpoint, detect_architecture(checkpoint).architecture).eval()
    return export_onnx(module, input_size=(32, 32))


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_the_first_layer_is_that_of_the_stem_in_both_orders(
    bundled: onnx.ModelProto, pixels: Callable[[Preprocessing], Pixels], order: str
) -> None:
    shown = pixels(Preprocessing(input_size=(32, 32)))[:4]
    stem = measure_stem(bundled, [shown])
    assert stem is not None
    taken = Candidate("x", (0.2, 0.4, 0.6), (0.3, 0.4, 0.5), order)  # type: ignore[arg-type] # one of both
    seen = early_norms(bundled, [*shown])(taken).layers[0]
    np.testing.assert_allclose(seen.mean, first_layer(stem, taken).mean, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(seen.square, first_layer(stem, taken).square, rtol=1e-3, atol=1e-3)


def test_a_quarter_of_the_batch_norms_is_run_and_each_preprocessing_once(
    bundled: onnx.ModelProto, pixels: Callable[[Preprocessing], Pixels]
) -> None:
    early = early_norms(bundled, [*pixels(Preprocessing(input_size=(32, 32)))[:2]])
    taken = candidate_of(Preprocessing())
    names = [layer.name for layer in early(taken).layers]
    norms = [norm.name for norm in trained_norms(bundled)]
    assert names == norms[: -(-len(norms) // 4)]
    assert early(taken) is early(taken)


@pytest.mark.parametrize("first", [0, 32, 64])
def test_the_order_of_colours_of_a_narrow_network_is_told(first: int, cifar_test: Path) -> None:
    """Eight channels of a GhostNetV2 0.4x hardly tell CIFAR-10's mean and std in BGR from RGB."""
    checkpoint = load_checkpoint(REPO / "examples" / "cifar10" / "ghostnetv2" / "model.safetensors")
    architecture = detect_architecture(checkpoint).architecture
    wanted = resolve_preprocessing(checkpoint, architecture).preprocessing
    model = export_onnx(build(checkpoint, architecture).eval(), input_size=wanted.input_size)
    files = sorted(path for path in cifar_test.rglob("*") if path.is_file())
    chosen = np.random.default_rng(0).permutation(len(files))[first : first + 32]
    shown = [prepare(str(files[index]), wanted) for index in chosen]
    stem, early = measure_stem(model, [np.stack(shown)]), early_norms(model, shown)
    assert stem is not None
    assert judge_preprocessing(stem, wanted, early).verdict == "fits"
    in_bgr = replace(wanted, mean=wanted.mean[::-1], std=wanted.std[::-1], color_order="BGR")
    verdict = judge_preprocessing(stem, in_bgr, early)
    assert (verdict.verdict, verdict.best.color_order) == ("other", "RGB")
