"""A machine in one line, for the head of a table and for reports."""

from __future__ import annotations

from collections.abc import Mapping

from ghostedge_runtime.bench.record import MachineFacts
from ghostedge_runtime.machine.cpu import ARM


def describe(facts: MachineFacts) -> str:
    """Say what matters to a figure, leaving out what the system did not tell.

    Such as ``Raspberry Pi 5 Model B Rev 1.0 (Broadcom BCM2712, 4× Cortex-A76, dotprod fp16),
    64-bit, governor ondemand``.
    """
    name, inside = facts.board, [facts.soc, cpu_words(facts)]
    if name is None:
        name, inside = cpu_words(facts), []
    inside.append(" ".join(facts.features) or None)
    told = ", ".join(part for part in inside if part)
    parts = (
        f"{name} ({told})" if told else name,
        f"{facts.bits}-bit" if facts.bits else None,
        governor_words(facts.governors),
        facts.virtual and f"in {facts.virtual}",
        _share(facts),
    )
    return ", ".join(part for part in parts if part)


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
        return f"governor {next(iter(governors.values()))}"
    return ", ".join(f"{policy} {name}" for policy, name in governors.items()) or None


def _share(facts: MachineFacts) -> str | None:
    """How much of the machine the process may use, where it is not all."""
    if facts.cpu_quota is not None:
        return f"limited to {facts.cpu_quota:g} CPUs"
    if facts.cores_total is not None and facts.cores < facts.cores_total:
        return f"limited to {facts.cores} of its CPUs"
    return None
