"""The processor's name and the instructions of it that matter to inference.

x86 names itself in /proc/cpuinfo. ARM gives an implementer and a part number there (the MIDR_EL1
register's fields), which the table below names; numbers from the Linux kernel's
arch/arm64/include/asm/cputype.h and util-linux's lscpu-arm.c.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ghostedge_runtime.machine.system import System

_CPUINFO = "/proc/cpuinfo"
# /proc/cpuinfo names a processor that is not in the table under one of these, by architecture.
_NAME_KEYS = ("model name", "Hardware", "Model", "cpu model", "uarch")

X86 = frozenset({"x86_64", "AMD64", "amd64", "i386", "i686"})
ARM = frozenset({"aarch64", "arm64", "ARM64", "armv6l", "armv7l", "armv8l"})

_ARM_LTD, _BROADCOM, _QUALCOMM, _APPLE, _AMPERE = 0x41, 0x42, 0x51, 0x61, 0xC0
_PARTS: dict[tuple[int, int], str] = {
    (_ARM_LTD, 0xB76): "ARM1176",
    (_ARM_LTD, 0xC05): "Cortex-A5",
    (_ARM_LTD, 0xC07): "Cortex-A7",
    (_ARM_LTD, 0xC08): "Cortex-A8",
    (_ARM_LTD, 0xC09): "Cortex-A9",
    (_ARM_LTD, 0xC0D): "Cortex-A17",
    (_ARM_LTD, 0xC0E): "Cortex-A17",
    (_ARM_LTD, 0xC0F): "Cortex-A15",
    (_ARM_LTD, 0xD01): "Cortex-A32",
    (_ARM_LTD, 0xD03): "Cortex-A53",
    (_ARM_LTD, 0xD04): "Cortex-A35",
    (_ARM_LTD, 0xD05): "Cortex-A55",
    (_ARM_LTD, 0xD06): "Cortex-A65",
    (_ARM_LTD, 0xD07): "Cortex-A57",
    (_ARM_LTD, 0xD08): "Cortex-A72",
    (_ARM_LTD, 0xD09): "Cortex-A73",
    (_ARM_LTD, 0xD0A): "Cortex-A75",
    (_ARM_LTD, 0xD0B): "Cortex-A76",
    (_ARM_LTD, 0xD0C): "Neoverse-N1",
    (_ARM_LTD, 0xD0D): "Cortex-A77",
    (_ARM_LTD, 0xD0E): "Cortex-A76AE",
    (_ARM_LTD, 0xD40): "Neoverse-V1",
    (_ARM_LTD, 0xD41): "Cortex-A78",
    (_ARM_LTD, 0xD42): "Cortex-A78AE",
    (_ARM_LTD, 0xD44): "Cortex-X1",
    (_ARM_LTD, 0xD46): "Cortex-A510",
    (_ARM_LTD, 0xD47): "Cortex-A710",
    (_ARM_LTD, 0xD48): "Cortex-X2",
    (_ARM_LTD, 0xD49): "Neoverse-N2",
    (_ARM_LTD, 0xD4A): "Neoverse-E1",
    (_ARM_LTD, 0xD4B): "Cortex-A78C",
    (_ARM_LTD, 0xD4C): "Cortex-X1C",
    (_ARM_LTD, 0xD4D): "Cortex-A715",
    (_ARM_LTD, 0xD4E): "Cortex-X3",
    (_ARM_LTD, 0xD4F): "Neoverse-V2",
    (_ARM_LTD, 0xD80): "Cortex-A520",
    (_ARM_LTD, 0xD81): "Cortex-A720",
    (_ARM_LTD, 0xD82): "Cortex-X4",
    (_ARM_LTD, 0xD84): "Neoverse-V3",
    (_ARM_LTD, 0xD85): "Cortex-X925",
    (_ARM_LTD, 0xD87): "Cortex-A725",
    (_ARM_LTD, 0xD8E): "Neoverse-N3",
    (_BROADCOM, 0x516): "ThunderX2",
    (_QUALCOMM, 0x001): "Oryon",
    (_QUALCOMM, 0x800): "Kryo 2xx Gold",
    (_QUALCOMM, 0x801): "Kryo 2xx Silver",
    (_QUALCOMM, 0x802): "Kryo 3xx Gold",
    (_QUALCOMM, 0x803): "Kryo 3xx Silver",
    (_QUALCOMM, 0x804): "Kryo 4xx Gold",
    (_QUALCOMM, 0x805): "Kryo 4xx Silver",
    (_APPLE, 0x022): "Apple M1 Icestorm",
    (_APPLE, 0x023): "Apple M1 Firestorm",
    (_APPLE, 0x024): "Apple M1 Pro Icestorm",
    (_APPLE, 0x025): "Apple M1 Pro Firestorm",
    (_APPLE, 0x028): "Apple M1 Max Icestorm",
    (_APPLE, 0x029): "Apple M1 Max Firestorm",
    (_APPLE, 0x032): "Apple M2 Blizzard",
    (_APPLE, 0x033): "Apple M2 Avalanche",
    (_AMPERE, 0xAC3): "Ampere-1",
    (_AMPERE, 0xAC4): "Ampere-1a",
}

# The kernel's word → ours. ARM's are documented in the kernel's Documentation/arch/arm64/
# elf_hwcaps.rst; asimddp is FEAT_DotProd, asimdhp FEAT_FP16 for vectors (fphp is for scalars).
FEATURES: dict[str, str] = {
    "asimddp": "dotprod",
    "asimdhp": "fp16",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "asimdbf16": "bf16",  # as a 32-bit process is told
    "sve": "sve",
    "sve2": "sve2",
    "sme": "sme",
    "avx2": "avx2",
    "fma": "fma",
    "f16c": "f16c",
    "avx512f": "avx512f",
    "avx_vnni": "avx_vnni",
    "avx512_vnni": "avx512_vnni",
    "avx512_fp16": "avx512_fp16",
    "amx_int8": "amx_int8",
}
X86_INT8_DOT_PRODUCTS = frozenset({"avx_vnni", "avx512_vnni"})


def cpu_name(system: System) -> str | None:
    """The processor's model; kinds of cores by how many, such as ``4× Cortex-A55 + 4× …``."""
    cores = _blocks(system.text(_CPUINFO) or "")
    parts = Counter(name for core in cores if (name := _part(core)) is not None)
    if len(parts) == 1:
        return next(iter(parts))
    if parts:
        return " + ".join(f"{count}× {name}" for name, count in parts.items())
    fields = (core[key] for key in _NAME_KEYS for core in cores if core.get(key))
    return next(fields, None) or system.platform().processor or None


def features(system: System) -> tuple[str, ...]:
    """Our words of the instructions that the system's first CPU has, in `FEATURES`' order."""
    for core in _blocks(system.text(_CPUINFO) or ""):
        flags = (core.get("flags") or core.get("Features") or "").split()
        if flags:
            return ours(flags)
    return ()


def ours(flags: Iterable[str]) -> tuple[str, ...]:
    """The kernel's words that `FEATURES` knows, as ours, each once."""
    present = frozenset(flags)
    return tuple(dict.fromkeys(word for flag, word in FEATURES.items() if flag in present))


def cpu_flags(system: System) -> frozenset[str]:
    """All of the kernel's words for the first CPU, x86."""
    for core in _blocks(system.text(_CPUINFO) or ""):
        if core.get("flags"):
            return frozenset(core["flags"].split())
    return frozenset()


def _blocks(cpuinfo: str) -> list[dict[str, str]]:
    """The file's paragraphs: one for each CPU, some kernels add one for the board."""
    blocks = []
    for paragraph in cpuinfo.split("\n\n"):
        fields = [line.partition(":") for line in paragraph.splitlines() if ":" in line]
        blocks.append({key.strip(): value.strip() for key, _, value in fields})
    return blocks


def _part(core: dict[str, str]) -> str | None:
    try:
        implementer, part = int(core["CPU implementer"], 16), int(core["CPU part"], 16)
    except (KeyError, ValueError):
        return None
    return _PARTS.get((implementer, part), f"ARM {implementer:#04x}/{part:#05x}")
