"""What a search has measured so far, kept in a file so that an interrupted one goes on from there.

One line a measurement, each under a digest that covers the search's key too. A line that was cut
short, edited or written by another search does not fit its digest and is left out; what is left
out is only measured again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ghostedge_quantize.guard.score import Score


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

    def forget(self) -> None:
        """Remove the file: the search is over and its outcome kept elsewhere."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

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
