"""What importing the runtime and loading a model may pull in, and which way its modules import."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

REPORT = """
import json, sys, sysconfig
places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
found = {
    name.split(".")[0]
    for name, module in list(sys.modules.items())
    if any((getattr(module, "__file__", None) or "").startswith(place) for place in places)
}
print(json.dumps(sorted(name for name in found if not name.startswith("_"))))
"""
OURS = {"ghostedge_runtime"}
# Each room imports those before it alone; a folder is one room.
FLOORS = (
    *("errors", "latency", "decode", "formats.table", "record", "metadata", "machine", "formats"),
    *("folders", "images", "corruptions", "image_check", "inputs", "model", "evaluation", "bench"),
    "remote",
)
DEVICE = {"numpy", "PIL", "flatbuffers"}


def third_party(script: str, *arguments: str) -> set[str]:
    child = subprocess.run(
        [sys.executable, "-c", script + REPORT, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(child.stdout.splitlines()[-1])) - OURS


def test_importing_the_package_imports_nothing_else() -> None:
    assert third_party("import ghostedge_runtime\n") == set()


def test_importing_the_errors_imports_nothing_else() -> None:
    assert third_party("import ghostedge_runtime.errors, ghostedge_runtime.metadata\n") == set()


def test_running_a_tflite_file_imports_only_what_a_device_has(int8_tflite: Path) -> None:
    script = """
import sys
from ghostedge_runtime import Model
import numpy as np
Model(sys.argv[1]).classify(np.zeros((9, 9, 3), np.uint8))
"""
    assert third_party(script, str(int8_tflite)) <= DEVICE | {"ai_edge_litert"}


def test_benchmarking_and_scoring_import_nothing_more(int8_tflite: Path) -> None:
    script = """
import sys
from ghostedge_runtime import Model, benchmark, evaluate
benchmark(Model(sys.argv[1]), min_seconds=0, min_runs=2, max_warmup_seconds=0)
"""
    assert third_party(script, str(int8_tflite)) <= DEVICE | {"ai_edge_litert"}


def test_a_measurements_coordinator_leaves_the_interpreters_to_its_workers() -> None:
    script = "import ghostedge_runtime.bench.job, ghostedge_runtime.bench.run\n"
    assert third_party(script) <= DEVICE


def test_a_worker_imports_nothing_before_it_is_pinned() -> None:
    assert third_party("import ghostedge_runtime.bench.worker\n") == set()


def test_running_an_onnx_file_never_imports_onnx_itself(float_onnx: Path) -> None:
    script = """
import sys
from ghostedge_runtime import Model
import numpy as np
Model(sys.argv[1]).classify(np.zeros((9, 9, 3), np.uint8))
"""
    heavy = {"onnx", "torch", "tensorflow", "ai_edge_litert"}
    found = third_party(script, str(float_onnx))
    assert "onnxruntime" in found
    assert not found & heavy


def test_every_public_name_is_there_and_an_unknown_one_is_not() -> None:
    import ghostedge_runtime  # noqa: PLC0415  # the module under test

    for name in ghostedge_runtime.__all__:
        assert getattr(ghostedge_runtime, name).__name__ == name
    assert set(ghostedge_runtime.__all__) <= set(dir(ghostedge_runtime))
    with pytest.raises(AttributeError, match="no attribute 'modle'"):
        _ = ghostedge_runtime.modle


def test_the_lazy_table_and_the_types_name_the_same() -> None:
    """The names that a type checker sees are written out a second time; this keeps them one."""
    import ghostedge_runtime  # noqa: PLC0415  # the module under test

    source = Path(ghostedge_runtime.__file__).read_text()
    for name, home in ghostedge_runtime._HOMES.items():
        assert f"from ghostedge_runtime.{home} import {name} as {name}" in source


def imports_of(module: Path) -> set[str]:
    """The runtime's modules that one imports, at its top or in a function, without the package."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    prefix = "ghostedge_runtime."
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


def floor_of(module: str) -> int:
    """The floor of the longest name that the module's begins with; -1 for the package's own."""
    fitting = [room for room in FLOORS if f"{module}.".startswith(f"{room}.")]
    return FLOORS.index(max(fitting, key=len)) if fitting else -1


def test_no_module_imports_one_of_a_higher_floor_and_the_package_but_for_its_version() -> None:
    import ghostedge_runtime  # noqa: PLC0415  # the package under test

    root = Path(ghostedge_runtime.__file__).parent
    upward, package = [], []
    for path in sorted(root.rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        if module == "__init__":
            continue
        assert floor_of(module) >= 0, module
        for imported in imports_of(path):
            if floor_of(imported) < 0:
                package.append((module, imported))
            elif floor_of(imported) > floor_of(module):
                upward.append((module, imported))
    assert upward == []
    assert package == [("bench.run", "__version__")]
