"""A trained GhostNet: what int8 costs on images of its classes, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from ghostedge_quantize import calibrate, quantize, unsigned_activations
from ghostedge_quantize.settings import Method
from ghostedge_runtime.metadata import Preprocessing

Run = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Case:
    """The float network, what it is calibrated on, and its answers to the test images."""

    trained: Any
    model: onnx.ModelProto
    preprocessing: Preprocessing
    calibration: Iterable[np.ndarray]
    pixels: list[np.ndarray]
    classes: np.ndarray
    float_answers: np.ndarray
    run: Run

    def int8_answers(self, every: int = 1, **options: Method) -> np.ndarray:
        ranges = calibrate(self.model, self.calibration, **options)
        int8 = quantize(self.model, ranges, preprocessing=self.preprocessing)
        return self.run(unsigned_activations(int8), self.pixels[::every]).argmax(axis=1)


@pytest.fixture(scope="module")
def case(  # noqa: PLR0917 - fixtures arrive by name
    trained: Any,
    trained_deploy: onnx.ModelProto,
    trained_preprocessing: Preprocessing,
    trained_calib: Path,
    trained_test: Path,
    images: type,
    run: Run,
) -> Case:
    paths = sorted(trained_test.rglob("*.jp*g"))
    names = sorted({path.parent.name for path in paths})
    data = images(paths, trained_preprocessing)
    return Case(
        trained=trained,
        model=trained_deploy,
        preprocessing=trained_preprocessing,
        calibration=images(sorted(trained_calib.rglob("*.jp*g")), trained_preprocessing),
        pixels=list(data.raw),
        classes=np.array([names.index(path.parent.name) for path in paths]),
        float_answers=run(trained_deploy, data).argmax(axis=1),
        run=run,
    )


def test_int8_loses_at_most_one_point_on_the_test_images(case: Case) -> None:
    answers = case.int8_answers()
    float_top1 = (case.float_answers == case.classes).mean()
    assert len(answers) == case.trained.test_images
    assert 100 * float_top1 == pytest.approx(case.trained.top1_pct, abs=2)
    assert float_top1 - (answers == case.classes).mean() <= 0.01
    assert (answers == case.float_answers).mean() > 0.98


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse", "entropy"])
def test_the_other_methods_lose_at_most_one_point_on_a_fifth_of_them(
    case: Case, method: Method
) -> None:
    answers = case.int8_answers(every=5, method=method)
    classes, float_answers = case.classes[::5], case.float_answers[::5]
    assert len(answers) == case.trained.test_images // 5
    assert (float_answers == classes).mean() - (answers == classes).mean() <= 0.01
