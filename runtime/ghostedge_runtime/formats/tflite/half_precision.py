"""Whether a processor, and a file, can be computed in half precision.

XNNPACK also runs in half precision on x86 processors that only convert to and from it; the figures
are then neither of the one precision nor of the other, and no faster. So the processor is asked for
the arithmetic itself. One whose instructions are not known here is left to XNNPACK to refuse.
"""

from __future__ import annotations

from pathlib import Path

from ghostedge_runtime.errors import InputError
from ghostedge_runtime.formats.tflite.file import FLOAT32, Graph, read_graph
from ghostedge_runtime.machine.cpu import ARM, X86, features
from ghostedge_runtime.machine.system import LIVE, System

_X86 = ("avx512_fp16", "AVX512-FP16")
_ARM = ("fp16", "half-precision vector arithmetic (FEAT_FP16, in Cortex-A55, A75, A76 and later)")
# By instruction set: our word of `machine.cpu.FEATURES`, and what the instructions are called.
_INSTRUCTIONS = {**dict.fromkeys(X86, _X86), **dict.fromkeys(ARM, _ARM)}


def check_processor(where: Path, system: System = LIVE) -> None:
    """Refuse a processor that does not compute in half precision.

    Raises:
        InputError: It lacks the instructions, which are named.
    """
    cpuinfo = system.text("/proc/cpuinfo") or ""
    feature, instructions = _INSTRUCTIONS.get(system.platform().machine, (None, ""))
    if feature is None or not ("flags" in cpuinfo or "Features" in cpuinfo):
        return
    present = features(system)
    if feature not in present:
        raise InputError(
            f"half precision needs {instructions}, which this processor does not have",
            where=where,
            remedy="leave out the precision mode 'fp16'; of instructions that matter here, "
            f"/proc/cpuinfo names {', '.join(present) or 'none'}",
        )


def check_graph(graph: Graph, where: Path) -> None:
    """Refuse a file that half precision would not change.

    Raises:
        InputError: None of its operators computes with floats.
    """
    if not is_changed(graph):
        raise InputError(
            f"half precision would change nothing: none of its {len(graph.operators)} operators "
            "computes with floats",
            where=where,
            remedy="leave out the precision mode 'fp16' for int8 files, or give the float .tflite",
        )


def changes(data: bytes, where: Path) -> bool:
    """Whether half precision makes a difference to a file.

    Raises:
        ModelFileError: The file is damaged.
    """
    return is_changed(read_graph(data, where))


def is_changed(graph: Graph) -> bool:
    """Whether any operator computes with floats, so that half precision makes a difference."""
    return any(graph.computes_in(op, FLOAT32) for op in graph.operators)
