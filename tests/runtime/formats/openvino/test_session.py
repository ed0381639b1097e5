"""OpenVINO runs an IR and an ONNX file as ONNX Runtime does; damage is said in plain words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ghostedge_runtime import Model
from ghostedge_runtime.bench.job import Variants, make_job
from ghostedge_runtime.bench.per_op import time_ops
from ghostedge_runtime.errors import InputError, ModelFileError
from ghostedge_runtime.formats.loading import whole_digest
from ghostedge_runtime.formats.openvino import changes
from ghostedge_runtime.metadata import METADATA_KEY
from ghostedge_runtime.record import Case

openvino = pytest.importorskip("openvino")

RED = np.full((20, 20, 3), (240, 10, 10), np.uint8)


def saved(data: bytes, path: Path, metadata: str | None) -> Path:
    network = openvino.Core().read_model(model=data)
    if metadata is not None:
        network.set_rt_info(metadata, METADATA_KEY)
    openvino.save_model(network, path, compress_to_fp16=False)
    return path


@pytest.fixture
def ir(float_onnx: Path, metadata_for: Callable[..., Any], tmp_path: Path) -> Path:
    """The float colour classifier as an IR with our metadata."""
    document = metadata_for("float32", "NCHW").to_json()
    return saved(float_onnx.read_bytes(), tmp_path / "colours.xml", document)


def test_an_ir_names_what_the_onnx_file_names_with_the_same_logits(
    ir: Path, float_onnx: Path
) -> None:
    with Model(ir) as model, Model(float_onnx) as original:
        assert model.runtime[0] == "openvino"
        assert model.backend == "openvino"
        assert model.classify(RED)[0].label == "red"
        assert (model.io.input.shape, model.io.input.dtype) == ((1, 3, 8, 8), "float32")
        np.testing.assert_allclose(
            model.logits(model.preprocess(RED)), original.logits(original.preprocess(RED)), 1e-5
        )


@pytest.mark.parametrize(
    "module", ["ghostedge_runtime.formats.openvino.session", "ghostedge.formats.openvino"]
)
def test_importing_openvino_tells_nobody_of_it(module: str) -> None:
    script = f"""
import sys
from concurrent.futures import ThreadPoolExecutor
ThreadPoolExecutor.submit = lambda *event, **more: print("sent", event)
import {module}
print("openvino" in sys.modules, "openvino_telemetry" in sys.modules)
"""
    child = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert child.stdout.split() == ["True", "False"]


def test_an_output_is_the_callers_own(ir: Path) -> None:
    with Model(ir) as model:
        first = model.predict(model.preprocess(RED))
        kept = first.copy()
        model.predict(model.preprocess(255 - RED))
        np.testing.assert_array_equal(first, kept)


def test_an_onnx_file_runs_in_openvino_where_that_is_asked_for(float_onnx: Path) -> None:
    with Model(float_onnx, backend="openvino") as model:
        assert model.runtime[0] == "openvino"
        assert model.metadata is not None
        assert model.classify(RED)[0].label == "red"


def test_an_int8_output_has_the_scale_that_the_metadata_tell(
    save_onnx: Callable[..., Path], metadata_for: Callable[..., Any]
) -> None:
    path = save_onnx(int8_output=True, metadata=metadata_for("float32", "NCHW"))
    with Model(path, backend="openvino") as model:
        assert model.io.outputs[0].dtype == "int8"


def test_floats_are_computed_as_floats_though_the_processor_may_have_bfloat16(ir: Path) -> None:
    with Model(ir) as model:
        backend = model._backend
        assert backend is not None
        hint = backend._compiled.get_property("INFERENCE_PRECISION_HINT")  # type: ignore[attr-defined]  # OpenVINO's backend
        assert hint == openvino.Type.f32


def test_a_file_without_our_metadata_runs_but_knows_no_preprocessing(
    save_onnx: Callable[..., Path], tmp_path: Path
) -> None:
    path = saved(save_onnx().read_bytes(), tmp_path / "plain.xml", None)
    with Model(path) as model:
        assert model.predict(np.zeros((1, 3, 8, 8), np.float32)).shape == (1, 3)
        with pytest.raises(InputError, match="metadata"):
            model.classify(RED)


def test_a_missing_bin_is_named(ir: Path) -> None:
    ir.with_suffix(".bin").unlink()
    with pytest.raises(ModelFileError, match=r"its weights are in 'colours\.bin', which is not"):
        Model(ir)


def test_a_bin_that_is_cut_short_is_named_with_both_lengths(ir: Path) -> None:
    weights = ir.with_suffix(".bin")
    size = weights.stat().st_size
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelFileError, match=rf"has {size - 1} bytes, its last constant ends at"):
        Model(ir)


@pytest.mark.parametrize("keep", [60, 900])
def test_an_xml_that_is_cut_short_is_refused(ir: Path, keep: int) -> None:
    ir.write_bytes(ir.read_bytes()[:keep])
    with pytest.raises(ModelFileError, match="OpenVINO"):
        Model(ir)


def test_an_xml_of_another_kind_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    path.write_text('<?xml version="1.0"?><feed/>')
    with pytest.raises(ModelFileError, match=r"(?s)no OpenVINO IR.*--format onnx,openvino"):
        Model(path)


def test_the_digest_is_of_the_weights_too(ir: Path) -> None:
    before = whole_digest(ir.read_bytes(), ir)
    weights = ir.with_suffix(".bin")
    weights.write_bytes(bytes([weights.read_bytes()[0] ^ 1]) + weights.read_bytes()[1:])
    after = whole_digest(ir.read_bytes(), ir)
    assert before[1] == after[1] == ir.stat().st_size + weights.stat().st_size
    assert before[0] != after[0]


def test_a_job_has_the_usual_backend_of_each_format_and_openvino_where_it_is_named(
    ir: Path, float_onnx: Path
) -> None:
    usual = make_job([ir, float_onnx])
    assert [case.backend for case in usual.cases] == ["openvino", "onnxruntime"]
    halved = Variants(backends=["openvino"], precision_modes=["default", "fp16"])
    named = make_job([ir, float_onnx], halved)
    assert [(case.backend, case.precision_mode) for case in named.cases] == [
        ("openvino", "default"),
        ("openvino", "fp16"),
    ] * 2


def test_half_precision_is_refused_for_a_quantized_file(save_onnx: Callable[..., Path]) -> None:
    path = save_onnx(int8_output=True)
    assert not changes(path.read_bytes(), path)
    with pytest.raises(InputError, match="half precision is not for a quantized file"):
        Model(path, backend="openvino", precision_mode="fp16")


def test_the_operators_have_times_names_and_shapes(ir: Path) -> None:
    case = Case(str(ir), "", 0, "openvino", 1)
    told: list[tuple[int, int]] = []
    ops = time_ops(ir, case, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]
    assert {op.op for op in ops} & {"FullyConnected", "MatMul", "ReduceMean"}
    assert any(op.output_shape == (1, 3) for op in ops)
    assert all(op.p50_ms >= 0 for op in ops)


def test_without_openvino_the_pip_line_is_given(ir: Path) -> None:
    """In a child, for a module that failed to import is not tried twice."""
    script = """
import sys
sys.modules["openvino"] = None
from ghostedge_runtime import Model
from ghostedge_runtime.errors import MissingDependencyError
try:
    Model(sys.argv[1])
except MissingDependencyError as error:
    print(error.remedy)
"""
    child = subprocess.run(
        [sys.executable, "-c", script, str(ir)], capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == "pip install 'ghostedge-runtime[openvino]'"


def test_it_imports_neither_another_interpreter_nor_onnx(ir: Path) -> None:
    script = """
import json, sys
from ghostedge_runtime import Model
import numpy as np
Model(sys.argv[1]).classify(np.zeros((9, 9, 3), np.uint8))
heavy = {"onnx", "torch", "tensorflow", "ai_edge_litert", "onnxruntime"}
print(json.dumps(sorted(heavy & {name.partition(".")[0] for name in sys.modules})))
"""
    child = subprocess.run(
        [sys.executable, "-c", script, str(ir)], capture_output=True, text=True, check=True
    )
    assert json.loads(child.stdout.splitlines()[-1]) == []
