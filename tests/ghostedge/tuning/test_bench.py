"""Choices as files: written once, scored, timed until there are enough loads, never twice."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ghostedge.tuning.bench import FileBench, over_loads
from ghostedge.tuning.journal import Journal
from ghostedge.tuning.search import INT8, Choice, Quality
from ghostedge.tuning.timer import Timed
from ghostedge_runtime.errors import ModelFileError

FIRST: Choice = frozenset({0})
SECOND: Choice = frozenset({1})
Times = Callable[[Sequence[Timed]], list[float | None]]


class Timekeeper:
    """Times by file and threads, each load a little slower than the one before."""

    def __init__(self, **ms: float | None) -> None:
        self.ms, self.groups = ms, list[list[str]]()

    def __call__(self, files: Sequence[Timed]) -> list[float | None]:
        names = [file.path.stem for file in files]
        self.groups.append(names)
        drift = 1 + len(self.groups) / 100
        times = [self.ms[name] for name in names]
        return [
            None if time is None else time * drift / file.threads
            for time, file in zip(times, files, strict=True)
        ]


@pytest.fixture
def writer(tmp_path: Path) -> Callable[[Choice], Path]:
    written = list[Choice]()

    def write(choice: Choice) -> Path:
        assert choice not in written
        written.append(choice)
        path = tmp_path / ("int8" if not choice else f"float{min(choice)}")
        path.write_bytes(path.stem.encode())
        return path

    return write


def judge(paths: Sequence[Path]) -> list[Quality]:
    return [Quality(99.0, None, path.stat().st_size) for path in paths]


def test_a_ratio_rests_on_as_many_loads_as_were_asked_for(
    writer: Callable[[Choice], Path], tmp_path: Path
) -> None:
    timer = Timekeeper(int8=2.0, float0=1.0, float1=4.0)
    bench = FileBench(writer, judge, timer, Journal(None, {}))
    bench.compare(INT8, [FIRST, SECOND], 2)
    assert timer.groups == [["int8", "float0", "float1"]] * 2
    ratio = bench.ratio(FIRST, INT8)
    assert ratio is not None
    assert ratio.value == pytest.approx(0.5)
    bench.compare(INT8, [FIRST], 3)
    assert timer.groups[2:] == [["int8", "float0"]]
    assert bench.p50_ms(FIRST) == pytest.approx(1.02)


def test_every_measurement_has_the_int8_file_in_it(writer: Callable[[Choice], Path]) -> None:
    timer = Timekeeper(int8=2.0, float0=1.0, float1=0.9)
    bench = FileBench(writer, judge, timer, Journal(None, {}))
    bench.compare(FIRST, [SECOND], 1)
    assert timer.groups == [["int8", "float0", "float1"]]
    assert bench.ratio(SECOND, INT8) is not None


def test_the_last_word_counts_no_measurement_of_the_search(
    writer: Callable[[Choice], Path],
) -> None:
    timer = Timekeeper(int8=2.0, float0=1.0)
    bench = FileBench(writer, judge, timer, Journal(None, {}))
    bench.compare(INT8, [FIRST], 2)
    assert bench.ratio(FIRST, INT8, "last word") is None
    bench.compare(INT8, [FIRST], 2, "last word")
    assert len(timer.groups) == 4


def test_what_was_measured_before_is_not_measured_again(
    writer: Callable[[Choice], Path], tmp_path: Path
) -> None:
    path, timer = tmp_path / "kept.jsonl", Timekeeper(int8=2.0, float0=1.0)
    bench = FileBench(writer, judge, timer, Journal(path, {"device": "a"}))
    bench.compare(INT8, [FIRST], 3)
    text = path.read_text()
    path.write_text(text + text.splitlines()[0][:20])  # cut short
    again = Journal(path, {"device": "a"})
    assert (again.resumed, again.damaged) == (3, 1)
    other = Journal(path, {"device": "b"})
    assert other.resumed == 0
    other.add("search", {"x": 1.0})
    assert json.loads(path.read_text().splitlines()[-1])["p50_ms"] == {"x": 1.0}


def test_a_choice_that_does_not_run_has_no_ratio(
    writer: Callable[[Choice], Path],
) -> None:
    bench = FileBench(writer, judge, Timekeeper(int8=2.0, float0=None), Journal(None, {}))
    bench.compare(INT8, [FIRST], 2)
    assert bench.ratio(FIRST, INT8) is None
    assert bench.p50_ms(FIRST) is None


def test_an_int8_file_that_does_not_run_is_an_error(writer: Callable[[Choice], Path]) -> None:
    timer = Timekeeper(int8=None, float0=1.0)
    with pytest.raises(ModelFileError, match="int8 file does not run there"):
        FileBench(writer, judge, timer, Journal(None, {})).compare(INT8, [FIRST], 2)


def test_threads_are_the_first_number_unless_another_is_surely_faster(
    writer: Callable[[Choice], Path],
) -> None:
    timer = Timekeeper(int8=2.0)
    bench = FileBench(writer, judge, timer, Journal(None, {}))
    bench.qualities([INT8])
    assert bench.best_threads(INT8, (1,)) == 1
    assert timer.groups == []
    assert bench.best_threads(INT8, (1, 2, 4)) == 4
    assert bench.best_threads(INT8, (4, 1)) == 4


def test_the_interval_is_students_on_logarithms_and_open_for_one_load() -> None:
    ratio = over_loads([(1.0, 2.0), (1.1, 2.0), (0.9, 2.0)])
    assert ratio is not None
    logs = [math.log(v / 2) for v in (1.0, 1.1, 0.9)]
    mean = sum(logs) / 3
    spread = math.sqrt(sum((v - mean) ** 2 for v in logs) / 2)
    assert ratio.value == pytest.approx(math.exp(mean))
    assert ratio.high == pytest.approx(math.exp(mean + 4.3027 * spread / math.sqrt(3)))
    one = over_loads([(1.0, 2.0)])
    assert one is not None
    assert (one.value, one.low, one.high) == (0.5, 0.0, math.inf)
    assert over_loads([]) is None
