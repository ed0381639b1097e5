"""Choices run and scored: batches, runtimes, the clock; with runtimes that only count."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import onnx
import pytest

from ghostedge_quantize.guard.judge import Judge, Open, answers, open_in_onnxruntime, outputs
from ghostedge_quantize.guard.score import Budget, Target
from ghostedge_quantize.guard.search import Deadline, TimeUpError
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.formats.backend import Array, Backend, ModelIO, TensorInfo
from ghostedge_runtime.latency import LatencyRecorder
from ghostedge_runtime.metadata import ModelMetadata


class Rows:
    """Takes batches of numbers; answers class ``number % 3``, and 0 where it is ``wrong``."""

    name, version = "rows", "0"
    metadata: ModelMetadata | None = None

    def __init__(self, batch: int, wrong: Collection[int] = ()) -> None:
        self.io = ModelIO(TensorInfo("x", (batch, 1), "int64"), ())
        self.clock = LatencyRecorder()
        self.wrong = wrong
        self.batches: list[list[int]] = []

    def run(self, batch: Array) -> list[Array]:
        assert batch.shape == self.io.input.shape
        self.batches.append(batch[:, 0].tolist())
        logits = np.zeros((len(batch), 3), np.float32)
        for row, (number,) in zip(logits, batch, strict=True):
            row[0 if number in self.wrong else number % 3] = 1
        return [logits]


class Network:
    layers = ("a", "b")

    def qdq(self, keep_float: Collection[str] = ()) -> onnx.ModelProto:
        return onnx.ModelProto(doc_string=",".join(sorted(keep_float)))


def number(index: int) -> Any:
    return np.array([index])


def judge(*runtimes: Sequence[Backend], agreement: float = 90) -> Judge:
    target = Target(Budget("min_agreement", agreement), np.arange(30) % 3)

    def loads(backends: Sequence[Backend]) -> Open:
        return lambda _: backends

    return Judge(Network(), number, target, [loads(runtime) for runtime in runtimes])


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_a_batch_that_is_not_full_is_filled_and_its_rest_left_out(batch: int) -> None:
    backend = Rows(batch)
    assert answers([backend], number, 30).tolist() == [i % 3 for i in range(30)]
    assert backend.batches[-1][-1] == 29


def test_as_many_run_at_a_time_as_there_are_backends_and_the_order_stays() -> None:
    backends = [Rows(1), Rows(1)]
    order = [5, 3, 8, 1, 0, 2] * 40
    chunks = list(outputs([*backends], number, order))
    assert np.concatenate([indices for indices, _ in chunks]).tolist() == order
    assert np.concatenate([rows for _, rows in chunks]).argmax(1).tolist() == [i % 3 for i in order]
    assert sum(len(backend.batches) for backend in backends) == len(order)


def test_every_runtime_has_to_hold_the_budget_and_the_worst_counts() -> None:
    good, worse, bad = Rows(1, wrong=[1]), Rows(1, wrong=[1, 2]), Rows(1, wrong=[1, 2, 4, 5, 7])
    score = judge([good], [worse])(frozenset(), Deadline(None))
    assert (score.holds, score.images) == (True, 30)
    assert score.loss == pytest.approx(100 * 2 / 30)
    assert not judge([good], [bad])(frozenset(), Deadline(None)).holds


def test_a_runtime_is_not_asked_where_one_before_it_missed_the_budget() -> None:
    bad, other = Rows(1, wrong=[1, 2, 4, 5, 7]), Rows(1)
    assert not judge([bad], [other])(frozenset("a"), Deadline(None)).holds
    assert other.batches == []


def test_a_check_is_given_up_when_time_runs_out() -> None:
    with pytest.raises(TimeUpError):
        judge([Rows(1)])(frozenset(), Deadline(0))


def test_images_are_scored_in_an_order_that_mixes_the_classes() -> None:
    backend = Rows(1)
    judge([backend])(frozenset(), Deadline(None))
    order = [index for (index,) in backend.batches]
    assert sorted(order) == list(range(30))
    assert order != sorted(order)


def test_a_graph_that_the_runtime_refuses_is_an_error_and_not_a_score() -> None:
    with pytest.raises(ModelFileError):
        open_in_onnxruntime(onnx.ModelProto(), 1)
