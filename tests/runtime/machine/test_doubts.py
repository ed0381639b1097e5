"""What makes a run doubtful is said at its threshold and not before, with figures and a remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ghostedge_runtime.machine.doubts import find_marks
from ghostedge_runtime.record import (
    Case,
    Estimate,
    MachineFacts,
    Mark,
    Result,
    Settings,
    Snapshot,
)

PI = MachineFacts(
    machine="aarch64",
    cores=4,
    cores_total=4,
    os="Debian",
    kernel="Linux 6.12",
    python="3.11.2",
    max_mhz={"policy0": 2400.0},
    governors={"policy0": "ondemand"},
)
PC = replace(PI, machine="x86_64", governors={"policy0": "powersave"})
MIXED = replace(
    PI, cores=8, cores_total=8, max_mhz={"policy0": 1800.0, "policy4": 2400.0, "policy6": 2400.0}
)


def result(threads: int = 1, **fields: object) -> Result:
    case = Case("model.tflite", "0" * 64, 10, "litert", threads)
    return replace(Result(case, runs=100, steady=True), **fields)  # type: ignore[arg-type]  # any field


def looks(**fields: tuple[object, ...]) -> tuple[Snapshot, ...]:
    """Looks at even times over ten seconds, one for each value of the fields."""
    count = max(len(values) for values in fields.values())
    times = [10.0 * number / max(count - 1, 1) for number in range(count)]
    return tuple(
        replace(Snapshot(at), **{name: values[i] for name, values in fields.items()})  # type: ignore[arg-type]  # any field
        for i, at in enumerate(times)
    )


def marks_of_trace(facts: MachineFacts, *trace: Snapshot, threads: int = 1) -> tuple[Mark, ...]:
    return find_marks(facts, Settings(), trace, (result(threads),))


def the_mark(marks: tuple[Mark, ...]) -> Mark:
    assert len(marks) == 1, marks
    return marks[0]


def test_a_run_of_which_nothing_is_known_has_no_marks() -> None:
    assert find_marks(PI, Settings(), (), ()) == ()
    assert find_marks(PI, Settings(), (Snapshot(0.0),), (result(),)) == ()
    assert find_marks(PI, Settings(), (Snapshot(0.0), Snapshot(9.0)), (result(4),)) == ()


@pytest.mark.parametrize("when", [0, 1, 2])
@pytest.mark.parametrize(
    ("bit", "kind", "words"),
    [
        (0, "under-voltage", "the supply voltage fell too low"),
        (1, "throttled", "slowed the CPU: frequency capped"),
        (2, "throttled", "slowed the CPU: throttled"),
        (3, "throttled", "slowed the CPU: soft temperature limit"),
    ],
)
def test_a_firmware_bit_set_at_any_look_is_the_runs(
    bit: int, kind: str, words: str, when: int
) -> None:
    bits = [0, 0, 0]
    bits[when] = 1 << bit
    mark = the_mark(marks_of_trace(PI, *looks(throttle_bits=tuple(bits))))
    assert (mark.kind, mark.fails_strict, mark.case) == (kind, True, None)
    assert words in mark.text
    assert "measure again" in mark.text


@pytest.mark.parametrize(
    ("bit", "kind"), [(16, "under-voltage"), (17, "throttled"), (19, "throttled")]
)
def test_a_firmware_bit_that_was_set_between_two_looks_is_the_runs(bit: int, kind: str) -> None:
    mark = the_mark(marks_of_trace(PI, *looks(throttle_bits=(0, 1 << bit))))
    assert (mark.kind, mark.fails_strict) == (kind, True)
    assert f"get_throttled {1 << bit:#x}" in mark.text


@pytest.mark.parametrize(
    ("bit", "kind", "name"),
    [(16, "under-voltage", "under-voltage"), (18, "throttled", "throttled")],
)
def test_a_firmware_bit_of_before_the_run_is_said_and_passes(
    bit: int, kind: str, name: str
) -> None:
    mark = the_mark(marks_of_trace(PI, *looks(throttle_bits=(1 << bit, 1 << bit))))
    assert (mark.kind, mark.fails_strict) == (kind, False)
    assert mark.text.startswith(f"before this run, since boot: {name} (")


def test_a_bit_that_comes_again_is_the_runs_and_not_said_twice() -> None:
    mark = the_mark(marks_of_trace(PI, *looks(throttle_bits=(0x40000, 0x40004, 0x40000))))
    assert (mark.kind, mark.fails_strict) == ("throttled", True)


def test_looks_without_the_firmware_are_passed_over() -> None:
    assert marks_of_trace(PI, *looks(throttle_bits=(None, 0, None))) == ()
    assert the_mark(marks_of_trace(PI, *looks(throttle_bits=(None, 0, 0x2)))).kind == "throttled"


def test_under_voltage_and_throttling_are_two_marks_before_what_passes() -> None:
    marks = marks_of_trace(PI, *looks(throttle_bits=(0x80000, 0xD0005)))
    assert [(mark.kind, mark.fails_strict) for mark in marks] == [
        ("under-voltage", True),
        ("throttled", True),
        ("throttled", False),
    ]


def test_the_hottest_reading_stands_beside_the_firmwares_word() -> None:
    trace = looks(throttle_bits=(0, 8), temperatures_c=({"a": 61.25}, {"a": 40.0, "b": 84.0}))
    assert (
        "soft temperature limit (get_throttled 0x8, 84.0 °C at most)"
        in the_mark(marks_of_trace(PI, *trace)).text
    )


@pytest.mark.parametrize(
    ("counts", "marked"), [((5, 5), False), ((5, 6), True), ((5, None, 8), True)]
)
def test_an_x86_that_counted_a_slow_down_for_heat_throttled(
    counts: tuple[int | None, ...], marked: bool
) -> None:
    marks = marks_of_trace(PC, *looks(thermal_throttle_count=counts))
    assert [mark.kind for mark in marks] == ["throttled"] * marked
    if marked:
        assert f"slowed the CPU {(counts[-1] or 0) - 5} times" in marks[0].text
        assert marks[0].fails_strict


@pytest.mark.parametrize(
    ("facts", "mhz", "degrees", "marked"),
    [
        (PI, 2159.0, 80.0, True),
        (PI, 2160.0, 80.0, False),
        (PI, 2159.0, 79.9, False),
        (PC, 2159.0, 99.0, False),
        (replace(PI, max_mhz={}), 2159.0, 99.0, False),
    ],
)
def test_an_arm_clock_below_nine_tenths_while_hot_is_throttling(
    facts: MachineFacts, mhz: float, degrees: float, marked: bool
) -> None:
    trace = looks(
        clocks_mhz=({"policy0": 2400.0}, {"policy0": mhz}),
        temperatures_c=({"cpu": 50.0}, {"cpu": degrees}),
    )
    marks = marks_of_trace(facts, *trace)
    assert [mark.kind for mark in marks] == ["throttled"] * marked
    if marked:
        assert "ran at 90% of its highest clock at 80.0 °C" in marks[0].text
        assert marks[0].fails_strict


def test_the_firmwares_clock_is_believed_before_the_kernels() -> None:
    hot = {"temperatures_c": ({"cpu": 85.0},)}
    slowed = looks(clocks_mhz=({"policy0": 2400.0, "arm": 1500.0},), **hot)
    assert "ran at 62%" in the_mark(marks_of_trace(PI, *slowed)).text
    held = looks(clocks_mhz=({"policy0": 600.0, "arm": 2400.0},), **hot)
    assert marks_of_trace(PI, *held) == ()


def test_an_idle_cluster_is_not_taken_for_a_slowed_one() -> None:
    clocks = {"policy0": 600.0, "policy4": 2400.0, "policy6": 600.0}
    trace = looks(clocks_mhz=(clocks,), temperatures_c=({"soc": 85.0},))
    assert [mark.kind for mark in marks_of_trace(MIXED, *trace)] == ["pinning"]
    slowed = looks(clocks_mhz=({**clocks, "policy4": 1200.0},), temperatures_c=({"soc": 85.0},))
    assert "ran at 50%" in marks_of_trace(MIXED, *slowed)[0].text


@pytest.mark.parametrize(
    ("waits", "marked"),
    [((3.0, 3.0), False), ((0.0, 0.1), False), ((3.0, 3.11), True), ((None, 3.0), False)],
)
def test_a_containers_limit_that_cost_more_than_a_hundredth_of_the_time_is_throttling(
    waits: tuple[float | None, ...], marked: bool
) -> None:
    marks = marks_of_trace(PI, *looks(cgroup_throttled_s=waits))
    assert [(mark.kind, mark.fails_strict) for mark in marks] == [("throttled", True)] * marked
    if marked:
        assert "waiting for 0.11 s of 10.0 s" in marks[0].text


@pytest.mark.parametrize(
    ("grown", "threads", "marked"),
    [(0.1, 1, False), (0.11, 1, True), (0.4, 4, False), (0.41, 4, True)],
)
def test_stolen_time_is_held_against_what_the_threads_could_use(
    grown: float, threads: int, marked: bool
) -> None:
    trace = looks(steal_s=(0.0, grown))
    marks = marks_of_trace(PI, *trace, threads=threads)
    assert [(mark.kind, mark.fails_strict) for mark in marks] == [("stolen", False)] * marked
    if marked:
        assert f"of {10.0 * threads:.1f} s that {threads} thread" in marks[0].text


@pytest.mark.parametrize(
    ("low", "high", "marked"),
    [
        (1.05, 1.20, False),
        (1.051, 1.20, True),
        (0.80, 0.95, False),
        (0.80, 0.949, True),
        (0.90, 1.20, False),
    ],
)
def test_drift_is_an_interval_that_lies_beyond_five_percent(
    low: float, high: float, marked: bool
) -> None:
    drifting = result(drift=Estimate((low + high) / 2, low, high))
    marks = find_marks(PI, Settings(), (), (result(), drifting))
    assert [(m.kind, m.case, m.fails_strict) for m in marks] == [("drifted", 1, True)] * marked


def test_drift_says_which_way_and_how_far() -> None:
    slower = result(drift=Estimate(1.104, 1.09, 1.121))
    faster = result(drift=Estimate(0.9, 0.88, 0.92))
    one, other = find_marks(PI, Settings(), (), (slower, faster))
    assert "ran 10.4% slower than its first (+9.0% to +12.1%)" in one.text
    assert "ran 10.0% faster than its first (-12.0% to -8.0%)" in other.text


def test_more_threads_than_cpus_is_said_of_that_case_alone() -> None:
    few = replace(PI, cores=2)
    mark = the_mark(find_marks(few, Settings(), (), (result(2), result(4))))
    assert (mark.kind, mark.case, mark.fails_strict) == ("limited", 1, False)
    assert "4 threads share the 2 CPUs that the process may use" in mark.text


def test_a_quota_below_the_threads_is_said() -> None:
    limited = replace(PI, cpu_quota=1.5)
    mark = the_mark(find_marks(limited, Settings(), (), (result(1), result(2))))
    assert (mark.kind, mark.case) == ("limited", 1)
    assert "2 threads share the 1.5 CPUs that the container may use" in mark.text
    failed = result(4, error="it does not load", runs=0)
    assert find_marks(limited, Settings(), (), (failed,)) == ()


def test_the_powersave_governor_is_slow_except_on_x86() -> None:
    slow = replace(PI, governors={"policy0": "ondemand", "policy4": "powersave"})
    mark = the_mark(find_marks(slow, Settings(), (), (result(),)))
    assert (mark.kind, mark.fails_strict) == ("limited", False)
    assert "scaling_governor" in mark.text
    assert find_marks(PC, Settings(), (), (result(),)) == ()


@pytest.mark.parametrize(
    ("load", "threads", "marked"),
    [
        (0.5, 4, False),
        (0.51, 4, True),
        (0.5, 9, False),
        (3.5, 1, False),
        (3.51, 1, True),
        (None, 4, False),
    ],
)
def test_a_machine_is_busy_when_others_and_ours_are_more_than_its_cpus(
    load: float | None, threads: int, marked: bool
) -> None:
    trace = looks(load_average=(load, 99.0))
    facts = replace(PI, cores=16)  # too few for the threads would be another mark
    marks = marks_of_trace(facts, *trace, threads=threads)
    assert [(mark.kind, mark.fails_strict) for mark in marks] == [("busy", False)] * marked


def test_a_warm_up_that_never_settled_is_said_of_its_result() -> None:
    unsteady = result(steady=False, warmup_runs=321)
    failed = result(steady=False, runs=0, error="it does not load")
    mark = the_mark(find_marks(PI, Settings(), (), (failed, unsteady)))
    assert (mark.kind, mark.case, mark.fails_strict) == ("unsteady", 1, False)
    assert "321 inferences" in mark.text


def test_more_threads_than_the_cpus_it_was_pinned_to_is_said_once() -> None:
    pinned = Settings(cpus=(0, 1))
    mark = the_mark(find_marks(replace(PI, cores=3), pinned, (), (result(2), result(4))))
    assert (mark.kind, mark.case) == ("pinning", 1)
    assert "4 threads were pinned to CPUs 0,1:" in mark.text


def test_cores_of_two_kinds_are_said_with_the_cpus_to_pin_to() -> None:
    mark = the_mark(find_marks(MIXED, Settings(), (), (result(),)))
    assert (mark.kind, mark.fails_strict) == ("pinning", False)
    assert "1800 to 2400 MHz" in mark.text
    assert "--cpus 4,5,6,7" in mark.text


@pytest.mark.parametrize(("cpus", "marked"), [((4, 7), False), ((0, 1), False), ((3, 4), True)])
def test_a_run_pinned_to_one_kind_of_cores_is_not_a_mixture(
    cpus: tuple[int, ...], marked: bool
) -> None:
    marks = find_marks(MIXED, Settings(cpus=cpus), (), (result(),))
    assert [mark.kind for mark in marks] == ["pinning"] * marked


def test_favoured_cores_that_boost_a_little_higher_are_of_one_kind() -> None:
    alike = replace(PC, max_mhz={"policy0": 4900.0, "policy1": 5100.0}, cores_total=2, cores=2)
    assert find_marks(alike, Settings(), (), (result(),)) == ()
