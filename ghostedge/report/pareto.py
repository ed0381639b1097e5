"""Which models are worth having: no other is both as fast and as accurate."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other point beats, fastest first.

    A point is beaten where another is no slower and no less accurate, and better in one of the two.
    Equal points do not beat each other: either all of them are on the front or none is.

    Args:
        points: (latency, accuracy) each; less of the one and more of the other is better.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i))
    front: list[int] = []
    for index in order:
        if not front:
            front.append(index)
            continue
        last = points[front[-1]]
        if points[index][1] > last[1] or points[index] == last:
            front.append(index)
    return front
