"""Cases measured in turn, each in a process of its own, whatever happens to one of them.

The times themselves are never asserted.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostedge_runtime.bench import case_run, run
from ghostedge_runtime.bench.case_run import Worker
from ghostedge_runtime.bench.job import Variants, make_job
from ghostedge_runtime.bench.run import burst_of, in_turn, run_bench
from ghostedge_runtime.errors import InputError, ModelFileError
from ghostedge_runtime.folders import list_images
from ghostedge_runtime.record import BenchJob, Estimate, Settings, document, read_runs

SHORT = Settings(min_seconds=0.0, min_runs=12, max_warmup_seconds=0.0)
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
# A worker that prints as interpreters do, and misbehaves with files of these names in its warm-up.
MISBEHAVING = """
import os, signal, sys, time
sys.path[:] = {path!r}
from ghostedge_runtime.bench import session, worker
warm_up = session.Session.warm_up
def misbehave(self, tell, **arguments):
    os.write(1, b"INFO: a delegate was created\\n")
    if "hostile" in str(self._path):
        os.write(2, b"free(): invalid pointer")
        os.kill(os.getpid(), signal.SIGSEGV)
    if "endless" in str(self._path):
        time.sleep(600)
    return warm_up(self, tell, **arguments)
session.Session.warm_up = misbehave
worker.main()
"""


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A picture of every class but blue, and a grey one that passes for none."""
    for label in ("red", "green"):
        (tmp_path / "data" / label).mkdir(parents=True)
        picture = np.full((8, 8, 3), COLOURS[label], np.uint8)
        Image.fromarray(picture).save(tmp_path / "data" / label / "one.png")
    wrong = np.full((8, 8, 3), COLOURS["blue"], np.uint8)
    Image.fromarray(wrong).save(tmp_path / "data" / "red" / "two.png")
    Image.fromarray(wrong).save(tmp_path / "data" / "green" / "two.png")
    return tmp_path / "data"


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[Worker]:
    """Every worker that the protocol starts."""
    started: list[Worker] = []

    class Recorded(Worker):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]  # passed on as they came
            started.append(self)

    monkeypatch.setattr(run, "Worker", Recorded)
    return started


def named(source: Path, folder: Path, name: str) -> Path:
    """A copy whose content is its own, so that it is a file of its own to the job."""
    path = folder / name
    path.write_bytes(source.read_bytes() + name.encode())
    return path


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def ends(pid: int) -> bool:
    for _ in range(300):
        if not is_running(pid):
            return True
        time.sleep(0.1)
    return False


def test_cases_are_measured_round_by_round_and_scored(
    int8_tflite: Path, float_onnx: Path, labelled: Path, tmp_path: Path, workers: list[Worker]
) -> None:
    job = make_job([int8_tflite, float_onnx], data=labelled, settings=SHORT)
    job = replace(job, device="here")
    told: list[tuple[str, float]] = []
    run = run_bench(job, progress=lambda words, share: told.append((words, share)))
    first, second = run.results
    for result in run.results:
        assert result.error is None
        assert result.runs == sum(len(each.samples_ns) for each in result.rounds) == 12
        assert [len(each.samples_ns) for each in result.rounds] == [1] * 12
        assert result.preprocessing is not None
        assert result.preprocessing.count == 4
        assert result.score is not None
        assert (result.score.images, result.score.top1_pct) == (4, 50.0)
        assert result.p50_ms is not None
        assert result.p50_ms.low <= result.p50_ms.value <= result.p50_ms.high
        assert not result.steady
    assert (first.runtime, second.runtime) == ("ai-edge-litert", "onnxruntime")
    assert first.ratio == Estimate(1.0, 1.0, 1.0)
    assert second.ratio is not None
    assert second.p50_ms is not None
    assert first.p50_ms is not None
    assert second.ratio.value == pytest.approx(second.p50_ms.value / first.p50_ms.value)
    starts = [(a.start_s, b.start_s) for a, b in zip(first.rounds, second.rounds, strict=True)]
    assert [max(pair) for pair in starts[:-1]] < [min(pair) for pair in starts[1:]]
    assert (run.device, run.settings.images) == ("here", 4)
    assert len(run.trace) >= 2
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {words for words, _ in told} == {"open", "warm up", "measure", "score"}
    (tmp_path / "run.json").write_text(json.dumps(document([run])))
    assert read_runs(tmp_path / "run.json") == (run,)
    assert len(workers) == 2
    assert not any(is_running(worker.pid) for worker in workers)


def test_files_are_scored_on_corrupted_images_and_kept_so(
    int8_tflite: Path, labelled: Path, tmp_path: Path
) -> None:
    """Once for both numbers of threads, on as many images as asked for."""
    job = make_job([int8_tflite], Variants(threads=(1, 2)), data=labelled, settings=SHORT)
    job = replace(job, corruptions=("haze",), corruption_images=2)
    told: list[tuple[str, float]] = []
    run = run_bench(job, progress=lambda words, share: told.append((words, share)))
    one, two = (result.corrupted for result in run.results)
    assert one is not None
    assert one == two
    assert (one.images, one.of_images) == (2, 4)
    assert [(each.corruption, each.strength) for each in one.scores] == [
        ("none", 0),
        *(("haze", strength) for strength in (1, 2, 3, 4, 5)),
    ]
    assert one.scores[0].top1_pct == 100.0  # the first of each class
    assert "score corrupted images" in {words for words, _ in told}
    assert [share for _, share in told] == sorted(share for _, share in told)
    (tmp_path / "run.json").write_text(json.dumps(document([run])))
    assert read_runs(tmp_path / "run.json") == (run,)


def test_skipped_images_are_neither_run_nor_scored(int8_tflite: Path, labelled: Path) -> None:
    bad, *_ = list_images(labelled)
    bad.write_bytes(b"no image")
    (result,) = run_bench(
        make_job([int8_tflite], data=labelled, skipped=[bad], settings=SHORT)
    ).results
    assert result.error is None
    assert result.score is not None
    assert result.score.images == 3
    assert result.preprocessing is not None
    assert result.preprocessing.count == 3


def test_a_crash_brings_down_its_case_and_no_other(
    int8_tflite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case_run, "_CHILD", MISBEHAVING)
    hostile = named(int8_tflite, tmp_path, "hostile.tflite")
    run = run_bench(make_job([hostile, int8_tflite], settings=SHORT))
    crashed, sound = run.results
    assert crashed.error is not None
    assert f"{hostile}: its process ended with SIGSEGV (free(): invalid pointer)" in crashed.error
    assert crashed.runs == 0
    assert crashed.rounds == ()
    assert (sound.error, sound.runs) == (None, 12)
    assert sound.ratio is None  # there is nothing to be compared with


def test_when_no_case_is_left_the_first_ones_error_is_raised(
    int8_tflite: Path, tmp_path: Path, workers: list[Worker]
) -> None:
    torn = tmp_path / "torn.tflite"
    torn.write_bytes(int8_tflite.read_bytes()[:400])
    with pytest.raises(ModelFileError, match=r"torn\.tflite"):
        run_bench(make_job([torn], settings=SHORT))
    assert not any(is_running(worker.pid) for worker in workers)


def test_an_error_names_the_file_as_the_user_did(int8_tflite: Path, tmp_path: Path) -> None:
    """On a device the file lies in a cache, under its hash."""
    job = make_job([int8_tflite], settings=SHORT)
    (tmp_path / "cached").write_bytes(b"\0\0\0\0TFL3 and no more")
    job = replace(job, files={sha256: str(tmp_path / "cached") for sha256 in job.files})
    with pytest.raises(ModelFileError) as raised:
        run_bench(job)
    assert raised.value.where == str(int8_tflite)


def test_a_worker_that_hangs_is_noticed(
    int8_tflite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case_run, "_CHILD", MISBEHAVING)
    endless = shutil.copy(int8_tflite, tmp_path / "endless.tflite")
    worker = Worker(make_job([endless]).cases[0], str(endless), None)
    try:
        worker.ready()
        worker.ask("open")
        monkeypatch.setattr(case_run, "PATIENCE_S", 0.2)
        with pytest.raises(ModelFileError, match=r"endless\.tflite.*said nothing for 0 s"):
            worker.ask("warm_up", max_seconds=0.0)
    finally:
        worker.end()
    assert not is_running(worker.pid)


def test_a_worker_ends_with_its_coordinator_even_in_the_middle_of_its_work(
    int8_tflite: Path, tmp_path: Path
) -> None:
    endless = shutil.copy(int8_tflite, tmp_path / "endless.tflite")
    script = f"""
import os, signal, sys
from ghostedge_runtime.bench import case_run
from ghostedge_runtime.bench.job import make_job
case_run._CHILD = {MISBEHAVING!r}
worker = case_run.Worker(make_job([sys.argv[1]]).cases[0], sys.argv[1], None)
worker.ready()
worker.ask("open")
worker._send({{"do": "warm_up", "max_seconds": 0.0}})
print(worker.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    coordinator = subprocess.run(
        [sys.executable, "-c", script, str(endless)], capture_output=True, text=True, check=False
    )
    assert coordinator.returncode == -signal.SIGKILL
    assert ends(int(coordinator.stdout))


def test_an_interrupted_run_leaves_no_worker(int8_tflite: Path, workers: list[Worker]) -> None:
    def interrupt(words: str, share: float) -> None:
        if words == "measure":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_bench(make_job([int8_tflite, int8_tflite], settings=SHORT), progress=interrupt)
    assert len(workers) == 2
    assert not any(is_running(worker.pid) for worker in workers)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no process")
def test_every_thread_of_a_pinned_worker_stays_on_its_cpus(int8_tflite: Path) -> None:
    (case,) = make_job([int8_tflite], Variants(threads=(2,))).cases
    cpu = max(os.sched_getaffinity(0))
    worker = Worker(case, str(int8_tflite), [cpu])
    try:
        worker.ready()
        worker.ask("open")
        threads = list(Path(f"/proc/{worker.pid}/task").iterdir())
        assert len(threads) > 1
        assert {tuple(os.sched_getaffinity(int(each.name))) for each in threads} == {(cpu,)}
    finally:
        worker.end()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no process")
def test_a_cpu_that_is_not_there_is_refused_with_those_that_are(
    int8_tflite: Path, workers: list[Worker]
) -> None:
    job = make_job([int8_tflite], settings=replace(SHORT, cpus=(0, 4096)))
    with pytest.raises(InputError, match=r"no CPU .*4096 that this process may use") as raised:
        run_bench(job)
    allowed = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
    assert raised.value.remedy == f"choose among {allowed}"
    assert not workers


def test_a_model_that_scores_no_classes_is_refused_before_anything_is_timed(
    make_tflite: object, metadata_for: object, labelled: Path, tmp_path: Path
) -> None:
    path = tmp_path / "features.tflite"
    document = metadata_for("uint8")  # type: ignore[operator]  # a fixture that is a function
    path.write_bytes(make_tflite(outputs=slice(0, 2), metadata=document))  # type: ignore[operator]  # likewise
    told: list[str] = []
    with pytest.raises(InputError, match="it scores no classes: its outputs are"):
        run_bench(
            make_job([path], data=labelled, settings=SHORT),
            progress=lambda words, share: told.append(words),
        )
    assert set(told) == {"open"}


def test_one_file_is_scored_once_for_all_numbers_of_threads_and_a_bad_image_costs_no_times(
    int8_tflite: Path, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = Worker.ask

    def recorded(self: Worker, what: str, **arguments: object) -> object:
        asked.append(what)
        return ask(self, what, **arguments)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(Worker, "ask", recorded)
    (labelled / "red" / "bad.png").write_bytes(b"no picture")
    job = make_job([int8_tflite], Variants(threads=(1, 2)), data=labelled, settings=SHORT)
    run = run_bench(replace(job, inputs=()))
    assert asked.count("score") == 1
    for result in run.results:
        assert (result.error, result.score, result.runs) == (None, None, 12)
        assert len(result.notes) == 1
        assert "bad.png" in result.notes[0]


def test_operators_are_timed_in_a_process_of_their_own(
    float_tflite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_bench(replace(make_job([float_tflite], settings=SHORT), per_op=True))
    assert run.results[0].notes == ()
    assert {op.op for op in run.results[0].ops} == {"MEAN", "FULLY_CONNECTED"}


def test_no_case_is_always_first_or_always_after_the_same_one() -> None:
    orders = [in_turn([0, 1, 2], turn) for turn in range(6)]  # type: ignore[list-item]  # any things
    assert [sorted(order) for order in orders] == [[0, 1, 2]] * 6
    assert sorted(order[0] for order in orders) == [0, 0, 1, 1, 2, 2]
    before = {(a, b) for order in orders for a, b in pairwise(order)}
    assert before == {(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0)}


@pytest.mark.parametrize(
    ("settings", "seconds", "runs"),
    [
        (Settings(min_seconds=3.0, min_runs=100), 0.1, 4),
        (Settings(min_seconds=0.5, min_runs=50), 0.025, 3),
        (Settings(min_seconds=60.0, min_runs=1024), 0.1, 2),
        (Settings(min_seconds=0.0, min_runs=1), 0.0, 1),
    ],
)
def test_a_burst_is_short_enough_for_twenty_rounds(
    settings: Settings, seconds: float, runs: int
) -> None:
    burst = burst_of(settings)
    assert burst.min_ns == pytest.approx(seconds * 1e9)
    assert burst.min_runs == runs


def test_both_bounds_are_kept(int8_tflite: Path) -> None:
    bounds = Settings(min_seconds=0.2, min_runs=7, max_warmup_seconds=0.0)
    job: BenchJob = make_job([int8_tflite], settings=bounds)
    (result,) = run_bench(job).results
    assert result.seconds >= 0.2
    assert result.runs >= 7
    assert 1 < len(result.rounds) <= 20
