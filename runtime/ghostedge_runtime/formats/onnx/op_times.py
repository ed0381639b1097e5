"""Times of an ``.onnx`` file's nodes, from ONNX Runtime's own profiler.

They are the nodes that the session runs: those of the graph after ONNX Runtime's optimizations,
fused ones under the name it gives them, and those it adds to reorder a tensor. The profiler counts
whole microseconds and adds some to each node. Names and output shapes are as it says.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ghostedge_runtime.formats.loading import read_model_file
from ghostedge_runtime.formats.onnx.session import OnnxBackend
from ghostedge_runtime.formats.op_runs import PROFILE_WARM_UP_RUNS, profiled_runs
from ghostedge_runtime.record import Case, OpTime

_SUFFIX = "_kernel_time"


def time_onnx_ops(
    path: Path, case: Case, progress: Callable[[int, int], None] | None
) -> list[OpTime]:
    """Time every node of a file, in the order ONNX Runtime numbers them.

    Args:
        path: The file.
        case: How many threads.
        progress: Called with the runs done and how many there will be.

    Raises:
        ModelFileError: The file is missing, or ONNX Runtime does not run it.
    """
    with tempfile.TemporaryDirectory() as folder:
        backend = OnnxBackend(
            read_model_file(path), threads=case.threads, where=path, profile_to=Path(folder)
        )
        for _ in profiled_runs(backend, progress):
            pass  # ONNX Runtime writes them all down
        return node_times(json.loads(backend.end_profile().read_text(encoding="utf-8")))


def node_times(events: Iterable[dict[str, Any]]) -> list[OpTime]:
    """The nodes in a profile, with the median over the runs after the first few.

    Args:
        events: As ONNX Runtime writes them: one for each node and run, and others.
    """
    nodes: defaultdict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            name = event["name"].removesuffix(_SUFFIX)
            nodes[int(event["args"]["node_index"]), name].append(event)
    return [_node_time(index, name, runs) for (index, name), runs in sorted(nodes.items())]


def _node_time(index: int, name: str, runs: list[dict[str, Any]]) -> OpTime:
    arguments = runs[-1]["args"]
    return OpTime(
        index=index,
        op=arguments["op_name"],
        name=name,
        p50_ms=statistics.median(run["dur"] for run in runs[PROFILE_WARM_UP_RUNS:] or runs) / 1e3,
        output_shape=_first_shape(arguments.get("output_type_shape", ())),
    )


def _first_shape(outputs: Iterable[dict[str, list[int]]]) -> tuple[int, ...]:
    """Of ``[{"float": [1, 10]}, …]``; an optional output that is left out is not among them."""
    return next((tuple(shape) for output in outputs for shape in output.values()), ())
