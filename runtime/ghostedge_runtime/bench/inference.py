"""How fast a model runs here, and the bounds of a measurement.

One inference after the other through `Model.predict`, wall clock. Warm-up comes first and is not
counted. **Steady** means: of the last three rounds of warm-up, each at least `_ROUND_RUNS` runs
and `_ROUND_NS` long, the medians lie within `_STEADY_SPREAD` of the least of them. A machine
that does not get there in ``max_warmup_seconds`` is measured all the same and said to be unsteady.

Load time and first inference are those of the `Model` given, so open it just before. Peak memory
is the process's since it started. For a model's own figure, several models in turn, intervals and
what the machine did meanwhile there is `bench.run`, whose processes warm up and run by the
functions here.

Of the presets, ``mlperf-mobile`` has the bounds of MLPerf Mobile's single-stream scenario: at least
1,024 samples and 60 s, of which the 90th percentile counts. Its other rules (an application on a
phone at default settings, five tries five minutes apart) are the user's to keep.
"""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from time import perf_counter_ns
from typing import Any

import numpy as np

from ghostedge_runtime.errors import InputError
from ghostedge_runtime.formats.backend import Array
from ghostedge_runtime.images import ImageSource
from ghostedge_runtime.latency import Timing, summarize
from ghostedge_runtime.machine.facts import Host, host_facts, peak_rss_mb
from ghostedge_runtime.model import Model
from ghostedge_runtime.record import Settings

PRESETS: Mapping[str, Settings] = {
    "quick": Settings(min_seconds=1.0, min_runs=30, max_warmup_seconds=3.0, preset="quick"),
    "mlperf-mobile": Settings(min_seconds=60.0, min_runs=1024, preset="mlperf-mobile"),
}
MAX_IMAGES = 64
_ROUND_RUNS = 5
_ROUND_NS = 100_000_000
_STEADY_SPREAD = 0.05
_SEED = 0


def preset_settings(
    preset: str | None = None,
    *,
    min_seconds: float | None = None,
    min_runs: int | None = None,
    max_warmup_seconds: float | None = None,
    cpus: tuple[int, ...] | None = None,
) -> Settings:
    """The bounds of a preset, or the defaults, with what is given put in their place.

    Where a bound of the preset changes, the settings no longer carry its name.

    Raises:
        InputError: No preset of that name, or bounds that make no sense.
    """
    if preset is not None and preset not in PRESETS:
        raise InputError(
            f"there is no preset {preset!r}", where="preset", remedy="one of " + ", ".join(PRESETS)
        )
    base = Settings() if preset is None else PRESETS[preset]
    settings = replace(
        base,
        min_seconds=base.min_seconds if min_seconds is None else min_seconds,
        min_runs=base.min_runs if min_runs is None else min_runs,
        max_warmup_seconds=(
            base.max_warmup_seconds if max_warmup_seconds is None else max_warmup_seconds
        ),
    )
    check_settings(settings)
    return replace(settings, preset=preset if settings == base else None, cpus=cpus)


def check_settings(settings: Settings) -> None:
    """Refuse bounds that no measurement can keep.

    Raises:
        InputError: ``min_runs`` below 1, a negative number of seconds, or no CPU to run on.
    """
    if settings.min_runs < 1 or settings.min_seconds < 0 or settings.max_warmup_seconds < 0:
        raise InputError(
            "min_runs must be at least 1, min_seconds and max_warmup_seconds at least 0, got "
            f"{settings.min_runs}, {settings.min_seconds} and {settings.max_warmup_seconds}"
        )
    if settings.cpus is not None and not settings.cpus:
        raise InputError("no CPU is named to pin to", remedy="leave it out to use all of them")


@dataclass(frozen=True)
class Benchmark:
    """What `benchmark` measured.

    Attributes:
        load_ms: As the model has it (`Model.load_ms`).
        first_inference_ms: The model's very first, before any warm-up.
        warmup_runs: Runs before the counted ones, the first inference left out.
        steady: Whether warm-up ended because the times had settled (see the module's rule).
        runs: Counted runs; one run is one batch of the file's own size.
        seconds: What they took together, in seconds.
        p50_ms: Median, in milliseconds.
        p90_ms: 90th percentile, in milliseconds.
        p99_ms: 99th percentile, in milliseconds.
        mean_ms: Mean, in milliseconds.
        min_ms: Least, in milliseconds.
        preprocessing: From image to input, if images were given; not part of the runs.
        batch: Images per run.
        peak_rss_mb: Most memory the process has held so far, in MB of 10⁶ bytes.
        threads: CPU threads one inference may use.
        runtime: Distribution that provides the interpreter.
        runtime_version: Its version.
        host: The machine.
    """

    load_ms: float
    first_inference_ms: float
    warmup_runs: int
    steady: bool
    runs: int
    seconds: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    min_ms: float
    preprocessing: Timing | None
    batch: int
    peak_rss_mb: float | None
    threads: int
    runtime: str
    runtime_version: str
    host: Host

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values that JSON takes."""
        return asdict(self)


def benchmark(
    model: Model,
    *,
    min_seconds: float = 3.0,
    min_runs: int = 100,
    max_warmup_seconds: float = 10.0,
    images: Sequence[ImageSource] | None = None,
) -> Benchmark:
    """Time a model's inference.

    Args:
        model: Freshly opened, so that its first inference is still to come.
        min_seconds: The counted runs take at least this long together.
        min_runs: There are at least this many of them.
        max_warmup_seconds: Warm-up ends after this, steady or not.
        images: Real images to run, in turn, the first `MAX_IMAGES` of them; made into inputs
            beforehand. Without, one fixed input of random numbers.

    Raises:
        InputError: A bound that makes no sense, the model is closed, or images are given for a
            model without metadata.
        ImageError: An image cannot be used.
    """
    check_settings(Settings(min_seconds, min_runs, max_warmup_seconds))
    preprocessing = None
    if images is None:
        inputs = [random_input(model)]
    else:
        inputs, preprocessing = real_inputs(model, images)
    turn = cycle(inputs)

    def run() -> int:
        batch = next(turn)
        start = perf_counter_ns()
        model.predict(batch)
        return perf_counter_ns() - start

    run()
    first_ms = model.first_inference_ms
    assert first_ms is not None  # there has been a run
    warmup_runs, steady = warm_up(run, max_warmup_seconds)
    samples = timed(run, round(min_seconds * 1e9), min_runs)
    timing = summarize(samples)
    return Benchmark(
        load_ms=model.load_ms,
        first_inference_ms=first_ms,
        warmup_runs=warmup_runs,
        steady=steady,
        runs=timing.count,
        seconds=sum(samples) / 1e9,
        p50_ms=timing.p50_ms,
        p90_ms=timing.p90_ms,
        p99_ms=timing.p99_ms,
        mean_ms=timing.mean_ms,
        min_ms=timing.min_ms,
        preprocessing=preprocessing,
        batch=len(inputs[0]),
        peak_rss_mb=peak_rss_mb(),
        threads=model.threads,
        runtime=model.runtime[0],
        runtime_version=model.runtime[1],
        host=host_facts(),
    )


def warm_up(run: Callable[[], int], max_seconds: float) -> tuple[int, bool]:
    """Run until the times settle (see the module's rule) or the time is up.

    Args:
        run: Does one run and returns its nanoseconds.
        max_seconds: On the sum of those nanoseconds.

    Returns:
        The number of runs, and whether the times settled.
    """
    runs, spent, medians = 0, 0, []
    while spent < max_seconds * 1e9:
        samples = timed(run, _ROUND_NS, _ROUND_RUNS)
        runs += len(samples)
        spent += sum(samples)
        medians.append(statistics.median(samples))
        last = medians[-3:]
        if len(last) == 3 and max(last) <= min(last) * (1 + _STEADY_SPREAD):
            return runs, True
    return runs, False


def timed(run: Callable[[], int], min_ns: int, min_runs: int) -> array[int]:
    """Run until both bounds are kept.

    Args:
        run: Does one run and returns its nanoseconds.
        min_ns: On the sum of those nanoseconds.
        min_runs: On their number.

    Returns:
        The nanoseconds of every run.
    """
    samples, spent = array("q"), 0
    while len(samples) < min_runs or spent < min_ns:
        nanoseconds = run()
        samples.append(nanoseconds)
        spent += nanoseconds
    return samples


def random_input(model: Model) -> Array:
    """A batch of the file's own size: any bytes for integers, for floats a normal distribution."""
    shape, dtype = _input_shape(model), np.dtype(model.io.input.dtype)
    generator = np.random.default_rng(_SEED)
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    return generator.integers(0, 256, shape).astype(dtype)


def real_inputs(model: Model, images: Sequence[ImageSource]) -> tuple[list[Array], Timing]:
    """Batches of the file's own size, each of one image, and what making them took.

    Args:
        model: Whose metadata says how.
        images: The first `MAX_IMAGES` of them are used.

    Raises:
        InputError: No image is given, or the model has no metadata.
        ImageError: An image cannot be used.
    """
    if not images:
        raise InputError("no images given to run", remedy="leave images out for random input")
    size = _input_shape(model)[0]
    spent, batches = array("q"), []
    for image in images[:MAX_IMAGES]:
        start = perf_counter_ns()
        one = model.preprocess(image)
        spent.append(perf_counter_ns() - start)
        batches.append(np.repeat(one, size, axis=0))
    return batches, summarize(spent)


def _input_shape(model: Model) -> tuple[int, ...]:
    return tuple(1 if size is None else size for size in model.io.input.shape)
