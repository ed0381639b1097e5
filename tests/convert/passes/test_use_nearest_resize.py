from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.passes.use_nearest_resize import use_nearest_resize

ROWS_FIRST = (
    "a = Unsqueeze(input, three) b = Expand(a, twice) c = Reshape(b, taller)"
    " d = Unsqueeze(c, four) e = Tile(d, thrice) out = Reshape(e, larger)"
)


def test_rows_then_columns_become_one_resize(graph, apply, ops):
    model = graph(
        ROWS_FIRST,
        three=np.array([3]),
        twice=np.array([8, 3, 32, 2, 32]),
        taller=np.array([8, 3, 64, 32]),
        four=np.array([4]),
        thrice=np.array([1, 1, 1, 1, 3]),
        larger=np.array([8, 3, 64, 96]),
    )
    result, note = apply(use_nearest_resize, model)
    assert ops(result) == ["Resize"]
    assert note.edits == 2


def test_both_at_once_become_one(graph, apply, ops):
    model = graph(
        "a = Reshape(input, spread) b = Expand(a, four) out = Reshape(b, larger)",
        spread=np.array([8, 3, 32, 1, 32, 1]),
        four=np.array([8, 3, 32, 2, 32, 2]),
        larger=np.array([8, 3, 64, 64]),
    )
    assert ops(apply(use_nearest_resize, model)[0]) == ["Resize"]


def test_channels_last_is_known_by_the_transpose_above(graph, apply, ops):
    model = graph(
        "t = Transpose<perm=[0,2,3,1]>(input) r = Relu(t) a = Unsqueeze(r, two)"
        " b = Expand(a, twice) out = Reshape(b, taller)",
        two=np.array([2]),
        twice=np.array([8, 32, 2, 32, 3]),
        taller=np.array([8, 64, 32, 3]),
    )
    assert ops(apply(use_nearest_resize, model)[0]) == ["Transpose", "Relu", "Resize"]


@pytest.mark.parametrize(
    ("axis", "repeated", "merged"),
    [
        (2, (8, 3, 2, 32, 32), (8, 6, 32, 32)),  # channels, which no image resize repeats
        (2, (8, 3, 2, 32, 32), (8, 3, 64, 32)),  # one image under the other
        (3, (8, 3, 32, 2, 32), (8, 3, 32, 64)),  # likewise, side by side
    ],
)
def test_another_repetition_is_left(graph, apply, axis, repeated, merged):
    model = graph(
        "a = Unsqueeze(input, axis) b = Expand(a, repeated) out = Reshape(b, merged)",
        axis=np.array([axis]),
        repeated=np.array(repeated),
        merged=np.array(merged),
    )
    assert apply(use_nearest_resize, model)[1].edits == 0
