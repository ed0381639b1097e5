"""The guard's search on toy problems: what it returns, what it asks for, when it ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge_quantize.guard.score import Score
from ghostedge_quantize.guard.search import (
    Candidates,
    Check,
    Deadline,
    LayerCost,
    Outcome,
    State,
    TimeUpError,
    guard,
)

Holds = Callable[[frozenset[str]], bool]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Quiet:
    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.costs: Sequence[LayerCost] = ()

    def measuring(self, layers: Sequence[str]) -> Iterable[str]:
        return layers

    def ranked(self, costs: Sequence[LayerCost]) -> None:
        self.costs = costs

    def checked(self, check: Check) -> None:
        self.checks.append(check)


class Toy:
    """Layers with a noise and a price each; losses come from what stays int8."""

    def __init__(
        self,
        noise: dict[str, float],
        loss: Callable[[frozenset[str]], float],
        allowed: float,
        *,
        price: dict[str, float] | None = None,
        seconds: float | None = None,
        per_noise: float = 1.0,
        per_score: float = 1.0,
    ) -> None:
        self.noise_of, self.loss, self.allowed = noise, loss, allowed
        self.price = price or {name: 1 / len(noise) for name in noise}
        self.clock, self.listener = Clock(), Quiet()
        self.seconds, self.per_noise, self.per_score = seconds, per_noise, per_score
        self.measured: list[str] = []
        self.scored: list[frozenset[str]] = []

    def noise(self, layer: str) -> float:
        self.clock.now += self.per_noise
        self.measured.append(layer)
        return self.noise_of[layer]

    def score(self, keep: frozenset[str], deadline: Deadline) -> Score:
        self.clock.now += self.per_score
        deadline.check()
        self.scored.append(keep)
        loss = self.loss(keep)
        return Score(loss, 100, loss <= self.allowed)

    def run(self, state: State | None = None) -> Outcome:
        return guard(
            Candidates(tuple(self.noise_of), self.noise, self.price, self.score),
            deadline=Deadline(self.seconds, self.clock),
            state=state or State(),
            listener=self.listener,
        )


def additive(noise: dict[str, float], allowed: float, **options: Any) -> Toy:
    """Every layer in int8 loses its noise; the order of the layers does not matter."""
    total = sum(noise.values())
    return Toy(noise, lambda keep: total - sum(noise[k] for k in keep), allowed, **options)


NOISES = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3), st.integers(1, 50).map(float), min_size=2
)


def test_where_full_int8_holds_one_check_is_all() -> None:
    toy = additive({"a": 1.0, "b": 2.0}, allowed=5)
    outcome = toy.run()
    assert (outcome.met, outcome.stopped, outcome.keep_float) == (True, "int8 holds", ())
    assert toy.scored == [frozenset()]
    assert toy.measured == []


def test_the_layer_that_does_the_damage_is_the_one_left_float() -> None:
    noise = {f"l{i}": 0.1 for i in range(30)} | {"bad": 9.0}
    outcome = additive(noise, allowed=4).run()
    assert (outcome.keep_float, outcome.stopped) == (("bad",), "search done")
    assert outcome.costs[0] == LayerCost("bad", 9.0, 1 / 31)


@settings(deadline=None, max_examples=100)
@given(NOISES, st.floats(0, 1))
def test_with_equal_prices_no_smaller_choice_would_do(
    noise: dict[str, float], share: float
) -> None:
    allowed = share * sum(noise.values())
    outcome = additive(noise, allowed).run()
    worst_first = sorted(noise.values(), reverse=True)
    fewest = next(
        k for k in range(len(noise) + 1) if sum(worst_first[k:]) <= allowed or k == len(noise)
    )
    if fewest < len(noise):
        assert outcome.met
        assert len(outcome.keep_float) == fewest
    else:
        assert (outcome.met, outcome.stopped) == (False, "no choice holds")


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_no_layer_of_the_choice_can_be_spared(data: st.DataObject) -> None:
    """Monotone, but the noise that ranks the layers says nothing of what they lose."""
    noise = data.draw(NOISES)
    layers = list(noise)
    needed = data.draw(st.lists(st.sets(st.sampled_from(layers), min_size=1), max_size=4))
    toy = Toy(noise, lambda keep: sum(not (keep & group) for group in needed), 0)
    outcome = toy.run()
    if outcome.met:
        float_layers = frozenset(outcome.keep_float)
        assert all(float_layers & group for group in needed)
        assert all(toy.loss(float_layers - {layer}) > 0 for layer in float_layers)
    else:
        assert all(toy.loss(frozenset(layers) - {layer}) > 0 for layer in layers)


def test_of_layers_equally_noisy_the_cheap_ones_stay_float() -> None:
    noise = dict.fromkeys("abcd", 1.0)
    toy = additive(noise, allowed=2)
    toy.price = {"a": 0.4, "b": 0.1, "c": 0.4, "d": 0.1}
    assert toy.run().keep_float == ("b", "d")


def test_the_choice_is_given_in_graph_order() -> None:
    outcome = additive({"first": 1.0, "second": 5.0, "third": 3.0}, allowed=1).run()
    assert outcome.keep_float == ("second", "third")


def test_no_choice_is_scored_twice() -> None:
    toy = additive({f"l{i}": float(i % 7 + 1) for i in range(40)}, allowed=60)
    toy.run()
    assert len(toy.scored) == len(set(toy.scored))
    assert len(toy.measured) == 40


def test_a_budget_out_of_reach_keeps_the_choice_that_loses_least() -> None:
    toy = Toy(dict.fromkeys("abcd", 1.0), lambda keep: 10 - len(keep), 1)
    outcome = toy.run()
    assert (outcome.met, outcome.stopped) == (False, "no choice holds")
    assert len(outcome.keep_float) == 3
    assert [len(check.keep_float) for check in outcome.checks] == [0, 1, 2, 3, 4]


def test_a_network_without_layers_to_leave_float_is_only_looked_at() -> None:
    outcome = Toy({}, lambda _: 1, 0).run()
    assert (outcome.met, outcome.stopped) == (False, "no choice holds")
    assert outcome.keep_float == ()


def test_leaving_every_layer_float_is_no_answer() -> None:
    toy = Toy(dict.fromkeys("abc", 1.0), lambda keep: 3 - len(keep), 0)
    outcome = toy.run()
    assert frozenset("abc") in toy.scored
    assert (outcome.met, outcome.stopped) == (False, "no choice holds")
    assert len(outcome.keep_float) == 2


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 60), st.floats(0.1, 5), st.floats(0.1, 5))
def test_time_that_runs_out_ends_the_search_with_the_best_so_far(
    seconds: int, per_noise: float, per_score: float
) -> None:
    noise = {f"l{i}": float(i + 1) for i in range(20)}
    toy = additive(noise, 60, seconds=seconds, per_noise=per_noise, per_score=per_score)
    outcome = toy.run()
    # Nothing starts past the deadline; the look at full int8 always runs.
    assert toy.clock.now <= max(seconds, per_score) + max(per_noise, per_score)
    assert outcome.checks[0].keep_float == ()
    mixed = [check.score for check in outcome.checks if len(check.keep_float) < len(noise)]
    assert outcome.met == any(score.holds for score in mixed)
    assert outcome.met or outcome.score.loss == min(score.loss for score in mixed)
    if outcome.stopped == "search done":
        assert outcome.met


def test_layers_that_time_did_not_suffice_for_come_last() -> None:
    noise = {"a": 1.0, "b": 5.0, "c": 9.0, "d": 9.0}
    toy = additive(noise, 9, seconds=6, per_noise=1.6, per_score=0.1)
    costs = toy.run().costs
    assert [(c.layer, c.noise) for c in costs] == [
        ("b", 5.0), ("a", 1.0), ("c", None), ("d", None)
    ]  # fmt: skip


def test_a_continued_search_repeats_no_measurement_and_ends_the_same(tmp_path: Path) -> None:
    noise = {f"l{i}": float(i % 5 + 1) for i in range(20)}
    whole = additive(noise, 20).run()
    file = tmp_path / "state"
    done: list[object] = []
    for _ in range(50):
        toy = additive(noise, 20, seconds=9)
        outcome = toy.run(State(file, "key"))
        done += [*toy.measured, *toy.scored]
        if outcome.stopped == "search done":
            break
    assert len(done) == len(set(done))
    assert outcome.keep_float == whole.keep_float
    assert outcome.checks == whole.checks
    assert outcome.resumed > 0


def test_measurements_of_another_search_are_not_trusted(tmp_path: Path) -> None:
    file = tmp_path / "state"
    noise = {"a": 3.0, "b": 1.0}
    additive(noise, 2).run(State(file, "one"))
    state = State(file, "other")
    assert state.ignored > 0
    toy = additive(noise, 2)
    assert toy.run(state).resumed == 0
    assert sorted(toy.measured) == ["a", "b"]


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_damage_to_the_file_loses_measurements_but_never_changes_one(data: st.DataObject) -> None:
    import tempfile  # noqa: PLC0415 - hypothesis forbids the function-scoped fixture

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "state"
        state = State(file, "key")
        state.add_noise("a", 0.5)
        state.add_score(frozenset({"a", "b"}), Score(1.5, 100, holds=False))
        state.add_noise("b", 0.25)
        content = bytearray(file.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            del content[at:]
        else:
            content[at] = data.draw(st.integers(0, 255))
        file.write_bytes(content)
        read = State(file, "key")
        assert read.noise.items() <= {"a": 0.5, "b": 0.25}.items()
        assert read.scores in ({}, state.scores)
        read.add_noise("c", 0.125)
        assert State(file, "key").noise == {**read.noise, "c": 0.125}


def test_a_measurement_is_a_line_of_its_digest_and_json(tmp_path: Path) -> None:
    file = tmp_path / "state"
    State(file, "key").add_noise("a", 0.5)
    assert json.loads(file.read_text().partition(" ")[2]) == {"layer": "a", "noise": 0.5}


def test_a_deadline_is_reached_and_none_never_is() -> None:
    clock = Clock()
    deadline, half = Deadline(10, clock), Deadline(10, clock).halfway()
    clock.now = 5
    deadline.check()
    with pytest.raises(TimeUpError):
        half.check()
    clock.now = 10
    with pytest.raises(TimeUpError):
        deadline.check()
    Deadline(None, clock).check()
