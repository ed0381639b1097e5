"""A machine in words: in one line for the head of a table, in rows for reports and the doctor."""

from __future__ import annotations

from collections.abc import Mapping

from ghostedge_runtime.machine.cpu import ARM
from ghostedge_runtime.record import MachineFacts


def describe(facts: MachineFacts) -> str:
    """Say what matters to a figure, leaving out what the system did not tell.

    Such as ``Raspberry Pi 5 Model B Rev 1.0 (Broadcom BCM2712, 4× Cortex-A76, dotprod fp16),
    64-bit, governor ondemand``.
    """
    name, inside = facts.board, [facts.soc, cpu_words(facts)]
    if name is None:
        name, inside = cpu_words(facts), []
    inside.append(" ".join(facts.features or ()))
    details = ", ".join(part for part in inside if part)
    governor = governor_words(facts.governors)
    parts = (
        f"{name} ({details})" if details else name,
        f"{facts.bits}-bit" if facts.bits else None,
        governor and f"governor {governor}",
        facts.virtual and f"in {facts.virtual}",
        _share(facts),
    )
    return ", ".join(part for part in parts if part)


def fact_rows(facts: MachineFacts) -> dict[str, str]:
    """Every fact the system told, as a heading and its words, in the order to show them."""
    clocks = sorted(set(facts.max_mhz.values()), reverse=True)
    instructions = None
    if facts.features is not None:
        instructions = " ".join(facts.features) or "none of those that matter to inference"
    rows = {
        "board": facts.board,
        "system on chip": facts.soc,
        "processor": f"{cpu_words(facts)} ({facts.machine})",
        "instructions": instructions,
        "highest clock": " and ".join(f"{mhz:.0f} MHz" for mhz in clocks),
        "governor": governor_words(facts.governors),
        "memory": f"{facts.memory_mb:,} MB" if facts.memory_mb else None,
        "share": _share(facts),
        "inside": facts.virtual,
        "system": f"{facts.os}, {facts.kernel}",
        "firmware": facts.firmware,
        "Python": f"{facts.python}, {facts.bits}-bit" if facts.bits else facts.python,
        "to mend": "; ".join(facts.notes),
    }
    return {heading: words for heading, words in rows.items() if words}


def cpu_words(facts: MachineFacts) -> str:
    """The processor and how many CPUs it has: ``4× Cortex-A76``, ``Intel(R) …, 12 CPUs``."""
    count = facts.cores_total or facts.cores
    name = facts.cpu or facts.machine or "a processor that has no name"
    if "× " in name:  # kinds of cores, counted already
        return name
    many = f"{count} CPU{'s' if count > 1 else ''}"
    return f"{count}× {name}" if facts.machine in ARM else f"{name}, {many}"


def governor_words(governors: Mapping[str, str]) -> str | None:
    """The governor, or each policy's where they differ; None where there is none."""
    if len(set(governors.values())) == 1:
        return next(iter(governors.values()))
    return ", ".join(f"{policy} {name}" for policy, name in governors.items()) or None


def _share(facts: MachineFacts) -> str | None:
    """How much of the machine the process may use, where it is not all."""
    if facts.cpu_quota is not None:
        return f"limited to {facts.cpu_quota:g} CPUs"
    if facts.cores_total is not None and facts.cores < facts.cores_total:
        return f"limited to {facts.cores} of its CPUs"
    return None
