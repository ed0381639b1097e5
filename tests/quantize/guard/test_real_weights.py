"""The guard on real weights, with two activations whose ranges are made far too wide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from ghostedge_quantize import Int8Settings, Prepared, Range, prepare
from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.guard.judge import (
    Image,
    Judge,
    LayerNoise,
    answers,
    open_in_onnxruntime,
    outputs,
    prices,
)
from ghostedge_quantize.guard.score import Budget, Target
from ghostedge_quantize.guard.search import Candidates, Check, Deadline, LayerCost, State, guard
from ghostedge_runtime.formats.backend import Backend
from ghostedge_runtime.metadata import Preprocessing

DEPTHWISE, GATED = "blocks.3.0.conv_dw/Conv", "blocks.5.0.ghost2.primary_conv.0/Conv"


class Quiet:
    def measuring(self, layers: Sequence[str]) -> Iterable[str]:
        return layers

    def ranked(self, costs: Sequence[LayerCost]) -> None: ...

    def checked(self, check: Check) -> None: ...


def load(model: onnx.ModelProto) -> Sequence[Backend]:
    return open_in_onnxruntime(model, 1)


def input_of(prepared: Prepared, layer: str) -> str:
    (node,) = (n for n in canonical_ir(prepared.model).graph if n.name == layer)
    return str(node.inputs[0].name)  # type: ignore[union-attr] # a layer has an input


@pytest.fixture(scope="module")
def hurt(
    trained_deploy: onnx.ModelProto,
    trained_preprocessing: Preprocessing,
    trained_calib: Path,
    images: type,
) -> Prepared:
    calibration = images(sorted(trained_calib.rglob("*.jp*g"))[::10], trained_preprocessing)
    prepared = prepare(
        trained_deploy, calibration, Int8Settings(), preprocessing=trained_preprocessing
    )
    tensors = dict(prepared.ranges.tensors)
    for layer in (DEPTHWISE, GATED):
        name = input_of(prepared, layer)
        tensors[name] = Range(200 * tensors[name].low, 200 * tensors[name].high)
    return replace(prepared, ranges=replace(prepared.ranges, tensors=tensors))


@pytest.fixture(scope="module")
def pixels(
    trained_test: Path, trained_preprocessing: Preprocessing, images: type
) -> list[np.ndarray]:
    paths = sorted(trained_test.rglob("*.jp*g"))[::20]
    return [batch[0] for batch in images(paths, trained_preprocessing).raw]


@pytest.fixture(scope="module")
def float_image(pixels: list[np.ndarray], trained_preprocessing: Preprocessing) -> Image:
    from ghostedge_runtime.images import normalize  # noqa: PLC0415 - beside its only use

    def image(index: int) -> np.ndarray:
        return np.ascontiguousarray(
            normalize(pixels[index][None], trained_preprocessing)[0].transpose(2, 0, 1)
        )

    return image


def test_layers_beside_ruined_activations_are_found_and_left_float(
    hurt: Prepared, trained_deploy: onnx.ModelProto, pixels: list[np.ndarray], float_image: Image
) -> None:
    network = load(trained_deploy)
    target = Target(Budget("min_agreement", 95), answers(network, float_image, len(pixels)))
    logits = np.concatenate([rows for _, rows in outputs(network, float_image, range(16))])
    judge = Judge(hurt, pixels.__getitem__, target, [load])
    place = hurt.layers.index(DEPTHWISE), hurt.layers.index(GATED)
    layers = hurt.layers[place[0] - 6 : place[1] + 4]  # of 96, to be quick
    assert judge(frozenset(), Deadline(None)).loss > 15
    outcome = guard(
        Candidates(
            layers,
            noise=LayerNoise(hurt, pixels.__getitem__, logits.astype(np.float32), load),
            price=prices(hurt.model),
            score=judge,
        ),
        deadline=Deadline(None),
        state=State(),
        listener=Quiet(),
    )
    assert outcome.met
    assert outcome.score.images == len(pixels)
    assert {DEPTHWISE, GATED} & set(outcome.keep_float)
    assert len(outcome.keep_float) <= 6
    worst = [cost.layer for cost in outcome.costs[:8]]
    assert {DEPTHWISE, GATED} <= set(worst)
    for layer in outcome.keep_float:
        assert not judge(frozenset(outcome.keep_float) - {layer}, Deadline(None)).holds


def test_prices_cover_every_layer_and_rise_with_its_size(hurt: Prepared) -> None:
    price = prices(hurt.model)
    assert set(price) == set(hurt.layers)
    assert sum(price.values()) == pytest.approx(1)
    assert price["classifier/Gemm"] > price["blocks.3.0.se.conv_reduce/Conv"]
    assert min(price.values()) > 0.5 / len(price)
