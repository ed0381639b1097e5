"""What holds for every module of the conversion."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import ghostedge
from ghostedge.formats.table import TARGETS

FOLDER = Path(ghostedge.__file__).parent / "conversion"
MODULES = sorted(FOLDER.glob("*.py"))
MOST_PARAMETERS = 5
# Where the format that all others are made from is named, and what is written by default.
NAMES_FORMATS = {"run.py": {"onnx"}, "option_groups.py": {"onnx", "tflite"}}


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Of a function, ``self`` and ``cls`` not counted."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [rest for rest in (arguments.vararg, arguments.kwarg) if rest is not None]
    return [argument.arg for argument in every if argument.arg not in ("self", "cls")]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_function_takes_more_than_five_parameters(module: Path) -> None:
    functions = (
        node
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    counts = {function.name: len(parameters(function)) for function in functions}
    assert {name: n for name, n in counts.items() if n > MOST_PARAMETERS} == {}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_format_is_named_in_the_table_and_nowhere_else(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert strings & TARGETS.keys() == NAMES_FORMATS.get(module.name, set())


def test_no_module_imports_what_writes_or_runs_one_format() -> None:
    imported = re.compile(r"import .*\b(lower_to_tflite|write_\w+|TFLiteBackend)\b")
    for module in MODULES:
        assert imported.search(module.read_text(encoding="utf-8")) is None, module.name
