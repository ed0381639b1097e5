"""Runs made of random numbers with a fixed seed: shapes to draw, not measurements of anything.

The browser is Chromium, spoken to over its DevTools protocol on a pipe: no driver, no port.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ghostedge.show.contents import Contents, gather
from ghostedge.show.page import page
from ghostedge_runtime.record import (
    BenchRun,
    Case,
    Delegation,
    Estimate,
    MachineFacts,
    Mark,
    OpTime,
    Result,
    Round,
    Score,
    Settings,
    Snapshot,
)

PI = MachineFacts(
    machine="aarch64",
    cores=4,
    cores_total=4,
    os="Debian GNU/Linux 12 (bookworm)",
    kernel="6.12.25+rpt-rpi-2712",
    python="3.11.2",
    board="Raspberry Pi 5 Model B Rev 1.0",
    soc="Broadcom BCM2712",
    cpu="Cortex-A76",
    features=("dotprod", "fp16"),
    memory_mb=8300,
    governors={"policy0": "ondemand"},
    max_mhz={"policy0": 2400.0},
    firmware="2025/05/08",
)
CONTAINER = MachineFacts(
    machine="x86_64",
    cores=2,
    cores_total=16,
    os="Debian GNU/Linux 12 (bookworm)",
    kernel="6.1.0",
    python="3.11.9",
    cpu="AMD EPYC 7B13",
    features=("avx2",),
    memory_mb=16000,
    virtual="docker",
    cpu_quota=2.0,
)


def make_result(
    name: str, base_ms: float, top1: float | None, *, rounds: int, ops: int = 0, seed: int = 0
) -> Result:
    """A result whose figures are those of its own random samples."""
    rng = np.random.default_rng(seed)
    bursts = [
        Round(
            start_s=0.4 * number,
            samples_ns=tuple(
                int(ns)
                for ns in 1e6
                * base_ms
                * (1 + 0.03 * rng.gamma(2.0, 1.0, 12))
                * (1 + 0.0004 * number)
            ),
        )
        for number in range(rounds)
    ]
    samples = np.array([ns for burst in bursts for ns in burst.samples_ns]) / 1e6
    p50, p90, p99 = (
        Estimate(float(v), float(v) * 0.995, float(v) * 1.006)
        for v in np.percentile(samples, (50, 90, 99))
    )
    times = sorted(rng.gamma(1.0, base_ms / max(ops, 1), ops), reverse=True)
    return Result(
        case=Case(name, f"{seed:064x}", 2_000_000 + 1000 * seed, "litert", 1),
        runtime="ai-edge-litert",
        runtime_version="2.3.0",
        batch=1,
        load_ms=12.5,
        first_inference_ms=2 * base_ms,
        warmup_runs=40,
        steady=True,
        runs=len(samples),
        seconds=float(samples.sum() / 1e3),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        mean_ms=p50,
        min_ms=float(samples.min()),
        ratio=Estimate(1.0, 0.99, 1.01),
        drift=Estimate(1.02, 1.0, 1.03),
        peak_rss_mb=71.0,
        delegation=Delegation("XNNPACK", 60, 62, 2, {"RESIZE_BILINEAR": 2}),
        score=None if top1 is None else Score(5000, top1, min(100.0, top1 + 7)),
        ops=tuple(
            OpTime(i, "CONV_2D", f"blocks/{i}/ghost", float(t), (1, 14, 14, 40))
            for i, t in enumerate(times)
        ),
        rounds=tuple(bursts),
    )


def make_run(results: tuple[Result, ...], **changes: Any) -> BenchRun:
    """A run on a Raspberry Pi that tells everything."""
    trace = tuple(
        Snapshot(
            at_s=2.0 * n,
            temperatures_c={"cpu-thermal": 50 + 20 * (1 - 0.95**n), "rp1_adc": 45 + 0.1 * n},
            clocks_mhz={"policy0": 2400.0, "arm": 2400.2 - (n > 20) * 600},
            throttle_bits=0,
            load_average=1.0,
        )
        for n in range(40)
    )
    known: dict[str, Any] = {
        "id": "0123456789abcdef",
        "created": "2026-03-04T10:11:12Z",
        "device": "local",
        "command": (
            "ghostedge",
            "bench",
            "a model.tflite",
            "--data",
            "eval set/",
            "-o",
            "run.json",
        ),
        "ghostedge_version": "0.1.0",
        "settings": Settings(images=84),
        "machine": PI,
        "trace": trace,
    }
    return BenchRun(results=results, **{**known, **changes})


NAMES = (
    "ghostnet_050.tflite",
    "ghostnet_050_int8.tflite",
    "ghostnet_100.tflite",
    "ghostnet_100_int8.tflite",
    "ghostnetv2_100.tflite",
    "ghostnetv2_100_int8.tflite",
    "repghost_100.tflite",
    "repghost_100_int8.tflite",
)
LATENCIES = (7.1, 3.9, 14.2, 8.05, 21.5, 12.6, 13.1, 7.6)
TOP1 = (88.1, 87.7, 92.4, 92.1, 93.1, 92.6, 92.0, 91.5)


@pytest.fixture(scope="session")
def result_of() -> Callable[..., Result]:
    return make_result


@pytest.fixture(scope="session")
def run_of() -> Callable[..., BenchRun]:
    return make_run


@pytest.fixture(scope="session")
def eight() -> BenchRun:
    """Eight models with accuracy, on a Raspberry Pi whose third model drifted."""
    results = tuple(
        make_result(name, base, top1, rounds=60, ops=30 if seed < 2 else 0, seed=seed)
        for seed, (name, base, top1) in enumerate(zip(NAMES, LATENCIES, TOP1, strict=True))
    )
    drifted = Mark("drifted", "its last third took 4.1 % longer than its first", 2, True)
    return make_run(results, marks=(drifted,))


@pytest.fixture(scope="session")
def bare() -> BenchRun:
    """Four models without accuracy, one of which failed, in a container without sensors."""
    results = tuple(
        make_result(name, base, None, rounds=60, seed=10 + seed)
        for seed, (name, base) in enumerate(zip(NAMES[:3], LATENCIES[:3], strict=True))
    )
    failed = Result(Case("broken.tflite", "f" * 64, 512, "litert", 1), error="it has no outputs")
    return make_run(
        (*results, failed), id="fedcba9876543210", machine=CONTAINER, trace=(Snapshot(0.0),)
    )


@pytest.fixture(scope="session")
def contents_of() -> Callable[..., Contents]:
    return lambda *runs, quantization=(): gather(runs, quantization, "ghostedge 0.1.0")


@pytest.fixture(scope="session")
def page_of_eight(eight, contents_of) -> str:
    """The page of the eight models."""
    return page(contents_of(eight))


@pytest.fixture(scope="session")
def page_of_both(eight, bare, contents_of) -> str:
    """The page of both machines."""
    return page(contents_of(eight, bare))


@pytest.fixture(scope="session")
def chart_of(contents_of) -> Callable[[BenchRun], str]:
    """The page of a run without its raw samples: the large chart is quickly drawn alone."""

    def draw(run: BenchRun) -> str:
        results = tuple(replace(result, rounds=(), ops=()) for result in run.results)
        return page(contents_of(replace(run, results=results, trace=())))

    return draw


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--remote-debugging-pipe",
)


@dataclass
class Browser:
    """One page of a headless Chromium.

    Attributes:
        complaints: What the console was told and what was thrown since the last `open`.
    """

    write: int
    read: int
    session: str = ""
    complaints: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _held: bytes = b""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol, waited for; what happens meanwhile is kept."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                found: dict[str, Any] = answer["result"]
                return found
            self._keep(answer)

    def open(
        self, file: Path, *, width: int = 1280, height: int = 900, scheme: str = "light"
    ) -> None:
        """Open a file from disk in a window of that size, as a phone below 500 pixels."""
        phone = width < 500
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.complaints.clear()
        self.call("Page.navigate", url=file.as_uri())
        self.script(
            "new Promise(done => document.readyState === 'complete' ? done(1)"
            " : addEventListener('load', () => done(1)))"
        )

    def script(self, code: str) -> Any:
        """What an expression gives, a promise's value included."""
        found = self.call(
            "Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def point_at(self, x: float, y: float) -> None:
        """Move the mouse there."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, key: str) -> None:
        """Press a key that has no letter."""
        for kind in ("rawKeyDown", "keyUp"):
            code = {"Tab": 9, "ArrowRight": 39, "Escape": 27}[key]
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._held:
            more = os.read(self.read, 1 << 20)
            if not more:
                raise RuntimeError("Chromium ended")
            self._held += more
        message, _, self._held = self._held.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _keep(self, event: dict[str, Any]) -> None:
        if event.get("method") in (
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Log.entryAdded",
        ):
            self.complaints.append(json.dumps(event["params"]))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium with an empty profile."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian: apt install chromium)")
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()
    profile = tmp_path_factory.mktemp("chromium")
    # Chromium reads commands from descriptor 3 and answers on 4.
    shell = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(
        ["bash", "-c", shell, CHROMIUM, *_FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    found = Browser(ours_out, ours_in)
    try:
        target = found.call("Target.createTarget", url="about:blank")["targetId"]
        attached = found.call("Target.attachToTarget", targetId=target, flatten=True)
        found.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            found.call(f"{domain}.enable")
        yield found
        found.session = ""
        found.call("Browser.close")
    finally:
        process.kill()
        process.wait()
        os.close(ours_in)
        os.close(ours_out)
