"""Every operator by itself: cut out rightly, timed, and counted once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as tfl
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from ghostedge_runtime import Model
from ghostedge_runtime.bench.per_op import KindTime, by_kind, time_ops, total_ms
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.formats import op_runs
from ghostedge_runtime.formats.onnx.op_times import node_times
from ghostedge_runtime.formats.tflite import op_times
from ghostedge_runtime.formats.tflite.op_times import OneOp, OneOpModels
from ghostedge_runtime.record import Case, OpTime

F16, F32, I32 = tfl.TensorType.FLOAT16, tfl.TensorType.FLOAT32, tfl.TensorType.INT32


def case(path: Path, backend: Any = "litert") -> Case:
    return Case(str(path), sha256="", bytes=0, backend=backend, threads=1)


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are not looked at here, so one run of each is enough."""
    monkeypatch.setattr(op_times, "_ROUNDS", 1)
    for name in ("_WARM_UP_RUNS", "_WARM_UP_NS", "_NS"):
        monkeypatch.setattr(op_runs, name, 0)
    monkeypatch.setattr(op_runs, "_RUNS", 1)


@pytest.fixture(scope="module")
def pieces(glyphs_int8: Path) -> OneOpModels:
    return OneOpModels(glyphs_int8.read_bytes(), glyphs_int8, fold_pads=True)


def named(operators: tuple[OneOp, ...], op: str) -> list[OneOp]:
    return [one for one in operators if one.op == op]


@pytest.mark.parametrize("fold_pads", [True, False])
def test_the_operators_run_one_by_one_give_the_whole_models_answer(
    glyphs_int8: Path, fold_pads: bool
) -> None:
    """Reference kernels compute the same in any company, so bit for bit."""
    whole = Model(glyphs_int8, backend="litert-reference")
    image = np.random.default_rng(0).integers(0, 256, whole.io.input.shape, np.uint8)
    models = OneOpModels(glyphs_int8.read_bytes(), glyphs_int8, fold_pads=fold_pads)
    known = {whole.io.input.name: image}
    for one in models.operators:
        if one.counted_in is None:
            known.update(run_alone(models.model(one), known))
    np.testing.assert_array_equal(known["logits"], whole.predict(image))


def run_alone(data: bytes, known: dict[str, Any]) -> dict[str, Any]:
    interpreter = Interpreter(
        model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], known[detail["name"]])
    interpreter.invoke()
    return {
        detail["name"]: interpreter.get_tensor(detail["index"])
        for detail in interpreter.get_output_details()
    }


def test_every_operator_of_the_file_is_there_with_its_kind_name_and_shape(
    pieces: OneOpModels,
) -> None:
    operators = pieces.operators
    assert [one.index for one in operators] == list(range(182))
    assert len(named(operators, "CONV_2D")) == 54
    last = operators[-1]
    assert (last.op, last.name, last.output_shape) == ("DEQUANTIZE", "logits", (1, 36))


def test_a_pad_goes_with_the_convolution_that_reads_it(pieces: OneOpModels) -> None:
    """All nine: symmetric padding before strides, and the stem's."""
    pads = named(pieces.operators, "PAD")
    assert len(pads) == 9
    for pad in pads:
        reader = pieces.operators[pad.index + 1]
        assert reader.with_it == (pad.index,)
        assert pad.counted_in == (
            f"counted in operator {reader.index}, the {reader.op} that XNNPACK folds it into"
        )
    assert sum(len(one.with_it) for one in pieces.operators) == 9


def test_kernels_that_do_not_fold_time_the_pad_itself(glyphs_int8: Path) -> None:
    models = OneOpModels(glyphs_int8.read_bytes(), glyphs_int8, fold_pads=False)
    assert not any(one.with_it or one.counted_in for one in models.operators)


@pytest.mark.parametrize(
    "change", ["channels", "same padding", "read twice", "an output", "not constant"]
)
def test_a_pad_that_cannot_be_folded_has_its_own_time(graph: Any, change: str) -> None:
    amounts = np.array([0, 0, 1, 1, 1, 1, 0, 1 if change == "channels" else 0], np.int32)
    depth = 3 if change == "channels" else 2
    image = graph.tensor("image", (1, 4, 4, 2), F32)
    value = None if change == "not constant" else amounts
    padding = graph.tensor("padding", (4, 2), I32, value=value)
    padded = graph.tensor("padded", (1, 6, 6, depth), F32)
    weights = graph.tensor("weights", (1, 3, 3, depth), F32, value=np.ones((3, 3, depth), "f4"))
    bias = graph.tensor("bias", (1,), F32, value=np.zeros(1, "f4"))
    size = 6 if change == "same padding" else 4
    out = graph.tensor("out", (1, size, size, 1), F32)
    twice = graph.tensor("twice", (1, 6, 6, depth), F32)
    graph.op("PAD", 1, [image, padding], padded, PadOptions={})
    options = {"padding": int(change != "same padding"), "strideW": 1, "strideH": 1}
    graph.op("CONV_2D", 1, [padded, weights, bias], out, Conv2DOptions=options)
    outputs = [out]
    if change == "read twice":
        graph.op("ADD", 1, [padded, padded], twice, AddOptions={})
        outputs.append(twice)
    if change == "an output":
        outputs.append(padded)
    inputs = [image, padding] if change == "not constant" else [image]
    data = graph.finish(inputs, outputs, None)
    pad, conv, *_ = OneOpModels(data, Path("m"), fold_pads=True).operators
    assert (pad.op, pad.counted_in, conv.with_it) == ("PAD", None, ())


def test_what_is_made_of_constants_goes_with_what_uses_it(graph: Any, tmp_path: Path) -> None:
    """Half-precision weights are made float32 once, when a file is opened."""
    image, out = graph.tensor("image", (1, 4), F32), graph.tensor("out", (1, 4), F32)
    half = graph.tensor("half", (4,), F16, value=np.arange(4, dtype=np.float16))
    full = graph.tensor("full", (4,), F32)
    graph.op("DEQUANTIZE", 2, [half], full, DequantizeOptions={})
    graph.op("ADD", 1, [image, full], out, AddOptions={})
    path = tmp_path / "half.tflite"
    path.write_bytes(graph.finish([image], [out], None))
    models = OneOpModels(path.read_bytes(), path, fold_pads=True)
    assert models.operators[1].with_it == (0,)
    alone = run_alone(models.model(models.operators[1]), {"image": np.ones((1, 4), np.float32)})
    np.testing.assert_array_equal(alone["out"], [[1, 2, 3, 4]])
    add, dequantize = time_ops(path, case(path))
    assert (add.op, add.note) == ("ADD", None)
    assert dequantize == OpTime(
        0, "DEQUANTIZE", "full", 0.0, (4,), "counted in what uses it: computed once, from constants"
    )


def test_an_operator_that_does_not_run_alone_is_listed_with_the_reason(
    graph: Any, tmp_path: Path
) -> None:
    """A shape that the graph computes: alone it would be random."""
    image, wanted = graph.tensor("image", (1, 4), F32), graph.tensor("wanted", (2,), I32)
    made, out = graph.tensor("made", (2,), I32), graph.tensor("out", (2, 2), F32)
    one = graph.tensor("one", (2,), I32, value=np.ones(2, np.int32))
    graph.op("MUL", 1, [wanted, one], made, MulOptions={})
    graph.op("RESHAPE", 1, [image, made], out, ReshapeOptions={})
    path = tmp_path / "computed.tflite"
    path.write_bytes(graph.finish([image, wanted], [out], None))
    mul, reshape = time_ops(path, case(path))
    assert (mul.op, mul.note) == ("MUL", None)
    assert (reshape.op, reshape.p50_ms, reshape.output_shape) == ("RESHAPE", 0.0, (2, 2))
    assert reshape.note is not None
    assert reshape.note.startswith("it does not run alone: ")
    assert "RESHAPE" in reshape.note or "reshape" in reshape.note


@pytest.mark.parametrize(("backend", "pads"), [("litert", 9), ("litert-reference", 0)])
def test_all_operators_of_a_file_are_timed_slowest_first(
    glyphs_int8: Path, backend: str, pads: int
) -> None:
    told: list[tuple[int, int]] = []
    found = time_ops(glyphs_int8, case(glyphs_int8, backend), progress=lambda *at: told.append(at))
    assert sorted(op.index for op in found) == list(range(182))
    assert [op.p50_ms for op in found] == sorted((op.p50_ms for op in found), reverse=True)
    assert [op.op for op in found if op.note is not None] == ["PAD"] * pads
    assert all(op.note is not None for op in found[len(found) - pads :])
    assert found[0].p50_ms > 0
    assert told == [(done, 182) for done in range(1, 183)]


def test_calling_the_interpreter_is_not_counted_as_the_operators_time(
    float_tflite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call takes 5 µs here, of which the smallest operator's 2 are the call itself."""
    spent = iter([[2000], [5000], [1000]])
    monkeypatch.setattr(op_times, "timed_ns", lambda call: next(spent))
    mean, fully_connected = time_ops(float_tflite, case(float_tflite))
    assert (mean.op, mean.p50_ms) == ("MEAN", 0.003)
    assert (fully_connected.op, fully_connected.p50_ms) == ("FULLY_CONNECTED", 0.0)


def test_kinds_are_added_up_with_their_share() -> None:
    def op(kind: str, ms: float, note: str | None = None) -> OpTime:
        return OpTime(0, kind, "", ms, (), note)

    ops = [op("CONV_2D", 2.0), op("ADD", 1.0), op("CONV_2D", 5.0), op("PAD", 0.0, "counted in …")]
    assert total_ms(ops) == 8.0
    assert by_kind(ops) == (
        KindTime("CONV_2D", 2, 7.0, 0.875),
        KindTime("ADD", 1, 1.0, 0.125),
        KindTime("PAD", 1, 0.0, 0.0),
    )
    assert by_kind([]) == ()
    assert by_kind([op("PAD", 0.0)]) == (KindTime("PAD", 1, 0.0, 0.0),)


@pytest.mark.parametrize(("dtype", "low", "high"), [("int8", -128, 127), ("uint8", 0, 255)])
def test_quantized_inputs_use_their_whole_range(dtype: str, low: int, high: int) -> None:
    values = op_runs.random_values((100, 100), np.dtype(dtype))
    assert (values.min(), values.max(), values.dtype) == (low, high, dtype)


def test_indices_are_zero_and_floats_are_spread_around_it() -> None:
    assert not op_runs.random_values((4,), np.dtype("int32")).any()
    floats = op_runs.random_values((10_000,), np.dtype("float32"))
    assert (floats.dtype, abs(floats.mean()) < 0.05) == (np.float32, True)
    assert floats.std() == pytest.approx(1, abs=0.05)


def test_onnx_runtimes_profile_is_read_by_node_with_the_median_after_warm_up() -> None:
    """Five runs of warm-up, then 3, 1 and 8 µs; what is no node is passed over."""

    def event(microseconds: int, **changes: Any) -> dict[str, Any]:
        args = {"node_index": "7", "op_name": "Conv", "output_type_shape": [{"float": [1, 8, 4]}]}
        return {"cat": "Node", "name": "stem_kernel_time", "dur": microseconds, "args": args} | (
            changes
        )

    events = [{"cat": "Session", "name": "model_run", "dur": 99}]
    events += [event(1000)] * 5 + [event(3), event(1), event(8)]
    events += [event(9, name="stem_fence_before", args={})]
    events += [event(2, name="gate_kernel_time", args={"node_index": "3", "op_name": "Mul"})]
    assert node_times(events) == [
        OpTime(3, "Mul", "gate", 0.002, ()),
        OpTime(7, "Conv", "stem", 0.003, (1, 8, 4)),
    ]


def test_an_onnx_files_nodes_are_timed_as_onnx_runtime_runs_them(
    float_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[tuple[int, int]] = []
    found = time_ops(
        float_onnx, case(float_onnx, "onnxruntime"), progress=lambda *at: told.append(at)
    )
    shapes = {op.op: op.output_shape for op in found}
    assert shapes["Gemm"] == (1, 3)
    assert shapes["ReduceMean"] == (1, 3)
    assert told == [(done, 35) for done in range(1, 36)]
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_an_error_before_it_is_taken_apart(
    glyphs_int8: Path, tmp_path: Path
) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(glyphs_int8.read_bytes()[:5000])
    with pytest.raises(ModelFileError, match="damaged"):
        time_ops(path, case(path))


def test_without_the_formats_bindings_it_says_so(
    int8_tflite: Path, make_tflite: Callable[..., bytes]
) -> None:
    """As where tflite-runtime is all there is; in a child, for the import is not tried twice."""
    script = """
import sys
sys.modules["ai_edge_litert.schema_py_generated"] = None
from pathlib import Path
from ghostedge_runtime.bench.per_op import time_ops
from ghostedge_runtime.record import Case
from ghostedge_runtime.errors import MissingDependencyError
path = Path(sys.argv[1])
try:
    time_ops(path, Case(str(path), "", 0, "litert", 1))
except MissingDependencyError as error:
    print(error)
"""
    child = subprocess.run(
        [sys.executable, "-c", script, str(int8_tflite)], capture_output=True, text=True, check=True
    )
    assert "needs the bindings of its format" in child.stdout
    assert "pip install ai-edge-litert" in child.stdout
