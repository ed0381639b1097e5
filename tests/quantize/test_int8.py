"""The whole way to int8: what is done under which settings, said so, and what it brings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from ghostedge_quantize import Int8Settings, Prepared, prepare
from ghostedge_quantize.graph.plan import Tuning
from ghostedge_quantize.graph.raw_input import raw_pixels
from ghostedge_quantize.settings import BiasCorrection
from ghostedge_quantize.tuning import tune as tuning_module
from ghostedge_quantize.tuning.tune import NodeRunner
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.images import normalize
from ghostedge_runtime.metadata import Preprocessing

Batches = Callable[..., list[np.ndarray]]
Run = Callable[..., np.ndarray]
PLAIN = Int8Settings(ranges="minmax", equalize=False, bias_correction="none")
"""Nothing but measuring."""


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def prepared(model: onnx.ModelProto, arrays: list[np.ndarray], **options: Any) -> Prepared:
    return prepare(model, arrays, replace(PLAIN, **options), preprocessing=None)


@pytest.fixture(scope="module")
def arrays(batches: Batches) -> list[np.ndarray]:
    return batches(24)


@pytest.fixture(scope="module")
def hostile(ghost: onnx.ModelProto) -> onnx.ModelProto:
    """The same function, but one primary channel is 32 times as large until all who read it."""
    model = onnx.ModelProto()
    model.CopyFrom(ghost)
    changes: dict[str, tuple[Any, float]] = {
        "primary_w": (0, 32),
        "primary_b": (0, 32),
        "cheap_w": (0, 1 / 32),
        "reduce_w": (np.s_[:, 0], 1 / 32),
        "linear_w": (np.s_[:, 0], 1 / 32),
    }
    for tensor in model.graph.initializer:
        if tensor.name in changes:
            where, factor = changes[tensor.name]
            array = numpy_helper.to_array(tensor).copy()
            array[where] *= factor
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model


@pytest.mark.parametrize(
    ("options", "starts"),
    [
        ({}, []),
        ({"equalize": True}, ["equalization: "]),
        ({"bias_correction": "fast"}, ["bias correction (fast): 7 layers"]),
        ({"bias_correction": "full"}, ["bias correction (full): 7 layers"]),
        ({"rounding": "adaptive"}, ["adaptive rounding: kept in "]),
        (
            {"equalize": True, "bias_correction": "full", "rounding": "adaptive"},
            ["equalization: ", "bias correction (full): 7 layers", "adaptive rounding: kept in "],
        ),
    ],
)
def test_the_notes_say_what_was_done(
    ghost: onnx.ModelProto,
    arrays: list[np.ndarray],
    options: dict[str, Any],
    starts: list[str],
) -> None:
    notes = prepared(ghost, arrays, **options).notes
    assert len(notes) == len(starts)
    for note, start in zip(notes, starts, strict=True):
        assert note.startswith(start)


def test_with_everything_off_the_graph_is_given_back_as_it_was(
    ghost: onnx.ModelProto, arrays: list[np.ndarray]
) -> None:
    before = ghost.SerializeToString(deterministic=True)
    result = prepared(ghost, arrays)
    assert result.tuning == Tuning({}, {})
    assert result.model.SerializeToString(deterministic=True) == before
    prepared(ghost, arrays, equalize=True, bias_correction="full")
    assert ghost.SerializeToString(deterministic=True) == before


def test_the_layers_are_the_nodes_with_weights_in_graph_order(
    ghost: onnx.ModelProto, arrays: list[np.ndarray]
) -> None:
    result = prepared(ghost, arrays)
    decoders = {node.output[0] for node in result.qdq().graph.node if "Dequantize" in node.op_type}
    written = [
        node.name
        for node in result.qdq().graph.node
        if node.input[1:2] and node.input[1] in decoders and node.op_type in {"Conv", "Gemm"}
    ]
    assert list(result.layers) == written
    assert len(written) == 7


def test_equalization_and_correction_save_the_hostile_graph(
    hostile: onnx.ModelProto, ghost: onnx.ModelProto, arrays: list[np.ndarray], run: Run
) -> None:
    expected = run(ghost, arrays)
    assert run(hostile, arrays) == pytest.approx(expected, abs=1e-4)

    def error(**options: Any) -> float:
        int8 = prepared(hostile, arrays, per_channel=False, **options).qdq()
        return float(np.square(run(int8, arrays) - expected).mean())

    none, full = error(), error(bias_correction="full")
    assert full < 0.5 * none
    assert error(equalize=True) < 0.3 * none
    assert error(equalize=True, bias_correction="full") < 0.2 * none


def test_a_layer_left_float_keeps_its_float_weights_and_bias(
    ghost: onnx.ModelProto, arrays: list[np.ndarray]
) -> None:
    result = prepared(ghost, arrays, bias_correction="full", rounding="adaptive")
    original = constants(ghost)
    for layer in result.layers:
        assert np.abs(result.tuning.bias_shift[layer]).max() > 0
        model = result.qdq(keep_float=[layer])
        (node,) = [node for node in model.graph.node if node.name == layer]
        stored = constants(model)
        assert [stored[name].dtype for name in node.input[1:]] == [np.float32, np.float32]
        (twin,) = [
            n
            for n in ghost.graph.node
            if n.output[0] in {node.output[0], node.output[0].removesuffix("_float")}
        ]
        assert (stored[node.input[1]] == original[twin.input[1]]).all()
        assert (stored[node.input[2]] == original[twin.input[2]]).all()


def test_the_layers_that_stay_int8_keep_their_tuning(
    ghost: onnx.ModelProto, arrays: list[np.ndarray]
) -> None:
    result = prepared(ghost, arrays, bias_correction="full")
    whole, mixed = (constants(result.qdq(keep)) for keep in ((), result.layers[2:3]))
    for layer in (*result.layers[:2], *result.layers[3:]):
        key = f"{layer}_bias_quantized"
        assert (mixed[key] == whole[key]).all()
    assert f"{result.layers[2]}_bias_quantized" not in mixed


def test_writing_twice_gives_the_same_bytes(
    ghost: onnx.ModelProto, arrays: list[np.ndarray]
) -> None:
    first, second = (prepared(ghost, arrays, bias_correction="full") for _ in range(2))
    bytes_of = [
        result.qdq().SerializeToString(deterministic=True) for result in (first, first, second)
    ]
    assert bytes_of[0] == bytes_of[1] == bytes_of[2]


def test_images_come_in_batches_of_any_size(
    ghost: onnx.ModelProto, arrays: list[np.ndarray]
) -> None:
    single = prepared(ghost, arrays, bias_correction="full")
    joined = prepared(
        ghost, [np.concatenate(arrays[:9]), np.concatenate(arrays[9:])], bias_correction="full"
    )
    for layer, shift in single.tuning.bias_shift.items():
        assert joined.tuning.bias_shift[layer].tolist() == shift.tolist()


def test_progress_names_the_steps_and_goes_forward(
    ghost: onnx.ModelProto, arrays: list[np.ndarray]
) -> None:
    told: list[tuple[str, float]] = []

    def progress(words: str, share: float) -> None:
        told.append((words, share))

    prepare(ghost, arrays, Int8Settings(), preprocessing=None, progress=progress)
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] <= 1
    steps = [*dict.fromkeys(words for words, _ in told)]
    assert steps == [
        "channels",
        "factors of channels",
        "noise of tensors",
        "ranges",
        "weights and biases",
    ]


def test_images_beyond_the_memory_allowed_are_sampled_and_all_are_calibrated_on(
    ghost: onnx.ModelProto, arrays: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 8 * 4 * 4 * 4
    all_used = prepared(ghost, arrays, bias_correction="full")
    monkeypatch.setattr(tuning_module, "HELD_BYTES", 4 * largest)
    fed: list[int] = []

    class Counted(NodeRunner):
        def __init__(self, model: onnx.ModelProto, images: list[np.ndarray]) -> None:
            fed.append(len(images))
            super().__init__(model, images)

    monkeypatch.setattr(tuning_module, "NodeRunner", Counted)
    sampled = prepared(ghost, arrays, bias_correction="full")
    assert fed == [4, 4]
    assert sampled.ranges == all_used.ranges
    assert sampled.ranges.images == 24


def test_output_type_and_per_tensor_weights_reach_the_graph(
    ghost: onnx.ModelProto, arrays: list[np.ndarray]
) -> None:
    model = prepared(ghost, arrays, per_channel=False, output_type="int8").qdq()
    assert model.graph.output[0].type.tensor_type.elem_type in {
        onnx.TensorProto.INT8,
        onnx.TensorProto.UINT8,
    }
    scales = [array for name, array in constants(model).items() if name.endswith("_weight_scale")]
    assert len(scales) == 7
    assert all(scale.ndim == 0 for scale in scales)


@pytest.mark.parametrize("bias_correction", ["none", "fast", "full"])
def test_raw_pixels_go_in_and_the_floats_answers_come_out(
    ghost: onnx.ModelProto, run: Run, bias_correction: BiasCorrection
) -> None:
    preprocessing = Preprocessing(input_size=(8, 8))
    random = np.random.default_rng(5)
    pixels = [random.integers(0, 256, (1, 8, 8, 3), np.uint8) for _ in range(24)]
    floats = [
        np.ascontiguousarray(normalize(image, preprocessing).transpose(0, 3, 1, 2))
        for image in pixels
    ]
    chosen = Int8Settings(bias_correction=bias_correction)
    model = prepare(ghost, floats, chosen, preprocessing=preprocessing).qdq()
    assert [value.name for value in model.graph.input] == ["image"]
    expected, actual = run(ghost, floats), run(model, pixels)
    assert np.square(actual - expected).mean() < 0.005 * expected.var()


def test_images_that_are_not_normalised_are_refused(ghost: onnx.ModelProto) -> None:
    with pytest.raises(InputError, match="float32"):
        prepare(ghost, [np.zeros((1, 3, 8, 8), np.uint8)], PLAIN, preprocessing=None)


ends = st.floats(0, 1)
spreads = st.floats(0.01, 4)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(ends, spreads), min_size=1, max_size=4))
def test_raw_pixels_undo_normalisation_for_every_value(
    channels: list[tuple[float, float]],
) -> None:
    mean, std = zip(*channels, strict=True)
    preprocessing = Preprocessing(input_size=(16, 16), mean=mean, std=std)
    count = len(channels)
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    pixels = np.concatenate([np.roll(pixels, i, axis=2) for i in range(count)], axis=3)
    batch = normalize(pixels, preprocessing).transpose(0, 3, 1, 2)
    restored = raw_pixels(batch, preprocessing)
    assert restored.dtype == np.uint8
    assert restored.flags.c_contiguous
    assert (restored == pixels).all()


def test_values_that_no_pixel_has_become_the_nearest_pixels() -> None:
    preprocessing = Preprocessing(mean=(0.5,), std=(0.5,))
    batch = np.array([-3, -1, 0.3 / 127.5 - 1, 1, 1.01], np.float32).reshape(1, 1, 1, 5)
    assert raw_pixels(batch, preprocessing).ravel().tolist() == [0, 0, 0, 255, 255]


def test_bias_correction_brings_the_real_networks_mean_logits_back(
    trained_deploy: onnx.ModelProto,
    trained_preprocessing: Preprocessing,
    trained_calib: Path,
    images: type,
    run: Run,
) -> None:
    paths = sorted(trained_calib.rglob("*.jp*g"))
    calibration = list(images(paths[::8], trained_preprocessing))
    data = images(paths[4::8] + paths[2::8], trained_preprocessing)
    expected, pixels = run(trained_deploy, data), list(data.raw)

    def error(**options: Any) -> np.ndarray:
        chosen = replace(PLAIN, **options)
        int8 = prepare(trained_deploy, calibration, chosen, preprocessing=trained_preprocessing)
        return run(int8.qdq(), pixels) - expected

    none, full = error(), error(bias_correction="full")
    assert len(calibration) == 63
    assert np.abs(full.mean(axis=0)).max() < 0.8 * np.abs(none.mean(axis=0)).max()
    assert np.square(full).sum() < 1.1 * np.square(none).sum()
    assert np.square(full).sum() < 10**-2.6 * np.square(expected).sum()
