"""``python -m ghostedge_runtime.machine.record > board.json``: this machine, to send to somebody.

See `recording` for what it holds.
"""

from __future__ import annotations

import sys

from ghostedge_runtime.machine.recording import record, to_json
from ghostedge_runtime.machine.system import LIVE


def main() -> None:
    """Record the machine this runs on, to standard output."""
    note = " ".join(sys.argv[1:]) or "recorded by ghostedge_runtime.machine.record"
    print(to_json(record(LIVE, note)))


if __name__ == "__main__":
    main()
