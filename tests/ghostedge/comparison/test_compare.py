"""Which cases are compared, what is said of them, and when the budget is missed."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge.comparison.compare import compare
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.record import Delegation, Mark, Round, Settings


@pytest.fixture(scope="module")
def rounds(simulated_rounds):
    def make(seed, ms=1.0, **options):
        return simulated_rounds(np.random.default_rng(seed), ms=ms, **options)

    return make


@pytest.mark.parametrize(
    ("ms", "verdict"), [(1.0, "no difference shown"), (1.5, "slower"), (0.6, "faster")]
)
def test_b_is_faster_slower_or_not_shown_to_differ(one_case_run, ms, verdict):
    (case,) = compare([one_case_run(1)], [one_case_run(2, ms)]).cases
    assert (case.p50.verdict, case.p90.verdict) == (verdict, verdict)
    assert case.p50.ratio.value == pytest.approx(ms, rel=0.03)
    assert case.p50.b_ms / case.p50.a_ms == pytest.approx(case.p50.ratio.value)
    assert (case.basis, case.budget) == ("rounds", None)


def test_cases_are_matched_by_file_name_backend_threads_and_precision(
    make_run, make_result, rounds
):
    def result(seed, model, **fields):
        return make_result(model, rounds(seed), **fields)

    a = make_run(
        1,
        result(1, "old/m.tflite"),
        result(2, "old/m.tflite", threads=4),
        result(3, "old/m.tflite", backend="litert-reference"),
        result(4, "old/f.tflite", precision_mode="fp16"),
    )
    b = make_run(
        2,
        result(5, "new/f.tflite", precision_mode="fp16"),
        result(6, "new/f.tflite"),
        result(7, "new/m.tflite", threads=4),
        result(8, "new/m.tflite"),
    )
    found = compare([a], [b])
    assert [str(case.key) for case in found.cases] == [
        "m.tflite, litert, 1 thread",
        "m.tflite, litert, 4 threads",
        "f.tflite, litert, 1 thread, fp16",
    ]
    assert [(each.side, str(each.key), each.reason) for each in found.unmatched] == [
        ("A", "m.tflite, litert-reference, 1 thread", "B has no measurement of it"),
        ("B", "f.tflite, litert, 1 thread", "A has no measurement of it"),
    ]


def test_folders_count_where_a_run_has_two_files_of_a_name(make_run, make_result, rounds):
    a, b = (
        make_run(
            number,
            make_result("old/m.tflite", rounds(number)),
            make_result("new/m.tflite", rounds(number + 2, 2.0)),
        )
        for number in (1, 2)
    )
    found = compare([a], [replace(b, results=b.results[::-1])])
    assert [case.key.model for case in found.cases] == ["old/m.tflite", "new/m.tflite"]
    assert {case.p50.verdict for case in found.cases} == {"no difference shown"}


def test_a_file_measured_twice_in_a_run_is_matched_by_its_turn(make_run, make_result, rounds):
    a, b = (
        make_run(n, make_result("m.tflite", rounds(n)), make_result("m.tflite", rounds(n + 5, 3.0)))
        for n in (1, 2)
    )
    found = compare([a], [b])
    assert [case.p50.verdict for case in found.cases] == ["no difference shown"] * 2
    assert str(found.cases[1].key) == "m.tflite, litert, 1 thread (number 2)"


def test_each_device_is_compared_with_itself_where_there_are_several(one_case_run):
    def both(first, second):
        return [
            one_case_run(first, 1.0, device="ssh://pi@four"),
            one_case_run(second, 0.4, device="ssh://pi@five"),
        ]

    found = compare(both(1, 2), both(5, 6))
    assert [case.key.device for case in found.cases] == ["ssh://pi@four", "ssh://pi@five"]
    assert {case.p50.verdict for case in found.cases} == {"no difference shown"}
    assert found.differences == ()


def test_one_machine_may_be_compared_with_another_and_the_difference_is_said(
    one_case_run, pi_facts
):
    laptop = replace(pi_facts, board=None, cpu="AMD Ryzen 7", governors={"policy0": "powersave"})
    b = one_case_run(2, 0.5, machine=laptop, device="ssh://me@laptop")
    found = compare([one_case_run(1)], [b])
    assert found.cases[0].p50.verdict == "faster"
    assert found.differences == (
        "device: local in A, ssh://me@laptop in B",
        "board: Raspberry Pi 5 Model B Rev 1.0 in A, none in B",
        "processor: none in A, AMD Ryzen 7 in B",
        "governors: policy0 ondemand in A, policy0 powersave in B",
    )


def test_settings_and_versions_that_differ_are_said(one_case_run):
    b = replace(
        one_case_run(2, settings=Settings(min_seconds=60, min_runs=1024, cpus=(2, 3))),
        ghostedge_version="0.2.0",
    )
    assert compare([one_case_run(1)], [b]).differences == (
        "GhostEdge: 0.1.0 in A, 0.2.0 in B",
        "--min-seconds: 3 in A, 60 in B",
        "--min-runs: 100 in A, 1024 in B",
        "pinned CPUs: none in A, 2, 3 in B",
    )


def test_a_fact_that_changes_within_a_side_is_said_too(one_case_run, pi_facts):
    newer = one_case_run(2, machine=replace(pi_facts, kernel="Linux 6.12.1"))
    found = compare([one_case_run(1), newer], [one_case_run(3)])
    assert found.differences == ("kernel: Linux 6.6.31 and Linux 6.12.1 in A, Linux 6.6.31 in B",)


def test_an_interpreter_that_differs_is_said_of_the_case(make_run, make_result, rounds):
    a = make_run(1, make_result("m.tflite", rounds(1), delegation=Delegation("XNNPACK", 80, 80, 1)))
    b = make_run(
        2,
        make_result(
            "m.tflite",
            rounds(2),
            runtime_version="1.4.0",
            delegation=Delegation("XNNPACK", 60, 80, 9),
        ),
    )
    assert compare([a], [b]).cases[0].notes == (
        "runtime version: 2.3.0 in A, 1.4.0 in B",
        "ops delegated: 80 of 80 (XNNPACK) in A, 60 of 80 (XNNPACK) in B",
    )


def test_whether_it_is_the_same_file_is_told_by_its_content(one_case_run):
    a, b = one_case_run(1, sha256="aa" * 32), one_case_run(2, sha256="bb" * 32)
    assert compare([a], [one_case_run(3, sha256="aa" * 32)]).cases[0].same_file
    case = compare([a], [b]).cases[0]
    assert (case.same_file, case.sha256_a, case.sha256_b) == (False, ("aa" * 32,), ("bb" * 32,))


def test_marks_of_both_sides_are_repeated(one_case_run):
    hot = one_case_run(
        2, 1.3, marks=[Mark("throttled", "throttled at 82 °C"), Mark("drifted", "by 8 %", case=0)]
    )
    case = compare([one_case_run(1)], [hot]).cases[0]
    assert [(each.side, each.run, each.kind, each.text) for each in case.marks] == [
        ("B", hot.id, "throttled", "throttled at 82 °C"),
        ("B", hot.id, "drifted", "by 8 %"),
    ]


def test_another_cases_mark_is_not(make_run, make_result, rounds):
    results = [make_result(name, rounds(1)) for name in ("m.tflite", "n.tflite")]
    b = make_run(2, *results, marks=[Mark("unsteady", "never settled", case=1)])
    found = compare([make_run(1, *results)], [b])
    assert [len(case.marks) for case in found.cases] == [0, 1]


@pytest.mark.parametrize(
    ("ms", "limit", "budget"),
    [
        (1.2, 5, "missed"),
        (1.2, 25, "kept"),
        (0.9, 0, "kept"),
        (1.06, 5.5, "not shown"),
    ],
)
def test_the_budget_is_missed_where_the_whole_interval_lies_above_it(
    one_case_run, ms, limit, budget
):
    found = compare([one_case_run(1)], [one_case_run(2, ms)], max_regression_pct=limit)
    ratio = found.cases[0].p50.ratio
    assert found.cases[0].budget == budget
    assert (ratio.low > 1 + limit / 100) == (budget == "missed")
    assert (ratio.value > 1 + limit / 100) == (budget != "kept")
    assert len(found.missed) == (budget == "missed")


def test_a_case_that_b_could_not_run_misses_the_budget(make_run, make_result, rounds):
    a = make_run(1, *(make_result(name, rounds(1)) for name in ("m.tflite", "n.tflite")))
    b = make_run(
        2,
        make_result("m.tflite", rounds(2)),
        make_result("n.tflite", (), error="it was refused"),
    )
    found = compare([a], [b], max_regression_pct=5)
    (left,) = [each for each in found.unmatched if each.side == "B"]
    assert left.lost
    assert found.missed == (
        "n.tflite, litert, 1 thread: run 0000000000000002 could not run: it was refused",
    )
    assert compare([b], [a], max_regression_pct=5).missed == ()
    assert compare([a], [b]).missed == ()


def test_of_several_runs_one_that_failed_is_left_out_and_said(make_run, make_result, rounds):
    a = [make_run(1, make_result("m.tflite", rounds(1)))]
    b = [
        make_run(2, make_result("m.tflite", rounds(2))),
        make_run(3, make_result("m.tflite", (), error="it ran out of memory")),
    ]
    found = compare(a, b, max_regression_pct=50)
    assert found.cases[0].runs_b == (f"{2:016x}",)
    assert [each.reason for each in found.unmatched] == [
        "run 0000000000000003 could not run: it ran out of memory"
    ]
    assert found.missed == ()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ((), "has no raw samples"),
        ((Round(0, ()), Round(1, (5,))), "has a round without samples"),
        ((Round(0, (5,)), Round(1, (0,))), "a time that is not above zero"),
    ],
)
def test_samples_that_give_no_ratio_are_refused_by_name(
    make_run, make_result, rounds, broken, reason
):
    a = make_run(1, make_result("m.tflite", rounds(1)))
    fine = make_result("m.tflite", rounds(2))
    b = make_run(2, replace(fine, rounds=broken))
    with pytest.raises(InputError, match=f"(?s)no case of A is in B.*{reason}"):
        compare([a], [b])


def test_sides_without_a_case_in_common_are_refused_with_what_each_has(one_case_run):
    with pytest.raises(InputError, match=r"(?s)v1\.tflite, .* in A alone.*v2\.tflite.*bench OLD"):
        compare([one_case_run(1, model="v1.tflite")], [one_case_run(2, model="v2.tflite")])


def test_the_same_run_twice_on_a_side_counts_once(one_case_run):
    found = compare([one_case_run(1)] * 3, [one_case_run(2)])
    assert (found.cases[0].runs_a, found.cases[0].basis) == ((f"{1:016x}",), "rounds")


def test_several_runs_of_a_side_bring_in_the_spread_between_them(one_case_run):
    """One pair looks 10 % slower for sure; five runs show that such is the machine's mood."""
    paces = (1.0, 1.1, 0.93, 1.08, 0.95)
    before = [one_case_run(n, ms) for n, ms in enumerate(paces)]
    alone = compare(before[:1], [one_case_run(9, 1.1)]).cases[0]
    among = compare(before, [one_case_run(9, 1.1)]).cases[0]
    assert (alone.p50.verdict, alone.basis) == ("slower", "rounds")
    assert (among.p50.verdict, among.basis) == ("no difference shown", "runs")


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 3),
    shape=st.fixed_dictionaries(
        {"between_rounds": st.floats(0, 0.5), "rounds": st.integers(1, 12)}
    ),
)
def test_a_side_compared_with_itself_never_differs(
    one_case_run, simulated_rounds, seed, count, shape
):
    generator = np.random.default_rng(seed)
    side = []
    for number in range(count):
        run = one_case_run(number)
        rounds = simulated_rounds(generator, **shape)
        side.append(replace(run, results=(replace(run.results[0], rounds=rounds),)))
    found = compare(side, side, max_regression_pct=0)
    (case,) = found.cases
    assert (case.p50.verdict, case.p90.verdict) == ("no difference shown",) * 2
    assert found.missed == ()
    assert asdict(found)["cases"][0]["same_file"]
