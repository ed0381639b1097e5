"""What XNNPACK took of a graph, told from the interpreter's nodes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as tfl

import ghostedge_runtime
from ghostedge_runtime import Model
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.formats.tflite import interpreter as tflite
from ghostedge_runtime.formats.tflite.delegation import Node, delegation_of, interpreter_nodes
from ghostedge_runtime.record import Delegation

F32, I8 = tfl.TensorType.FLOAT32, tfl.TensorType.INT8


def test_the_whole_of_our_int8_file_is_one_piece(glyphs_int8: Path) -> None:
    assert Model(glyphs_int8).delegation == Delegation("XNNPACK", 182, 182, 1, {})


def test_reference_kernels_are_no_delegate_and_every_operator_is_left(glyphs_int8: Path) -> None:
    found = Model(glyphs_int8, backend="litert-reference").delegation
    assert found is not None
    assert (found.delegate, found.ops, found.ops_total, found.partitions) == ("none", 0, 182, 0)
    assert found.left["CONV_2D"] == 54
    assert sum(found.left.values()) == 182
    assert list(found.left.values()) == sorted(found.left.values(), reverse=True)


def test_an_int8_hard_swish_in_the_middle_cuts_the_graph_in_two(graph: Any, tmp_path: Path) -> None:
    """XNNPACK takes HARD_SWISH in float alone."""
    names = ("image", "sum", "swish", "product", "out")
    tensors = [graph.tensor(name, (1, 8, 8, 4), I8, (0.05, 0)) for name in names]
    constant = graph.tensor("three", (1,), I8, (0.05, 0), np.array([60], np.int8))
    graph.op("ADD", 2, [tensors[0], constant], tensors[1], AddOptions={})
    graph.op("HARD_SWISH", 1, [tensors[1]], tensors[2], HardSwishOptions={})
    graph.op("MUL", 2, [tensors[2], constant], tensors[3], MulOptions={})
    graph.op("ADD", 2, [tensors[3], constant], tensors[4], AddOptions={})
    path = tmp_path / "cut.tflite"
    path.write_bytes(graph.finish([tensors[0]], [tensors[4]], None))
    assert Model(path).delegation == Delegation("XNNPACK", 3, 4, 2, {"HARD_SWISH": 1})


def test_a_float_resize_is_left_where_the_file_begins_with_it(graph: Any, tmp_path: Path) -> None:
    small, large = (graph.tensor(f"of {n}", (1, n, n, 3), F32) for n in (4, 8))
    size = graph.tensor("size", (2,), tfl.TensorType.INT32, value=np.array([8, 8], np.int32))
    out = graph.tensor("out", (1, 8, 8, 3), F32)
    graph.op("RESIZE_NEAREST_NEIGHBOR", 1, [small, size], large, ResizeNearestNeighborOptions={})
    graph.op("ADD", 1, [large, large], out, AddOptions={})
    path = tmp_path / "resize.tflite"
    path.write_bytes(graph.finish([small], [out], None))
    assert Model(path).delegation == Delegation("XNNPACK", 1, 2, 1, {"RESIZE_NEAREST_NEIGHBOR": 1})


def test_operators_are_found_between_a_piece_s_inputs_and_outputs() -> None:
    """A branch around the piece, a tensor that both sides read, an optional input left out."""
    nodes = (
        Node("A", (0, 9), (1,)),
        Node("B", (1, -1), (2,)),
        Node("C", (1, 2), (3,)),
        Node("D", (3, 1), (4,)),
        Node("DELEGATE", (0, 9), (1, 2)),
        Node("DELEGATE", (3, 1), (4,)),
    )
    assert delegation_of(nodes) == Delegation("XNNPACK", 3, 4, 2, {"C": 1})


def test_onnx_runtime_has_no_delegate(float_onnx: Path) -> None:
    assert Model(float_onnx).delegation is None


def test_a_closed_model_does_not_tell(int8_tflite: Path) -> None:
    with Model(int8_tflite) as model:
        pass
    with pytest.raises(InputError, match="closed"):
        _ = model.delegation


def test_the_private_method_that_tells_of_nodes_is_still_there(
    make_tflite: Callable[..., bytes],
) -> None:
    """Without it `Model.delegation` is None everywhere, which no other test would call a fault."""
    _, _, interpreter_class = tflite.find_interpreter()
    interpreter = interpreter_class(model_content=make_tflite("float32"))
    interpreter.allocate_tensors()
    nodes = interpreter_nodes(interpreter)
    assert nodes is not None
    assert [node.name for node in nodes] == ["MEAN", "FULLY_CONNECTED", "DELEGATE"]


@pytest.mark.parametrize("details", [None, lambda: [{"name": "ADD"}], lambda: [{"op_name": 1}]])
def test_an_interpreter_that_does_not_tell_of_its_nodes_is_believed(details: Any) -> None:
    class Silent:
        _get_ops_details = details

    assert interpreter_nodes(Silent) is None


def test_tflite_runtime_tells_too(glyphs_int8: Path, float_tflite: Path) -> None:
    """Its XNNPACK takes float operators alone: int8 ones run in TFLite's own kernels there."""
    python = os.environ.get("GHOSTEDGE_TFLITE_RUNTIME_PYTHON") or pytest.skip(
        "needs tflite-runtime 2.14: set GHOSTEDGE_TFLITE_RUNTIME_PYTHON to a Python that has it"
    )
    script = """
import sys
from pathlib import Path
from tflite_runtime.interpreter import Interpreter
sys.path.insert(0, sys.argv[1])
from ghostedge_runtime.formats.tflite.delegation import delegation_of, interpreter_nodes
for path in sys.argv[2:]:
    interpreter = Interpreter(model_content=Path(path).read_bytes())
    interpreter.allocate_tensors()
    found = delegation_of(interpreter_nodes(interpreter))
    print(found.delegate, found.ops, found.ops_total, found.partitions)
"""
    source = Path(ghostedge_runtime.__file__).parents[1]
    child = subprocess.run(
        [python, "-c", script, str(source), str(glyphs_int8), str(float_tflite)],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert child.stdout.splitlines() == ["none 0 182 0", "XNNPACK 2 2 1"], child.stderr
