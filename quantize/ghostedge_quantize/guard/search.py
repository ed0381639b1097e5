"""The search for the fewest and cheapest layers that have to stay float for a budget to hold.

Full int8 is scored first; where it holds, the search ends. Otherwise every layer's damage is
measured, layers are ranked by damage for their price, the shortest prefix of that ranking under
which the budget holds is found by doubling and bisection, and members that turn out idle are
dropped. How noise and losses are measured is passed in (``judge``).

What a search has measured is kept in a file (``State``), so that an interrupted one goes on from
there: one line a measurement, each under a digest that covers the search's key too. A line that was
cut short, edited or written by another search does not fit its digest and is left out; what is left
out is only measured again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ghostedge_quantize.guard.score import Score

Step = Literal["int8", "ranking", "bisection", "dropping"]
Stopped = Literal["int8 holds", "search done", "time is up", "no choice holds"]


class State:
    """Measurements by layer, and scores by the set of layers left float.

    Args:
        path: The file to read and to append to; None keeps them in memory.
        key: Of all that the measurements depend on: model, settings, images, versions.
    """

    def __init__(self, path: Path | None = None, key: str = "") -> None:
        self.noise: dict[str, float] = {}
        self.scores: dict[frozenset[str], Score] = {}
        self.ignored = 0
        """Lines of the file that are not this search's, or damaged."""
        self._path, self._key = path, key
        if path is not None and path.exists():
            self._read(path)

    def add_noise(self, layer: str, noise: float) -> None:
        """Keep what a layer's quantization alone does to the output."""
        self.noise[layer] = noise
        self._write({"layer": layer, "noise": noise})

    def add_score(self, keep: frozenset[str], score: Score) -> None:
        """Keep what a choice of float layers loses."""
        self.scores[keep] = score
        self._write({"float": sorted(keep), **asdict(score)})

    def _read(self, path: Path) -> None:
        """Take the lines that fit and leave a file of nothing else to append to."""
        content = path.read_bytes().decode("utf-8", errors="replace")
        lines, good = content.splitlines(), []
        for line in lines:
            digest, _, text = line.partition(" ")
            if digest == self._digest(text):
                self._take(json.loads(text))
                good.append(f"{line}\n")
        self.ignored = len(lines) - len(good)
        if content != "".join(good):  # also where only the last line's end is missing
            path.write_text("".join(good), encoding="utf-8")

    def _take(self, record: Mapping[str, Any]) -> None:
        if "layer" in record:
            self.noise[record["layer"]] = float(record["noise"])
        else:
            score = Score(record["loss"], record["images"], record["holds"])
            self.scores[frozenset(record["float"])] = score

    def _write(self, record: Mapping[str, Any]) -> None:
        if self._path is None:
            return
        text = json.dumps(record)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{self._digest(text)} {text}\n")

    def _digest(self, text: str) -> str:
        return hashlib.sha256(f"{self._key}\n{text}".encode()).hexdigest()[:32]


def key_of(parts: Iterable[bytes]) -> str:
    """A key over everything that the measurements depend on; the order counts."""
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


class TimeUpError(Exception):
    """The search's time is over; caught inside it."""


class Deadline:
    """A point in time; never reached when ``seconds`` is None.

    Args:
        seconds: From now.
        clock: Seconds from anywhere.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = None if seconds is None else clock() + seconds

    def check(self) -> None:
        """Raise ``TimeUpError`` past the deadline."""
        if self._end is not None and self._clock() >= self._end:
            raise TimeUpError

    def halfway(self) -> Deadline:
        """A deadline at half of the time that is left."""
        if self._end is None:
            return self
        return Deadline(max(0.0, self._end - self._clock()) / 2, self._clock)


@dataclass(frozen=True)
class LayerCost:
    """A layer's noise in int8, and the price of leaving it float.

    Attributes:
        layer: Its name.
        noise: Power of the error of the logits with this layer alone in int8, over the power of
            the logits; None where time ran out before it was measured.
        price: Its share of what leaving every layer float would cost; see ``prices``.
    """

    layer: str
    noise: float | None
    price: float

    @property
    def worth(self) -> float:
        """Noise taken away for the price; 0 where it is not known."""
        return 0.0 if self.noise is None else self.noise / self.price


@dataclass(frozen=True)
class Check:
    """One choice of float layers held against the budget.

    Attributes:
        step: The part of the search that asked for it.
        keep_float: The layers, in the ranking's order.
        score: What it loses.
    """

    step: Step
    keep_float: tuple[str, ...]
    score: Score


@dataclass(frozen=True)
class Outcome:
    """How a search ended.

    Attributes:
        keep_float: The layers to leave float, the best choice found, in graph order; never all.
        score: What that choice loses.
        costs: Every layer with its measured cost, most worth leaving float first; empty where
            full int8 holds or time ran out before the ranking.
        checks: Every choice that was scored, in the search's order.
        resumed: How many measurements were taken over from an earlier search.
        stopped: Why the search ended.
    """

    keep_float: tuple[str, ...]
    score: Score
    costs: tuple[LayerCost, ...]
    checks: tuple[Check, ...]
    resumed: int
    stopped: Stopped

    @property
    def met(self) -> bool:
        """Whether the budget holds."""
        return self.score.holds


class Listener(Protocol):
    """What a search calls as it goes."""

    def measuring(self, layers: Sequence[str]) -> Iterable[str]:
        """Pass the layers through while each is measured."""

    def ranked(self, costs: Sequence[LayerCost]) -> None:
        """Take the finished ranking."""

    def checked(self, check: Check) -> None:
        """Take a choice that was scored."""


@dataclass(frozen=True)
class Candidates:
    """The layers that may be left float, and what is asked about them.

    Attributes:
        layers: All of them, in graph order.
        noise: Measures what a layer's quantization alone does to the output.
        price: Of leaving a layer float, above 0, by name.
        score: Scores a choice of float layers; raises ``TimeUpError`` when the deadline that it
            is given passes meanwhile.
    """

    layers: tuple[str, ...]
    noise: Callable[[str], float]
    price: Mapping[str, float]
    score: Callable[[frozenset[str], Deadline], Score]


def guard(
    candidates: Candidates, *, deadline: Deadline, state: State, listener: Listener
) -> Outcome:
    """Find the layers to leave float.

    Args:
        candidates: Among which to choose.
        deadline: When to end with the best choice so far. Full int8 is scored whatever it says.
        state: Measurements made before, and where new ones go.
        listener: Is called at every step.
    """
    search = _Search(candidates, deadline, state, listener)
    return search.outcome(search.run())


class _Search:
    def __init__(
        self, candidates: Candidates, deadline: Deadline, state: State, listener: Listener
    ) -> None:
        self._candidates, self._layers = candidates, candidates.layers
        self._deadline, self._state, self._listener = deadline, state, listener
        self._costs: tuple[LayerCost, ...] = ()
        self._checks: list[Check] = []
        self._seen: dict[frozenset[str], Score] = {}
        self._resumed = 0

    def run(self) -> Stopped:
        if self._holds("int8", (), Deadline(None)):
            return "int8 holds"
        try:
            self._costs = self._rank()
            self._listener.ranked(self._costs)
            shortest = self._shortest_prefix([cost.layer for cost in self._costs])
            if shortest is None or len(self._drop_idle(shortest)) == len(self._layers):
                return "no choice holds"
        except TimeUpError:
            return "time is up"
        return "search done"

    def outcome(self, stopped: Stopped) -> Outcome:
        # All layers float is no int8 network.
        every = len(self._layers)
        mixed = [
            check for check in self._checks if not check.keep_float or len(check.keep_float) < every
        ]
        best = min(mixed, key=self._badness)
        return Outcome(
            keep_float=tuple(name for name in self._layers if name in best.keep_float),
            score=best.score,
            costs=self._costs,
            checks=tuple(self._checks),
            resumed=self._resumed,
            stopped=stopped,
        )

    def _badness(self, check: Check) -> tuple[bool, float, float]:
        """Sorts choices that hold first, by price, then the others by what they lose."""
        price = sum(self._candidates.price[name] for name in check.keep_float)
        return not check.score.holds, 0.0 if check.score.holds else check.score.loss, price

    def _rank(self) -> tuple[LayerCost, ...]:
        """Measure the layers, in at most half of the time, and sort them by worth."""
        deadline = self._deadline.halfway()
        noise = self._state.noise
        self._resumed += len(noise.keys() & set(self._layers))
        missing = [layer for layer in self._layers if layer not in noise]
        try:
            for layer in self._listener.measuring(missing):
                deadline.check()
                self._state.add_noise(layer, self._candidates.noise(layer))
        except TimeUpError:
            self._deadline.check()
        costs = [
            LayerCost(name, noise.get(name), self._candidates.price[name]) for name in self._layers
        ]
        return tuple(sorted(costs, key=lambda cost: -cost.worth))

    def _shortest_prefix(self, ranked: Sequence[str]) -> tuple[str, ...] | None:
        """Double until a prefix holds, then halve the gap; None when not even all layers do."""
        every = len(ranked)
        doubled = [2**power for power in range(every.bit_length()) if 2**power < every - 1]
        fails = 0
        for holds in (*doubled, every - 1, every):
            if self._holds("ranking", ranked[:holds]):
                break
            fails = holds
        else:
            return None
        while holds - fails > 1:
            middle = (fails + holds) // 2
            if self._holds("bisection", ranked[:middle]):
                holds = middle
            else:
                fails = middle
        return tuple(ranked[:holds])

    def _drop_idle(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        """Drop runs of layers, then single ones, the least worth first, while the budget holds."""
        size = len(layers) // 2
        while size:
            for start in range(len(layers) - size, -1, -size):
                trial = layers[:start] + layers[start + size :]
                if self._holds("dropping", trial):
                    layers = trial
            size //= 2
        return layers

    def _holds(
        self, step: Step, keep_float: Sequence[str], deadline: Deadline | None = None
    ) -> bool:
        """Score a choice, unless it was before."""
        keep = frozenset(keep_float)
        if keep in self._seen:
            return self._seen[keep].holds
        score = self._state.scores.get(keep)
        if score is None:
            bound = deadline or self._deadline
            bound.check()
            score = self._candidates.score(keep, bound)
            self._state.add_score(keep, score)
        else:
            self._resumed += 1
        self._seen[keep] = score
        check = Check(step, tuple(keep_float), score)
        self._checks.append(check)
        self._listener.checked(check)
        return score.holds
