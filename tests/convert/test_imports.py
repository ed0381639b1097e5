from __future__ import annotations

import ast
import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import ghostedge_convert

PACKAGE = Path(ghostedge_convert.__file__).parent


def test_importing_the_package_imports_neither_torch_nor_onnx():
    code = "import sys, json, ghostedge_convert; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    roots = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not roots & {"torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "numpy"}
    assert "ghostedge_convert" in roots


@pytest.mark.parametrize("name", ghostedge_convert.__all__)
def test_every_exported_name_exists_and_is_no_module(name):
    value = getattr(ghostedge_convert, name)
    assert callable(value)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ghostedge_convert.nothing


def _imported(node: ast.AST) -> list[str]:
    """The modules of the package that a statement imports, a folder itself where it names one."""
    if not isinstance(node, ast.ImportFrom) or node.module is None:
        return []
    parts = node.module.split(".")
    if parts[0] != PACKAGE.name:
        return []
    return [".".join((*parts[1:], alias.name)) for alias in node.names]


def _place(module: str) -> str:
    """The folder at the package's top that a module lies in, or the module at the top itself."""
    return module.partition(".")[0]


def _imports_between_places() -> dict[str, set[str]]:
    places: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if module == "__init__":  # it names every other module and imports none until asked
            continue
        place = _place(module)
        targets = places.setdefault(place, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets.update(_place(name) for name in _imported(node))
        targets.discard(place)
    return places


def test_no_two_folders_import_each_other_be_it_through_others():
    places = _imports_between_places()
    assert places["checkpoint"] == {"architectures"}
    order = tuple(TopologicalSorter(places).static_order())  # raises where there is a cycle
    assert order.index("lower") < order.index("sources") < order.index("qdq_in")


def test_the_networks_know_nothing_of_files():
    assert _imports_between_places()["architectures"] == set()
