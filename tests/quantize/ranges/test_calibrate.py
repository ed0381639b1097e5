from __future__ import annotations

import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import get_args

import numpy as np
import onnx
import pytest

from ghostedge_quantize import calibrate
from ghostedge_quantize.parallel import workers
from ghostedge_quantize.settings import Method
from ghostedge_runtime.errors import InputError

Toy = Callable[..., onnx.ModelProto]
Batches = Callable[..., list[np.ndarray]]
METHODS = get_args(Method)


@pytest.mark.parametrize("method", METHODS)
def test_ranges_are_measured_where_the_plan_needs_them_and_nowhere_else(
    ghost: onnx.ModelProto, batches: Batches, method: Method
) -> None:
    ranges = calibrate(ghost, batches(4), method=method)
    # No range for what a fused activation follows; concat and flatten have their group's.
    assert set(ranges.tensors) == {
        "input", "stem", "primary", "cheap", "pooled", "reduced", "gate", "gated", "linear",
        "residual", "mean", "logits", "both", "flat",
    }  # fmt: skip
    assert ranges.method == method
    assert ranges.images == 4
    assert set(ranges.chosen) == set(ranges.tensors)
    assert method == "auto" or set(ranges.chosen.values()) == {method}


def test_minmax_is_what_the_graph_computes(
    ghost: onnx.ModelProto, batches: Batches, run: Callable[..., np.ndarray]
) -> None:
    data = batches(6)
    ranges = calibrate(ghost, data, method="minmax")
    for name in ("stem", "gated", "linear", "residual", "logits"):
        values = run(ghost, data, outputs=[name])
        assert ranges.tensors[name].low == pytest.approx(min(values.min(), 0), rel=1e-5)
        assert ranges.tensors[name].high == pytest.approx(max(values.max(), 0), rel=1e-5)


def test_branches_of_a_concat_get_one_range_over_both(
    ghost: onnx.ModelProto, batches: Batches, run: Callable[..., np.ndarray]
) -> None:
    data = batches(6)
    ranges = calibrate(ghost, data, method="minmax").tensors
    assert ranges["primary"] == ranges["cheap"]
    assert ranges["cheap"].high == pytest.approx(run(ghost, data, outputs=["both"]).max(), rel=1e-5)


@pytest.mark.parametrize("method", ["auto", "percentile", "mse", "entropy"])
def test_histogram_methods_stay_within_the_extremes(
    ghost: onnx.ModelProto, batches: Batches, method: Method
) -> None:
    whole = calibrate(ghost, batches(200), method="minmax").tensors
    inner = calibrate(ghost, batches(200), method=method).tensors
    assert all(whole[n].low <= inner[n].low <= inner[n].high <= whole[n].high for n in whole)
    assert inner["input"] != whole["input"]


def test_batches_need_not_have_the_models_own_size(toy: Toy, batches: Batches) -> None:
    body = "y = Conv(input, w) m = GlobalAveragePool(y) logits = Flatten(m)"
    model = toy(body, {"w": np.ones((10, 3, 1, 1))}, shape=(2, 3, 8, 8), output=(2, 10))
    data = batches(5)
    one = calibrate(model, data, method="minmax")
    three = calibrate(model, [np.concatenate(data[:3]), np.concatenate(data[3:])], method="minmax")
    assert one.images == three.images == 5
    for name, ends in one.tensors.items():
        assert three.tensors[name] == pytest.approx(ends, rel=1e-5)


@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_no_more_batches_are_held_than_the_workers_have_in_hand(
    ghost: onnx.ModelProto, method: Method
) -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    class Stream:
        def __iter__(self) -> Iterator[np.ndarray]:
            nonlocal most
            for seed in range(30):
                batch = np.random.default_rng(seed).normal(size=(1, 3, 8, 8)).astype(np.float32)
                alive.append(weakref.ref(batch))
                most = max(most, sum(ref() is not None for ref in alive))
                yield batch

    calibrate(ghost, Stream(), method=method)
    # One for each worker and as many done as are waited for, the next, and one still named.
    assert most <= workers() + 3


def test_memory_does_not_grow_with_the_number_of_batches(toy: Toy) -> None:
    body = "y = Conv(input, w) m = GlobalAveragePool(y) logits = Flatten(m)"
    model = toy(body, {"w": np.ones((10, 3, 1, 1))}, shape=(1, 3, 64, 64))

    class Stream:
        def __init__(self, count: int) -> None:
            self.count = count

        def __iter__(self) -> Iterator[np.ndarray]:
            random = np.random.default_rng(0)
            for _ in range(self.count):
                yield random.normal(size=(1, 3, 64, 64)).astype(np.float32)

    def peak(count: int) -> int:
        tracemalloc.start()
        calibrate(model, Stream(count), method="mse")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(2)
    few = max(peak(20) for _ in range(3))  # threads are at their largest together by chance
    # The inputs of 180 more images are 8.8 MB, their activations 30 MB.
    assert peak(200) - few < 500_000


def test_auto_takes_each_tensors_range_from_the_method_it_names(
    ghost: onnx.ModelProto, batches: Batches
) -> None:
    auto = calibrate(ghost, batches(200), method="auto")
    by_method = {m: calibrate(ghost, batches(200), method=m).tensors for m in METHODS[1:]}
    for name, ends in auto.tensors.items():
        assert ends == by_method[auto.chosen[name]][name]
    assert len(set(auto.chosen.values())) > 1
    assert auto.chosen["primary"] == auto.chosen["cheap"]


def test_ranges_are_chosen_per_tensor_by_default(ghost: onnx.ModelProto, batches: Batches) -> None:
    assert calibrate(ghost, batches(4)) == calibrate(ghost, batches(4), method="auto")


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_poisoned_image_is_named_with_the_first_tensor_it_reached(
    ghost: onnx.ModelProto, batches: Batches, poison: float
) -> None:
    data = batches(6)
    data[4][0, 1, 2, 3] = poison
    with pytest.raises(InputError, match="calibration image 4") as caught:
        calibrate(ghost, [np.concatenate(data[:2]), *data[2:]])
    assert caught.value.where == "input"


def test_an_activation_that_overflows_is_named(toy: Toy, batches: Batches) -> None:
    body = "y = Conv(input, w) z = Mul(y, y) m = GlobalMaxPool(z) logits = Flatten(m)"
    model = toy(body, {"w": np.full((10, 3, 1, 1), 1e25)})
    with pytest.raises(InputError, match="NaN or infinite for calibration image 0") as caught:
        calibrate(model, batches(2))
    assert caught.value.where == "z"


def test_no_images_are_refused(ghost: onnx.ModelProto) -> None:
    with pytest.raises(InputError, match="no calibration images"):
        calibrate(ghost, [])


@pytest.mark.parametrize("method", METHODS)
def test_one_pass_over_an_iterator_is_enough(
    ghost: onnx.ModelProto, batches: Batches, method: Method
) -> None:
    once = calibrate(ghost, iter(batches(9)), method=method)
    assert once == calibrate(ghost, batches(9), method=method)


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_images_does_not_matter(
    ghost: onnx.ModelProto, batches: Batches, method: Method
) -> None:
    forwards = calibrate(ghost, batches(9), method=method)
    backwards = calibrate(ghost, batches(9)[::-1], method=method)
    assert replace(backwards, uses=()) == replace(forwards, uses=())
    for use, turned in zip(forwards.uses, backwards.uses, strict=True):
        assert replace(turned, image=8 - turned.image) == use or use.widening == 1


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((1, 3, 8, 8), np.uint8), "uint8, not float32"),
        (np.zeros((1, 3, 8, 8), np.float64), "float64, not float32"),
        (np.zeros((1, 8, 8, 3), np.float32), r"\[8, 8, 3\], the model takes \[3, 8, 8\]"),
        (np.zeros((3, 8, 8), np.float32), r"\[8, 8\], the model takes \[3, 8, 8\]"),
    ],
)
def test_arrays_that_the_model_does_not_take_are_refused(
    ghost: onnx.ModelProto, batch: np.ndarray, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        calibrate(ghost, [batch])


def test_an_unknown_method_is_refused_with_the_known_ones(ghost: onnx.ModelProto) -> None:
    with pytest.raises(InputError, match="auto, minmax, percentile, mse, entropy"):
        calibrate(ghost, [], method="guess")  # type: ignore[arg-type]  # what a user may type
