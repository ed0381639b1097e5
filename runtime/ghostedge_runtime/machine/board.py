"""Which board and system on chip this is, and what lies between us and it.

Boards name themselves in the device tree (``model``, ``compatible``). Virtual machines and
containers are told by the files that systemd-detect-virt looks at, as far as they can be read
without privileges.
"""

from __future__ import annotations

from ghostedge_runtime.machine.cpu import X86, cpu_flags
from ghostedge_runtime.machine.system import System

_MODEL = "/proc/device-tree/model"
_COMPATIBLE = "/proc/device-tree/compatible"
_DMI = "/sys/class/dmi/id"

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
    known = next((SOCS[name] for name in reversed(names) if name in SOCS), None)
    return known or (names[-1] if names else None)


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
