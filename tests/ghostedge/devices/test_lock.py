"""Two measurements never run on a device at the same time."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from ghostedge.devices import DevicesFailedError, Limits, run_on
from ghostedge_runtime.record import BenchJob

HOLDER = {"id": "0123456789abcdef", "since": "2024-05-01T10:00:00Z", "by": "ada@desk"}


@contextmanager
def another_run(there: Any) -> Iterator[Callable[[], None]]:
    """The lock as another run holds it; call what is yielded to let go."""
    folder = there.cache / "ghostedge"
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as file:
        file.write(json.dumps(HOLDER))
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        yield lambda: fcntl.flock(file, fcntl.LOCK_UN)


def test_a_run_says_whom_it_waits_for_and_goes_on_when_that_has_ended(
    there: Any, quick: BenchJob, short: Limits, listener: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with another_run(there) as let_go:
        seen = []

        def note(text: str) -> None:
            listener.lines.append(text)
            if "waits for" in text:
                seen.append(there.is_measuring())
                let_go()

        monkeypatch.setattr(listener, "note", note)
        (run,) = run_on([there.word], quick, listener, short)
    assert seen == [False]
    waits = "waits for run 0123456789abcdef of ada@desk, since 2024-05-01T10:00:00Z"
    assert f"{there.word}: {waits}" in listener.lines
    assert run.results[0].error is None


def test_a_device_that_stays_busy_is_given_up_and_its_user_named(
    there: Any, quick: BenchJob, short: Limits, listener: Any
) -> None:
    with another_run(there), pytest.raises(DevicesFailedError) as caught:
        run_on([there.word], quick, listener, replace(short, lock_wait_s=0.5))
    assert "it was busy for 0.5 s with run 0123456789abcdef of ada@desk" in str(caught.value)
    assert there.runs() == []


def test_two_runs_on_one_device_take_turns(
    there: Any, quick: BenchJob, short: Limits, listener: Any
) -> None:
    settings = replace(quick.settings, min_seconds=2.0)
    runs = run_on([there.word, there.word], replace(quick, settings=settings), listener, short)
    first, second = sorted(datetime.fromisoformat(run.created) for run in runs)
    assert (second - first).total_seconds() >= 2.0
    assert listener.text.count("measures") == 2
    assert len(there.files()) == 1
