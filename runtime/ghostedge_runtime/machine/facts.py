"""What does not change while a run lasts."""

from __future__ import annotations

import re

from ghostedge_runtime.bench.record import MachineFacts
from ghostedge_runtime.machine.board import board, soc, virtual
from ghostedge_runtime.machine.cgroup import cpu_quota
from ghostedge_runtime.machine.cpu import cpu_name, features
from ghostedge_runtime.machine.firmware import version as firmware_version
from ghostedge_runtime.machine.system import LIVE, Platform, System

_POLICIES = "/sys/devices/system/cpu/cpufreq/policy*"
_OS_NAME = re.compile(r'^PRETTY_NAME=(["\']?)(.*)\1\s*$', re.MULTILINE)


def machine_facts(system: System = LIVE) -> MachineFacts:
    """Look at a machine; what it does not tell is None, nothing raises."""
    words = system.platform()
    return MachineFacts(
        machine=words.machine,
        cores=cores(words),
        os=os_name(system),
        kernel=f"{words.system} {words.release}",
        python=words.python,
        cores_total=words.cpu_count,
        board=board(system),
        soc=soc(system),
        cpu=cpu_name(system),
        features=features(system),
        memory_mb=memory_mb(words),
        governors=governors(system),
        max_mhz=max_mhz(system),
        virtual=virtual(system),
        cpu_quota=cpu_quota(system),
        firmware=firmware_version(system),
    )


def cores(words: Platform) -> int:
    """CPUs this process may use."""
    return len(words.cpus) if words.cpus else words.cpu_count or 1


def memory_mb(words: Platform) -> int | None:
    """Physical memory, in MB of 10⁶ bytes."""
    return None if words.memory_bytes is None else words.memory_bytes // 10**6


def os_name(system: System) -> str:
    """As the distribution calls itself."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        named = _OS_NAME.search(system.text(path) or "")
        if named and named[2]:
            return named[2]
    return system.platform().name


def governors(system: System) -> dict[str, str]:
    """Frequency governor by CPU policy, in the policies' order."""
    found = {name: system.text(f"{path}/scaling_governor") for name, path in policies(system)}
    return {name: governor for name, governor in found.items() if governor}


def max_mhz(system: System) -> dict[str, float]:
    """The highest clock the hardware has, by CPU policy; the files are in kHz."""
    found = {name: kilo(system.text(f"{path}/cpuinfo_max_freq")) for name, path in policies(system)}
    return {name: mhz for name, mhz in found.items() if mhz is not None}


def policies(system: System) -> list[tuple[str, str]]:
    """Name and folder of every CPU frequency policy, by number."""
    found = [(path.rpartition("/")[2], path) for path in system.glob(_POLICIES)]
    return sorted(found, key=lambda each: (len(each[0]), each[0]))


def kilo(text: str | None) -> float | None:
    """A file's whole number over a thousand: kHz as MHz, thousandths of a degree as degrees."""
    try:
        return int(text or "") / 1000
    except ValueError:
        return None
