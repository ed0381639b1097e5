"""Files timed on a device in turn; one that goes away costs nothing that was measured."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ghostedge.devices import DevicesFailedError
from ghostedge.tuning import timer as timer_module
from ghostedge.tuning.bench import FileBench
from ghostedge.tuning.journal import Journal
from ghostedge.tuning.search import INT8, Choice, Quality
from ghostedge.tuning.timer import Timer
from ghostedge_runtime.record import Settings


@pytest.fixture
def bench(
    there: Any, model: Path, listener: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FileBench:
    """Two files that differ by a byte behind the graph, timed briefly on the device."""
    monkeypatch.setattr(timer_module, "SETTINGS", Settings(0.05, 3, 0.05))

    def write(choice: Choice) -> Path:
        path = tmp_path / f"float{len(choice)}.tflite"
        shutil.copy(model, path)
        with path.open("ab") as file:
            file.write(bytes(len(choice)))
        return path

    return FileBench(
        write,
        lambda paths: [Quality(None, None, 1)] * len(paths),
        Timer(there.word, "litert", listener),
        Journal(tmp_path / "kept.jsonl", {}),
    )


def test_files_are_timed_there_and_sent_once(
    there: Any, bench: FileBench, listener: Any, tmp_path: Path
) -> None:
    first = frozenset({0})
    bench.compare(INT8, [first], 2)
    ratio = bench.ratio(first, INT8)
    assert ratio is not None
    assert 0.2 < ratio.value < 5  # the same graph
    assert len(there.files()) == 2
    assert listener.text.count("sends") == 1
    assert Journal(tmp_path / "kept.jsonl", {}).resumed == 2


def test_a_device_that_goes_away_is_named_and_what_it_measured_is_kept(
    there: Any, bench: FileBench, tmp_path: Path
) -> None:
    bench.compare(INT8, [frozenset({0})], 1)
    there.sshd.drop()
    there.sshd.stop()
    with pytest.raises(DevicesFailedError) as gone:
        bench.compare(INT8, [frozenset({0})], 2)
    assert gone.value.exit_code == 2
    assert there.word in str(gone.value)
    assert Journal(tmp_path / "kept.jsonl", {}).resumed == 1
