"""``python -m ghostedge_runtime.bench.device VERB [ARGUMENT…]``."""

from __future__ import annotations

import sys

from ghostedge_runtime.bench.device.verbs import main

sys.exit(main(sys.argv[1:]))
