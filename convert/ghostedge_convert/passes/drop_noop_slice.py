"""Remove slices that keep everything.

Ghost modules end in ``[:, :out]``, which cuts only where ``out`` is odd; other exporters
write it out all the same, and on a device it would be a copy.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import bypass, constant, input_at, nodes_of, static_shape
from ghostedge_convert.passes.run import PassNote


def drop_noop_slice(model: ir.Model) -> PassNote:
    """Remove each Slice whose output is its whole input, in place."""
    slices = nodes_of(model, "Slice")
    left = [str(cut.name) for cut in slices if not _drop(model, cut)]
    dropped = len(slices) - len(left)
    note = f"{dropped} slices dropped" if dropped else "no slice that keeps everything"
    if left:
        note += f"; left {', '.join(left)}"
    return PassNote("drop_noop_slice", dropped, note)


def _drop(model: ir.Model, cut: ir.Node) -> bool:
    source = cut.inputs[0]
    shape = static_shape(source)
    if source is None or shape is None or source.is_graph_input():
        return False
    starts, ends = constant(input_at(cut, 1)), constant(input_at(cut, 2))
    if starts is None or ends is None:
        return False
    axes, steps = _optional(cut, 3, range(len(starts))), _optional(cut, 4, [1] * len(starts))
    if axes is None or steps is None:
        return False
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = shape[int(axis)]
        if len(range(size)[slice(int(start), int(end), int(step))]) != size or step < 0:
            return False
    bypass(model, cut, source)
    return True


def _optional(cut: ir.Node, index: int, default: range | list[int]) -> list[int] | None:
    """An optional input's integers, its default where absent, None where not constant."""
    value = input_at(cut, index)
    if value is None:
        return list(default)
    array = constant(value)
    return None if array is None else [int(v) for v in np.ravel(array)]
