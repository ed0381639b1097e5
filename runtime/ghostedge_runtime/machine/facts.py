"""What does not change while a run lasts: the machine, its system, what lies between us and it.

`machine_facts` is all of it for a measurement's record, `host_facts` the short form that goes
into the results of the Python API. Boards name themselves in the device tree (``model``,
``compatible``). Virtual machines and containers are told by the files that systemd-detect-virt
looks at, as far as they can be read without privileges.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass

from ghostedge_runtime.machine import cpu
from ghostedge_runtime.machine.cgroup import cpu_quota
from ghostedge_runtime.machine.cpu import X86, cpu_flags, cpu_name, features
from ghostedge_runtime.machine.firmware import version as firmware_version
from ghostedge_runtime.machine.firmware import why_silent
from ghostedge_runtime.machine.system import LIVE, Platform, System, thousandth, whole
from ghostedge_runtime.record import MachineFacts

_MODEL = "/proc/device-tree/model"
_COMPATIBLE = "/proc/device-tree/compatible"
_DMI = "/sys/class/dmi/id"
_POLICIES = "/sys/devices/system/cpu/cpufreq/policy*"
_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
_OS_NAME = re.compile(r"""^PRETTY_NAME=(["']?)(.+)\1\s*$""", re.MULTILINE)
# The last words of a device tree's `compatible` name the chip.
SOCS: dict[str, str] = {
    "brcm,bcm2835": "Broadcom BCM2835",
    "brcm,bcm2836": "Broadcom BCM2836",
    "brcm,bcm2837": "Broadcom BCM2837",
    "brcm,bcm2711": "Broadcom BCM2711",
    "brcm,bcm2712": "Broadcom BCM2712",
    "rockchip,rk3328": "Rockchip RK3328",
    "rockchip,rk3399": "Rockchip RK3399",
    "rockchip,rk3566": "Rockchip RK3566",
    "rockchip,rk3568": "Rockchip RK3568",
    "rockchip,rk3576": "Rockchip RK3576",
    "rockchip,rk3588": "Rockchip RK3588",
    "rockchip,rk3588s": "Rockchip RK3588S",
    "fsl,imx8mm": "NXP i.MX 8M Mini",
    "fsl,imx8mn": "NXP i.MX 8M Nano",
    "fsl,imx8mp": "NXP i.MX 8M Plus",
    "fsl,imx8mq": "NXP i.MX 8M Quad",
    "fsl,imx93": "NXP i.MX 93",
    "nvidia,tegra210": "NVIDIA Tegra X1",
    "nvidia,tegra194": "NVIDIA Xavier",
    "nvidia,tegra234": "NVIDIA Orin",
    "amlogic,g12b": "Amlogic G12B",
    "amlogic,sm1": "Amlogic SM1",
    "allwinner,sun50i-h6": "Allwinner H6",
    "allwinner,sun50i-h616": "Allwinner H616",
    "allwinner,sun50i-h618": "Allwinner H618",
    "allwinner,sun55i-a527": "Allwinner A527",
    "qcom,sdm845": "Qualcomm SDM845",
    "qcom,sm8250": "Qualcomm SM8250",
    "qcom,qcs6490": "Qualcomm QCS6490",
    "ti,am625": "TI AM625",
    "ti,j721e": "TI TDA4VM",
    "mediatek,mt8395": "MediaTek MT8395",
    "starfive,jh7110": "StarFive JH7110",
}
# What /proc/1/cgroup or /proc/self/cgroup holds in a container → its kind.
_CGROUP_WORDS = {
    "docker": "docker",
    "kubepods": "kubernetes",
    "libpod": "podman",
    "lxc": "lxc",
    "containerd": "containerd",
}
# DMI vendor or product → kind of virtual machine, systemd-detect-virt's words.
_DMI_WORDS = {
    "KVM": "kvm",
    "Amazon EC2": "amazon",
    "Google Compute Engine": "google",
    "QEMU": "qemu",
    "VMware": "vmware",
    "VMW": "vmware",
    "innotek GmbH": "virtualbox",
    "VirtualBox": "virtualbox",
    "Virtual Machine": "hyper-v",
    "Xen": "xen",
    "BHYVE": "bhyve",
    "Parallels": "parallels",
    "Apple Virtualization": "apple",
    "OpenStack": "kvm",
}


def board(system: System) -> str | None:
    """The device tree's name of the board."""
    return system.text(_MODEL)


def soc(system: System) -> str | None:
    """The chip by `SOCS`, or the device tree's own word for one that is not in it."""
    names = [name for name in (system.text(_COMPATIBLE) or "").split("\0") if name]
    chip = next((SOCS[name] for name in reversed(names) if name in SOCS), None)
    return chip or (names[-1] if names else None)


def virtual(system: System) -> str | None:
    """Container and virtual machine, such as ``docker in kvm``; None on bare metal."""
    kinds = [kind for kind in (_container(system), _machine(system)) if kind]
    return " in ".join(kinds) or None


def _container(system: System) -> str | None:
    named = system.text("/run/systemd/container")
    if named:
        return named
    if system.glob("/run/.containerenv"):
        return "podman"
    if system.glob("/.dockerenv"):
        return "docker"
    groups = f"{system.text('/proc/1/cgroup')}\n{system.text('/proc/self/cgroup')}"
    return next((kind for word, kind in _CGROUP_WORDS.items() if word in groups), None)


def _machine(system: System) -> str | None:
    """The names in DMI are also those of who lends whole machines: x86 says by a flag which it is.

    ARM has no such flag; Amazon's whole machines are called ``….metal`` there.
    """
    words, flagged = system.platform(), "hypervisor" in cpu_flags(system)
    if "microsoft" in words.release.lower():
        return "wsl"
    names = [system.text(f"{_DMI}/{name}") or "" for name in ("product_name", "sys_vendor")]
    if (words.machine in X86 and not flagged) or names[0].endswith(".metal"):
        return None
    for word, kind in _DMI_WORDS.items():
        if any(word in name for name in names):
            return kind
    if system.text("/sys/hypervisor/type") == "xen":
        return "xen"
    if "kvm" in (system.text("/proc/device-tree/hypervisor/compatible") or ""):
        return "kvm"
    return "a virtual machine" if flagged else None


def machine_facts(system: System = LIVE) -> MachineFacts:
    """Look at a machine; what it does not say is None, nothing raises."""
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
    return next((match[2] for match in named if match), system.platform().name)


def governors(system: System) -> dict[str, str]:
    """Frequency governor by CPU policy, in the policies' order."""
    texts = {name: system.text(f"{path}/scaling_governor") for name, path in policies(system)}
    return {name: governor for name, governor in texts.items() if governor}


def max_mhz(system: System) -> dict[str, float]:
    """The highest clock the hardware has, boost included, by CPU policy."""
    return clocks(system, "cpuinfo_max_freq")


def clocks(system: System, file: str) -> dict[str, float]:
    """A clock of every CPU policy that has it, in MHz; the kernel's files are in kHz."""
    read = {name: thousandth(system.text(f"{path}/{file}")) for name, path in policies(system)}
    return {name: mhz for name, mhz in read.items() if mhz is not None}


def policies(system: System) -> list[tuple[str, str]]:
    """Name and folder of every CPU frequency policy, by number."""
    folders = [(path.rpartition("/")[2], path) for path in system.glob(_POLICIES)]
    return sorted(folders, key=lambda policy: (len(policy[0]), policy[0]))


@dataclass(frozen=True)
class Host:
    """Facts about the machine.

    Attributes:
        machine: Instruction set, such as ``aarch64``.
        cpu: Model name of the processor.
        board: Name of a single-board computer.
        cores: CPUs this process may use.
        memory_mb: Physical memory, in MB of 10⁶ bytes.
        os: Name and version of the system.
        kernel: Name and release.
        python: Version.
        governor: Frequency governor of the first CPU.
    """

    machine: str
    cpu: str | None
    board: str | None
    cores: int
    memory_mb: int | None
    os: str
    kernel: str
    python: str
    governor: str | None


def host_facts(system: System = LIVE) -> Host:
    """Look at a machine, this one unless another is given."""
    words = system.platform()
    return Host(
        machine=words.machine,
        cpu=cpu.cpu_name(system),
        board=board(system),
        cores=cores(words),
        memory_mb=memory_mb(words),
        os=os_name(system),
        kernel=f"{words.system} {words.release}",
        python=words.python,
        governor=next(iter(governors(system).values()), None),
    )


def peak_rss_mb() -> float | None:
    """Most memory this process has held since it started, in MB of 10⁶ bytes.

    Linux's own record comes first: getrusage's survives an exec, so that a process started by a
    larger one would report its parent's.
    """
    for line in (LIVE.text("/proc/self/status") or "").splitlines():
        key, _, value = line.partition(":")
        kib = whole(value.partition("kB")[0]) if key == "VmHWM" else None
        if kib is not None:
            return kib * 1024 / 1e6  # the file says kB and means KiB
    try:
        import resource  # noqa: PLC0415  # POSIX only
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if platform.system() == "Darwin" else 1024) / 1e6  # bytes there, KiB here


def is_x86_without_vnni(system: System = LIVE) -> bool:
    """Whether this is an x86 that has no 8-bit dot product, or does not say.

    Without it, kernels add two products of 8-bit numbers in 16 bits, which can overflow.
    """
    is_x86 = system.platform().machine in cpu.X86
    return is_x86 and cpu.X86_INT8_DOT_PRODUCTS.isdisjoint(cpu.features(system))
