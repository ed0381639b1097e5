"""A graph in parts computes what it computes whole, from any part on."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from ghostedge_quantize.codes import Range, affine
from ghostedge_quantize.equalization.output_noise import with_pairs
from ghostedge_quantize.equalization.segments import Segments
from ghostedge_quantize.graph.canonical import canonical_ir

Batches = Callable[..., list[np.ndarray]]
Run = Callable[..., np.ndarray]
PARAMS = affine(Range(-1.0, 3.0))


def _paired(part: onnx.ModelProto, tensors: Collection[str]) -> onnx.ModelProto:
    return with_pairs(part, tensors, PARAMS)


def test_the_parts_together_are_the_graph(
    ghost: onnx.ModelProto, batches: Batches, run: Run
) -> None:
    arrays = batches(3)
    outputs = Segments(ghost, arrays).outputs()
    np.testing.assert_allclose(
        np.concatenate([logits for (logits,) in outputs]), run(ghost, arrays), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", ["input", "stem", "primary", "cheap", "both", "logits"])
def test_a_change_anywhere_is_that_of_the_whole_graph(
    ghost: onnx.ModelProto, batches: Batches, run: Run, name: str
) -> None:
    arrays = batches(3)
    changed = Segments(ghost, arrays).changed([name], _paired)
    whole = run(_paired(ghost, [name]), arrays, outputs=None)
    actual = np.concatenate([logits for (logits,) in changed])
    np.testing.assert_allclose(actual, whole, rtol=1e-5, atol=1e-6)


def test_changes_in_several_parts_are_made_together(
    ghost: onnx.ModelProto, batches: Batches, run: Run
) -> None:
    arrays, names = batches(2), ["input", "primary", "logits"]
    changed = Segments(ghost, arrays).changed(names, _paired)
    whole = run(_paired(ghost, names), arrays, outputs=None)
    actual = np.concatenate([logits for (logits,) in changed])
    np.testing.assert_allclose(actual, whole, rtol=1e-5, atol=1e-6)


def test_only_the_parts_that_make_a_tensor_are_changed(
    ghost: onnx.ModelProto, batches: Batches
) -> None:
    changed: list[Collection[str]] = []

    def change(part: onnx.ModelProto, tensors: Collection[str]) -> onnx.ModelProto:
        changed.append(tensors)
        return part

    segments = Segments(ghost, batches(2))
    same = segments.changed(["cheap", "of another graph"], change)
    assert changed == [{"cheap"}]
    for one, other in zip(same, segments.outputs(), strict=True):
        np.testing.assert_array_equal(one[0], other[0])


def test_every_graph_of_the_canonical_form_can_be_cut(
    ghost: onnx.ModelProto, batches: Batches
) -> None:
    assert len(Segments(ir.to_proto(canonical_ir(ghost)), batches(1)).outputs()) == 1
