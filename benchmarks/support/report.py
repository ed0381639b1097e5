"""Where the benchmarks keep things and how they report: a table for people, one JSON line last."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ghostedge_runtime.machine.facts import host_facts

REPO = Path(__file__).resolve().parents[2]
CACHE = REPO / ".cache" / "bench"
SHARED = Path(os.environ.get("GHOSTEDGE_SHARED", REPO.parent / "shared"))
PHOTOS = SHARED / "data" / "photos"


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code; the load average tells of a busy machine."""
    return {
        **asdict(host_facts()),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
    }


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_between_markers(path: Path, markers: tuple[str, str], text: str) -> None:
    """Replace what stands between the markers of a Markdown file.

    Raises:
        SystemExit: The file has not both markers.
    """
    begin, end = markers
    before, opened, rest = path.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (opened and closed):
        raise SystemExit(f"{path} has no {begin} … {end} to put the tables between")
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def finish(document: Mapping[str, Any]) -> None:
    """Print the result as the last line of the output."""
    print(json.dumps(document), flush=True)
