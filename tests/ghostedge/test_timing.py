"""A model is timed in a process of its own, and whatever happens there is told here."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ghostedge import timing
from ghostedge.timing import TimingJob, time_alone
from ghostedge_runtime.errors import ModelFileError


def test_an_error_of_the_runtime_comes_back_as_it_was_raised(tmp_path: Path) -> None:
    (tmp_path / "empty.tflite").write_bytes(b"")
    with pytest.raises(ModelFileError, match=r"empty\.tflite") as raised:
        time_alone(TimingJob(tmp_path / "empty.tflite", 1, 0.0, 1))
    assert raised.value.remedy


def test_a_crash_of_the_interpreter_is_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "_CHILD", f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})")
    with pytest.raises(ModelFileError, match=r"hostile\.tflite.*ended with -11"):
        time_alone(TimingJob(tmp_path / "hostile.tflite", 1, 0.0, 1))
