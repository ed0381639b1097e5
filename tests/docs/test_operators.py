"""The table of operators in the documents is what the tables in the code, and LiteRT, say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ghostedge_convert.lower.table import TABLE

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("operators", REPO / "benchmarks/operators.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def documented() -> dict[str, tuple[str, str]]:
    """Operator → the kernels that the document states, in float and in int8."""
    text = (REPO / "docs" / "operators.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("| ")]
    return {op.strip(): (real.strip(), int8.strip()) for op, real, int8 in rows[1:]}


def test_the_table_has_every_operator_that_lowering_has(documented) -> None:
    assert sorted(TABLE) == list(documented), "add a row to docs/operators.md, in order"


@pytest.mark.parametrize("op", sorted(TABLE))
def test_the_kernels_are_those_that_run(benchmark, documented, op: str) -> None:
    measured = benchmark.measure(op)
    assert (measured.float, measured.int8) == documented[op]
