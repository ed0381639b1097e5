"""The front by its definition, on points that like to be equal."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge.show.figures import pareto_front

POINTS = st.lists(
    st.tuples(st.integers(1, 6).map(float), st.integers(80, 86).map(float)), max_size=14
)


def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@given(POINTS)
@settings(deadline=None, max_examples=200)
def test_a_point_is_on_the_front_if_and_only_if_no_other_beats_it(points):
    unbeaten = {i for i, p in enumerate(points) if not any(beats(q, p) for q in points)}
    assert set(pareto_front(points)) == unbeaten


@given(POINTS)
@settings(deadline=None, max_examples=100)
def test_along_the_front_slower_is_never_less_accurate(points):
    front = [points[i] for i in pareto_front(points)]
    assert front == sorted(front)
    assert [accuracy for _, accuracy in front] == sorted(accuracy for _, accuracy in front)


def test_a_slower_model_that_is_no_better_is_left_out():
    assert pareto_front([(5.0, 90.0), (3.0, 88.0), (4.0, 87.0), (6.0, 90.0)]) == [1, 0]
