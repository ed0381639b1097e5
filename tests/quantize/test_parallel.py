"""Work on each core at a time, its results in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ghostedge_quantize.parallel import PerWorker, ahead, in_parallel, share_of, workers


def _later(number: int) -> int:
    time.sleep(0.002 * (number % 3))
    return number * number


def test_results_come_in_the_order_of_the_items() -> None:
    assert list(in_parallel(_later, range(20))) == [number**2 for number in range(20)]


def test_no_more_items_are_taken_than_are_worked_on_and_one() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number

    results = in_parallel(_later, items())
    next(results)
    assert taken == workers() + 1


def test_the_first_item_that_fails_is_the_one_that_is_reported() -> None:
    def work(number: int) -> int:
        if number >= 3:
            time.sleep(0.05 if number == 3 else 0)
            raise ValueError(number)
        return number

    with pytest.raises(ValueError, match=r"^3$"):
        list(in_parallel(work, range(20)))


def test_items_are_taken_by_the_thread_that_asks_for_results() -> None:
    takers = set()

    def items() -> Iterator[int]:
        for number in range(5):
            takers.add(threading.get_ident())
            yield number

    list(in_parallel(_later, items()))
    assert takers == {threading.get_ident()}


def test_what_each_worker_writes_to_is_its_own_and_all_of_it_is_there() -> None:
    sums: PerWorker[list[int]] = PerWorker(list)

    def work(number: int) -> None:
        with sums.one() as own:
            before = len(own)
            time.sleep(0.001)
            own.append(number)
            assert len(own) == before + 1

    list(in_parallel(work, range(40)))
    assert sorted(number for own in sums.all for number in own) == list(range(40))


def test_what_was_lent_to_work_that_failed_is_free_again() -> None:
    sums: PerWorker[list[int]] = PerWorker(list)
    for _ in range(workers() + 1):
        with pytest.raises(ValueError, match="broken"), sums.one():
            raise ValueError("broken")


def test_the_next_item_is_made_while_the_present_one_is_worked_on() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(1, 6):
            made.append(number)
            yield number

    for number in ahead(items()):
        time.sleep(0.02)
        assert made[-1] == min(number + 1, 5)


def test_a_step_tells_its_share_of_the_whole() -> None:
    told: list[tuple[str, float]] = []
    step = share_of(lambda words, share: told.append((words, share)), 0.4, 0.8)
    step("ranges", 0.0)
    step("ranges", 0.5)
    assert [words for words, _ in told] == ["ranges", "ranges"]
    assert [share for _, share in told] == pytest.approx([0.4, 0.6])
