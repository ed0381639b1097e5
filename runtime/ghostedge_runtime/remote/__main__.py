"""``python -m ghostedge_runtime.remote VERB [ARGUMENT…]``."""

from __future__ import annotations

import sys

from ghostedge_runtime.remote.server import main

sys.exit(main(sys.argv[1:]))
