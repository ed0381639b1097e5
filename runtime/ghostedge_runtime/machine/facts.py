"""What does not change while a run lasts."""

from __future__ import annotations

import re

from ghostedge_runtime.machine.board import board, soc, virtual
from ghostedge_runtime.machine.cgroup import cpu_quota
from ghostedge_runtime.machine.cpu import cpu_name, features
from ghostedge_runtime.machine.firmware import version as firmware_version
from ghostedge_runtime.machine.firmware import why_silent
from ghostedge_runtime.machine.parse import thousandth
from ghostedge_runtime.machine.system import LIVE, Platform, System
from ghostedge_runtime.record import MachineFacts

_POLICIES = "/sys/devices/system/cpu/cpufreq/policy*"
_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
_OS_NAME = re.compile(r"""^PRETTY_NAME=(["']?)(.+)\1\s*$""", re.MULTILINE)


def machine_facts(system: System = LIVE) -> MachineFacts:
    """Look at a machine; what it does not tell is None, nothing raises."""
    words, name = system.platform(), board(system)
    silent = why_silent(system) if (name or "").startswith("Raspberry Pi") else None
    return MachineFacts(
        machine=words.machine,
        bits=words.bits,
        cores=cores(words),
        os=os_name(system),
        kernel=f"{words.system} {words.release}",
        python=words.python,
        cores_total=words.cpu_count,
        board=name,
        soc=soc(system),
        cpu=cpu_name(system),
        features=features(system),
        memory_mb=memory_mb(words),
        governors=governors(system),
        max_mhz=max_mhz(system),
        virtual=virtual(system),
        cpu_quota=cpu_quota(system),
        firmware=firmware_version(system),
        notes=() if silent is None else (silent,),
    )


def cores(words: Platform) -> int:
    """CPUs this process may use."""
    return len(words.cpus) if words.cpus else words.cpu_count or 1


def memory_mb(words: Platform) -> int | None:
    """Physical memory, in MB of 10⁶ bytes."""
    return None if words.memory_bytes is None else words.memory_bytes // 10**6


def os_name(system: System) -> str:
    """As the distribution calls itself."""
    named = (_OS_NAME.search(system.text(path) or "") for path in _OS_RELEASE)
    return next((found[2] for found in named if found), system.platform().name)


def governors(system: System) -> dict[str, str]:
    """Frequency governor by CPU policy, in the policies' order."""
    found = {name: system.text(f"{path}/scaling_governor") for name, path in policies(system)}
    return {name: governor for name, governor in found.items() if governor}


def max_mhz(system: System) -> dict[str, float]:
    """The highest clock the hardware has, boost included, by CPU policy."""
    return clocks(system, "cpuinfo_max_freq")


def clocks(system: System, file: str) -> dict[str, float]:
    """A clock of every CPU policy that has it, in MHz; the kernel's files are in kHz."""
    read = {name: thousandth(system.text(f"{path}/{file}")) for name, path in policies(system)}
    return {name: mhz for name, mhz in read.items() if mhz is not None}


def policies(system: System) -> list[tuple[str, str]]:
    """Name and folder of every CPU frequency policy, by number."""
    found = [(path.rpartition("/")[2], path) for path in system.glob(_POLICIES)]
    return sorted(found, key=lambda each: (len(each[0]), each[0]))
