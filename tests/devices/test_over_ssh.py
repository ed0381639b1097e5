"""A whole measurement through a real sshd."""

from __future__ import annotations

from typing import Any

from ghostedge.devices import Limits, run_on
from ghostedge_runtime.bench.record import BenchJob


def test_a_device_measures_and_its_own_story_comes_back(
    there: Any, quick: BenchJob, short: Limits, listener: Any
) -> None:
    (run,) = run_on([there.word], quick, listener, short)
    assert run.device == there.word
    assert run.command == ("ghostedge", "bench")
    (result,) = run.results
    assert result.error is None
    assert result.case == quick.cases[0]
    assert result.runs >= 3
    assert result.p50_ms is not None
    assert result.p50_ms.value > 0
    assert run.machine.cores >= 1
    assert there.runs() == []  # the run's folder is gone, the model stays
    assert set(there.files()) == {quick.cases[0].sha256}


def test_a_second_run_sends_nothing(
    there: Any, quick: BenchJob, short: Limits, listener: Any
) -> None:
    run_on([there.word], quick, listener, short)
    assert "sends 1 of 1 files, 1.7 MB" in listener.text
    before = there.files()
    listener.lines.clear()
    run_on([there.word], quick, listener, short)
    assert "sends" not in listener.text
    assert there.files() == before
