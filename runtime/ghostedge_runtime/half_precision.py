"""Whether a processor, and a file, can be computed in half precision.

XNNPACK also runs in half precision on x86 processors that only convert to and from it; the figures
are then neither of the one precision nor of the other, and no faster. So the arithmetic itself is
asked for. What a system without ``/proc/cpuinfo`` has is left to XNNPACK to find out.
"""

from __future__ import annotations

import platform
from pathlib import Path

from ghostedge_runtime.errors import InputError
from ghostedge_runtime.tflite_graph import FLOAT32, Graph

_CPUINFO = Path("/proc/cpuinfo")
# By instruction set: the flag that Linux shows, and what its instructions are called.
_X86 = ("avx512_fp16", "AVX512-FP16")
_ARM = ("asimdhp", "half-precision vector arithmetic (FEAT_FP16, optional from Armv8.2 on)")
_INSTRUCTIONS = {
    "x86_64": _X86,
    "AMD64": _X86,
    "aarch64": _ARM,
    "arm64": _ARM,
    "armv7l": _ARM,
    "armv8l": _ARM,
}


def check_processor(where: Path) -> None:
    """Refuse a processor that does not compute in half precision.

    Raises:
        InputError: It lacks the instructions, which are named.
    """
    flag, instructions = _INSTRUCTIONS.get(platform.machine(), ("", ""))
    if flag and not _has(flag):
        raise InputError(
            f"half precision needs {instructions}, which this processor does not have (no {flag!r} "
            f"in {_CPUINFO})",
            where=where,
            remedy="leave out precision_mode='fp16': on this machine float32 is what float models "
            "run in, int8 what is faster",
        )


def check_graph(graph: Graph, where: Path) -> None:
    """Refuse a file that half precision would not change.

    Raises:
        InputError: None of its operators computes with floats.
    """
    if not any(graph.computes_in(op, FLOAT32) for op in graph.operators):
        raise InputError(
            f"half precision would change nothing: none of its {len(graph.operators)} operators "
            "computes with floats",
            where=where,
            remedy="leave out precision_mode='fp16' for int8 files, or give the float .tflite",
        )


def _has(flag: str) -> bool:
    try:
        text = _CPUINFO.read_text(errors="replace")
    except OSError:
        return True
    return flag in text.split()
