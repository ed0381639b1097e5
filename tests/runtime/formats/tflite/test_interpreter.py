"""Which interpreter and which kernels are taken, and what is said when there are none."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ghostedge_runtime import Model
from ghostedge_runtime.errors import InputError, MissingDependencyError, ModelFileError
from ghostedge_runtime.formats.tflite import interpreter as tflite

Save = Callable[..., Path]


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def pretend(monkeypatch: pytest.MonkeyPatch, name: str, interpreter: Any) -> None:
    """A module ``package.module`` with an interpreter in it."""
    module, package = ModuleType(name), name.partition(".")[0]
    module.Interpreter = interpreter
    monkeypatch.setitem(sys.modules, package, ModuleType(package))
    monkeypatch.setitem(sys.modules, name, module)


def test_litert_comes_first() -> None:
    pytest.importorskip("ai_edge_litert")
    name, version, _ = tflite.find_interpreter()
    assert name == "ai-edge-litert"
    assert version[0].isdigit()


def test_tflite_runtime_comes_second(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "ai_edge_litert", "ai_edge_litert.interpreter")
    pretend(monkeypatch, "tflite_runtime.interpreter", "the second")
    name, _, interpreter = tflite.find_interpreter()
    assert (name, interpreter) == ("tflite-runtime", "the second")


def test_tensorflow_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "ai_edge_litert", "ai_edge_litert.interpreter", "tflite_runtime")
    tensorflow = ModuleType("tensorflow")
    tensorflow.lite = ModuleType("lite")
    tensorflow.lite.Interpreter = "the last"
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    name, _, interpreter = tflite.find_interpreter()
    assert (name, interpreter) == ("tensorflow", "the last")


@pytest.mark.parametrize("distribution", ["ai-edge-litert", "tflite-runtime", "tensorflow"])
def test_every_installed_interpreter_runs_the_file(distribution: str, int8_tflite: Path) -> None:
    """In a child that can import no other interpreter."""
    modules = {name: module for name, module, _ in tflite._INTERPRETERS}
    package = modules.pop(distribution).partition(".")[0]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{distribution} is not installed")
    script = """
import sys
for name in sys.argv[2:]:
    sys.modules[name] = None
import numpy as np
from ghostedge_runtime import Model
model = Model(sys.argv[1])
print(model.runtime[0], model.classify(np.full((9, 9, 3), (20, 200, 20), np.uint8))[0].label)
"""
    others = [part for module in modules.values() for part in (module, module.partition(".")[0])]
    child = subprocess.run(
        [sys.executable, "-c", script, str(int8_tflite), *others],
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.split()[-2:] == [distribution, "green"]


def test_without_any_interpreter_the_pip_line_is_given(
    monkeypatch: pytest.MonkeyPatch, int8_tflite: Path
) -> None:
    hide(
        monkeypatch, "ai_edge_litert", "ai_edge_litert.interpreter", "tflite_runtime", "tensorflow"
    )
    with pytest.raises(MissingDependencyError, match="no TFLite interpreter") as caught:
        Model(int8_tflite)
    assert "pip install ai-edge-litert" in (caught.value.remedy or "")


def test_an_interpreter_built_for_another_numpy_says_so(
    monkeypatch: pytest.MonkeyPatch, int8_tflite: Path
) -> None:
    def fails(**_: object) -> None:
        raise SystemError("returned a result with an exception set")

    hide(monkeypatch, "ai_edge_litert", "ai_edge_litert.interpreter")
    pretend(monkeypatch, "tflite_runtime.interpreter", fails)
    with pytest.raises(MissingDependencyError, match="does not work with NumPy") as caught:
        Model(int8_tflite)
    assert caught.value.remedy == "pip install 'numpy<2'"


def test_an_interpreter_that_does_not_verify_never_sees_a_damaged_file(
    monkeypatch: pytest.MonkeyPatch, int8_tflite: Path, tmp_path: Path
) -> None:
    """Damage that the metadata reader passes over: the subgraph's tensors lead out of the file."""
    tfl = pytest.importorskip("ai_edge_litert.schema_py_generated")
    seen: list[object] = []
    data = bytearray(int8_tflite.read_bytes())
    graph = tfl.Model.GetRootAs(data, 0).Subgraphs(0)._tab
    place = graph.Pos + graph.Offset(4)
    data[place : place + 4] = (2**31).to_bytes(4, "little")
    path = tmp_path / "damaged.tflite"
    path.write_bytes(data)
    hide(monkeypatch, "ai_edge_litert", "ai_edge_litert.interpreter")
    pretend(monkeypatch, "tflite_runtime.interpreter", lambda **given: seen.append(given))
    with pytest.raises(ModelFileError, match="damaged"):
        Model(path)
    assert seen == []


def test_without_onnx_runtime_the_pip_line_is_given(float_onnx: Path) -> None:
    """In a child, for a module that failed to import is not tried twice."""
    script = """
import sys
sys.modules["onnxruntime"] = None
from ghostedge_runtime import Model
from ghostedge_runtime.errors import MissingDependencyError
try:
    Model(sys.argv[1])
except MissingDependencyError as error:
    print(error.remedy)
"""
    child = subprocess.run(
        [sys.executable, "-c", script, str(float_onnx)], capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == "pip install 'ghostedge-runtime[onnx]'"


def test_an_op_no_interpreter_knows_is_refused_with_the_interpreters_reason(
    save_tflite: Save, tmp_path: Path
) -> None:
    data = save_tflite("float32").read_bytes()
    tfl = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    model = tfl.ModelT.InitFromPackedBuf(data, 0)
    model.operatorCodes[0].version = 99
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "future.tflite"
    path.write_bytes(builder.Output())
    with pytest.raises(ModelFileError, match=r"refuses it .*version"):
        Model(path)


def test_a_file_chooses_its_backend(int8_tflite: Path, float_onnx: Path) -> None:
    assert Model(int8_tflite).backend == "litert"
    assert Model(float_onnx).backend == "onnxruntime"
    assert Model(float_onnx, backend="onnxruntime").backend == "onnxruntime"


def test_reference_kernels_give_the_same_int8_answers_within_a_step(int8_tflite: Path) -> None:
    fast, plain = Model(int8_tflite), Model(int8_tflite, backend="litert-reference")
    assert (plain.backend, plain.io, plain.metadata) == (
        "litert-reference",
        fast.io,
        fast.metadata,
    )
    step = 0.05  # the scale of the logits before they are made float
    images = np.random.default_rng(0).integers(0, 256, (50, *fast.io.input.shape), np.uint8)
    for image in images:
        assert np.abs(fast.logits(image) - plain.logits(image)).max() <= step * 1.001


def test_reference_kernels_are_taken_only_where_asked_for(float_tflite: Path) -> None:
    by = {name: Model(float_tflite, backend=name) for name in ("litert", "litert-reference")}
    assert {name: model.delegation.delegate for name, model in by.items()} == {
        "litert": "XNNPACK",
        "litert-reference": "none",
    }
    image = np.full((1, 8, 8, 3), (1, 2, 3), np.float32)
    for model in by.values():
        np.testing.assert_allclose(model.predict(image), [[10, 20, 30]], rtol=1e-6)


@pytest.mark.parametrize(
    ("fixture", "backend", "able"),
    [
        ("int8_tflite", "onnxruntime", "litert or litert-reference"),
        ("float_onnx", "litert", "onnxruntime"),
        ("float_onnx", "litert-reference", "onnxruntime"),
    ],
)
def test_a_backend_of_the_other_format_is_refused_with_those_that_run_the_file(
    request: pytest.FixtureRequest, fixture: str, backend: Any, able: str
) -> None:
    with pytest.raises(InputError, match=f"the backend '{backend}' does not run") as caught:
        Model(request.getfixturevalue(fixture), backend=backend)
    assert able in (caught.value.remedy or "")


@pytest.mark.parametrize(
    ("choice", "close"),
    [({"backend": "litert-ref"}, "litert-reference"), ({"precision_mode": "f16"}, "fp16")],
)
def test_an_unknown_choice_is_refused_with_the_closest_there_is(
    int8_tflite: Path, choice: Any, close: str
) -> None:
    with pytest.raises(InputError, match="there is no") as caught:
        Model(int8_tflite, **choice)
    assert f"did you mean {close!r}?" in (caught.value.remedy or "")


@pytest.mark.parametrize(
    ("fixture", "backend", "why"),
    [
        ("float_onnx", None, "ONNX Runtime computes in the precision that the .onnx file says"),
        ("float_tflite", "litert-reference", "reference kernels compute float models in 32 bits"),
    ],
)
def test_half_precision_is_refused_where_a_backend_has_none(
    request: pytest.FixtureRequest, fixture: str, backend: Any, why: str
) -> None:
    with pytest.raises(InputError, match=why):
        Model(request.getfixturevalue(fixture), backend=backend, precision_mode="fp16")


def test_a_file_that_is_missing_is_told_before_a_backend_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        Model(tmp_path / "absent.onnx", backend="litert", precision_mode="fp16")
