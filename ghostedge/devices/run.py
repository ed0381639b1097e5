"""The same job on several devices at once."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import NoReturn

from ghostedge.console import Reporter
from ghostedge.devices.address import LOCAL, Device, parse_device
from ghostedge.devices.connection import CancelledError, Limits
from ghostedge.devices.parcel import pack
from ghostedge.devices.session import Session
from ghostedge.devices.setup import runtime_wheel
from ghostedge_runtime.bench.run import run_bench
from ghostedge_runtime.errors import DeviceError, GhostEdgeError
from ghostedge_runtime.record import BenchJob, BenchRun

_LOOK_S = 0.2
_PARTING_S = 60.0
_HERE = threading.Lock()  # this machine, too, measures one thing at a time


class DevicesFailedError(DeviceError):
    """Some devices could not measure.

    Attributes:
        runs: What the others measured, in the order of the command line.
        failures: Why, by the device's name.
    """

    def __init__(self, runs: tuple[BenchRun, ...], failures: Mapping[str, GhostEdgeError]) -> None:
        super().__init__("\n".join(str(error) for error in failures.values()))
        self.runs, self.failures = runs, failures
        self.exit_code = min(error.exit_code for error in failures.values())


def run_on(
    devices: Sequence[Device | str],
    job: BenchJob,
    reporter: Reporter,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> tuple[BenchRun, ...]:
    """Measure a job on every device, on all at the same time.

    Args:
        devices: As `parse_device` takes them; ``local`` is the machine this runs on.
        job: Its files lie here.
        reporter: Told what goes on; from this thread only.
        limits: How long to wait for what.

    Returns:
        A run for each device, in their order.

    Raises:
        InputError: A device's name is none, or a file of the job cannot be read; nothing has begun.
        DevicesFailedError: Some devices could not measure; it holds the others' runs.
        KeyboardInterrupt: After what runs on the devices was ended; SIGTERM and SIGHUP do the same.
    """
    parsed = [parse_device(device) if isinstance(device, str) else device for device in devices]
    with _as_interrupts(signal.SIGTERM, signal.SIGHUP):
        return _Fleet(parsed, job, limits).run(reporter)


class _Part(threading.Thread):
    """One device's measurement, in its thread; what it says goes through the fleet's queue."""

    def __init__(self, device: Device, job: BenchJob, events: queue.Queue[str]) -> None:
        super().__init__(name=device.name, daemon=True)
        self.device, self._job, self._events = device, job, events
        self.words, self.share = "begin", 0.0
        self.session: Session | None = None
        self.measured: BenchRun | None = None
        self.error: BaseException | None = None
        self._cancelled = False

    def run(self) -> None:
        try:
            self.measured = self._local() if self.session is None else self.session.run()
        except BaseException as error:
            self.error = error

    def _local(self) -> BenchRun:
        job = replace(self._job, device=self.device.name)
        with _HERE:
            return run_bench(job, progress=self._local_share)

    def _local_share(self, words: str, share: float) -> None:
        if self._cancelled:
            raise CancelledError
        self.report(words, share)

    def say(self, text: str) -> None:
        self._events.put(f"{self.device.name}: {text}")

    def report(self, words: str, share: float) -> None:
        self.words, self.share = words, share

    def cancel(self) -> None:
        self._cancelled = True
        if self.session is not None:
            self.session.cancel()


class _Fleet:
    """All devices of one measurement."""

    def __init__(self, devices: Sequence[Device], job: BenchJob, limits: Limits) -> None:
        self._events: queue.Queue[str] = queue.Queue()
        self._parts = [_Part(device, job, self._events) for device in devices]
        if any(device.host is not None for device in devices):
            parcel, wheel = pack(job), runtime_wheel()
            for part in self._parts:
                if part.device != LOCAL:
                    part.session = Session(
                        part.device, parcel, wheel, limits, say=part.say, report=part.report
                    )

    def run(self, reporter: Reporter) -> tuple[BenchRun, ...]:
        for part in self._parts:
            part.start()
        try:
            self._attend(reporter)
        except BaseException:
            self._part_in_peace(reporter)
            raise
        return self._gathered()

    def _attend(self, reporter: Reporter) -> None:
        with reporter.shares("bench") as report:
            while any(part.is_alive() for part in self._parts):
                self._pass_on(reporter, _LOOK_S)
                shares = [part.share for part in self._parts]
                report(self._words(), sum(shares) / len(shares))
        self._pass_on(reporter, 0)

    def _words(self) -> str:
        """What goes on: of one device in its own words, of several how far each is."""
        if len(self._parts) == 1:
            return self._parts[0].words
        return ", ".join(f"{part.device.name} {part.share:.0%}" for part in self._parts)

    def _pass_on(self, reporter: Reporter, seconds: float) -> None:
        try:
            while True:
                reporter.note(self._events.get(timeout=seconds or None, block=seconds > 0))
        except queue.Empty:
            return

    def _part_in_peace(self, reporter: Reporter) -> None:
        """End what runs on the devices, before the program goes."""
        for part in self._parts:
            part.cancel()
        for part in self._parts:
            part.join(_PARTING_S)
        self._pass_on(reporter, 0)

    def _gathered(self) -> tuple[BenchRun, ...]:
        failures: dict[str, GhostEdgeError] = {}
        for part in self._parts:
            if isinstance(part.error, GhostEdgeError):
                failures[part.device.name] = part.error
            elif part.error is not None:
                raise part.error
        runs = tuple(part.measured for part in self._parts if part.measured is not None)
        if failures:
            raise DevicesFailedError(runs, failures)
        return runs


@contextmanager
def _as_interrupts(*numbers: signal.Signals) -> Iterator[None]:
    """While the block lasts, these signals end it as Ctrl-C does; only the main thread can.

    One that is ignored, as under nohup, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [one for one in numbers if signal.getsignal(one) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
