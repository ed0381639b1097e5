"""The benchmarks' own arithmetic: figures that stand in the README must be counted right."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def support(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Modules of ``benchmarks/support`` by name, as the scripts import them."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return lambda name: importlib.import_module(f"support.{name}")


def test_two_models_are_compared_round_by_round_so_that_drift_cancels(support):
    ours = [[1.0, 1.0, 9.0], [2.0, 2.0, 2.0], [10.0, 10.0, 10.0]]
    peer = [[2.0, 2.0, 2.0], [4.0, 4.0, 4.0], [20.0, 20.0, 20.0]]
    assert support("interleaved").ratio(ours, peer).median == 0.5


def test_the_interval_of_a_ratio_is_the_binomial_one_of_the_median(support):
    ours = [[float(number)] for number in range(1, 101)]
    peer = [[1.0]] * 100
    ratio = support("interleaved").ratio(ours, peer)
    assert (ratio.low, ratio.median, ratio.high) == (41.0, 50.5, 61.0)


def test_every_round_starts_with_the_next_model(support):
    calls: list[str] = []
    models = {n: SimpleNamespace(burst=lambda n=n: calls.append(n)) for n in "abc"}
    support("interleaved").time_in_turn(models, rounds=4)
    assert "".join(calls) == "abcbcacababc"


def test_logits_that_are_the_reference_scaled_are_its_like_and_shuffled_ones_are_not(support):
    rng = np.random.default_rng(0)
    reference = [rng.normal(size=1000) for _ in range(3)]
    likeness = support("interleaved").likeness
    assert likeness([2 * r + 1 for r in reference], reference) == 1.0
    assert likeness([*reference[:2], reference[2][::-1]], reference) < 0.2


def test_peak_memory_counts_a_worker_beside_its_parent(support, tmp_path):
    hold = "x = bytearray(100 * 10**6)"
    worker = f"{hold}; import time; time.sleep(1)"
    parent = f"import subprocess, sys; {hold}; subprocess.run([sys.executable, '-c', {worker!r}])"
    usage = support("child").measure([sys.executable, "-c", parent], log=tmp_path / "log")
    assert 200 <= usage.peak_memory_mb < 300  # whatever this process has held itself
    assert usage.seconds >= 1  # the sleep, which takes no CPU time
    assert 0 < usage.cpu_seconds < usage.seconds


def test_a_process_still_in_its_parents_memory_is_not_counted_twice(support, monkeypatch):
    child = support("child")
    resident = {1: 900, 2: 900, 3: 40}
    monkeypatch.setattr(child, "_tree", lambda _root: set(resident))
    monkeypatch.setattr(child, "_resident", resident.__getitem__)
    monkeypatch.setattr(child, "_high_water", lambda _pid: 0)
    sampler = child._TreeSampler(1)
    sampler.start()
    sampler.stop()
    assert sampler.peak_bytes == 940


def test_a_child_that_fails_is_reported_with_its_last_words(support, tmp_path):
    child = support("child")
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with pytest.raises(child.ChildFailedError, match="status 1: no such model"):
        child.measure(command, log=tmp_path / "log")


def test_of_chained_errors_the_first_is_reported_because_it_is_the_cause(support, tmp_path):
    child = support("child")
    chained = "try:\n    int('x')\nexcept ValueError as e:\n    raise RuntimeError from e"
    with pytest.raises(child.ChildFailedError, match="ValueError: invalid literal"):
        child.measure([sys.executable, "-c", chained], log=tmp_path / "log")


def test_an_exit_status_that_counts_as_done_is_not_a_failure(support, tmp_path):
    # Long enough to be looked at: a process that is gone at once has no memory to show.
    command = [sys.executable, "-c", "import time; time.sleep(0.3); raise SystemExit(3)"]
    usage = support("child").measure(command, log=tmp_path / "log", allowed=(0, 3))
    assert usage.peak_memory_mb > 1


def test_too_few_photos_are_filled_up_with_mirror_images_and_then_generated_ones(support, tmp_path):
    half = np.zeros((8, 10, 3), np.uint8)
    half[:, 5:] = 255
    source, folder = tmp_path / "photos", tmp_path / "out"
    source.mkdir()
    Image.fromarray(half).save(source / "a.png")
    said = support("workload_files")._collect_photos(source, folder, 4)
    assert said == "1 photos, 1 mirrored, 2 generated"
    written = [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]
    np.testing.assert_array_equal(written[0], half)
    np.testing.assert_array_equal(written[1], half[:, ::-1])
    assert [image.shape for image in written[2:]] == [(256, 320, 3)] * 2


def test_a_peer_that_cannot_be_installed_is_skipped_with_the_reason(support, monkeypatch, tmp_path):
    peers = support("peers")

    def fail(name: str, *, preferred_python: str | None) -> Path:
        raise peers.PeerUnavailableError(f"{name} could not be installed: no such version")

    monkeypatch.setattr(peers, "environment", fail)
    workload = support("workload").Workload(tmp_path, "ghostnet_100", 1, "", "")
    done = peers.convert_with(peers.PEERS_MEASURED[0], workload)
    assert done.as_json()["skipped"] == "onnx2tf could not be installed: no such version"
    assert done.file is None
