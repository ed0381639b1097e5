"""What is said of a machine is what its files say, for every machine recorded or transcribed.

Of `machines/`, ``virtual_machine`` was recorded by our own recorder. The others were put together
from published contents of the same files and outputs; each file's note says so.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ghostedge_runtime.machine.facts import machine_facts
from ghostedge_runtime.machine.recording import RecordedSystem, Recording, read_recording
from ghostedge_runtime.machine.system import Answer, Platform
from ghostedge_runtime.machine.words import describe, fact_rows
from ghostedge_runtime.record import MachineFacts

MACHINES = Path(__file__).parent / "machines"
LINUX = Platform("Linux", "6.1.0", "aarch64", "", "Linux-6.1.0", "3.11.2", 64, (0, 1), 2)

PI4 = MachineFacts(
    machine="aarch64",
    cores=4,
    os="Debian GNU/Linux 12 (bookworm)",
    kernel="Linux 6.6.31+rpt-rpi-v8",
    python="3.11.2",
    cores_total=4,
    board="Raspberry Pi 4 Model B Rev 1.1",
    soc="Broadcom BCM2711",
    cpu="Cortex-A72",
    features=(),
    memory_mb=3978,
    governors={"policy0": "ondemand"},
    max_mhz={"policy0": 1500.0},
    firmware="May 14 2025 12:23:36, 17084b403fb6",
    bits=64,
)
PI5 = MachineFacts(
    machine="aarch64",
    cores=4,
    os="Debian GNU/Linux 13 (trixie)",
    kernel="Linux 6.12.47+rpt-rpi-2712",
    python="3.13.5",
    cores_total=4,
    board="Raspberry Pi 5 Model B Rev 1.0",
    soc="Broadcom BCM2712",
    cpu="Cortex-A76",
    features=("dotprod", "fp16"),
    memory_mb=8453,
    governors={"policy0": "ondemand"},
    max_mhz={"policy0": 2400.0},
    firmware="2025/05/08 15:13:17, 69471177",
    bits=64,
)
LAPTOP = MachineFacts(
    machine="x86_64",
    cores=12,
    os="Ubuntu 22.04.4 LTS",
    kernel="Linux 6.8.0-52-generic",
    python="3.10.12",
    cores_total=12,
    cpu="12th Gen Intel(R) Core(TM) i7-1250U",
    features=("avx2", "fma", "f16c", "avx_vnni"),
    memory_mb=16482,
    governors={f"policy{n}": "powersave" for n in range(12)},
    max_mhz={f"policy{n}": 4700.0 if n < 4 else 3500.0 for n in range(12)},
    bits=64,
)
CONTAINER = MachineFacts(
    machine="x86_64",
    cores=8,
    os="Debian GNU/Linux 12 (bookworm)",
    kernel="Linux 6.1.0-18-cloud-amd64",
    python="3.12.3",
    cores_total=8,
    cpu="Intel Xeon Processor (Cascadelake)",
    features=("avx2", "fma", "f16c", "avx512f", "avx512_vnni"),
    memory_mb=33000,
    virtual="docker in qemu",
    cpu_quota=1.5,
    bits=64,
)
VIRTUAL_MACHINE = MachineFacts(
    machine="x86_64",
    cores=2,
    os="Debian GNU/Linux 12 (bookworm)",
    kernel="Linux 6.18.44-fc-v669",
    python="3.11.7",
    cores_total=2,
    cpu="Intel(R) Xeon(R) Processor",
    features=(
        *("avx2", "fma", "f16c", "avx512f"),
        *("avx_vnni", "avx512_vnni", "avx512_fp16", "amx_int8"),
    ),
    memory_mb=25276,
    virtual="docker in a virtual machine",
    bits=64,
)


def machine(**files: str) -> RecordedSystem:
    """A Linux board with some files; ``__`` stands for the slash."""
    return RecordedSystem(
        Recording(1, LINUX, files={k.replace("__", "/"): v for k, v in files.items()})
    )


def cores(*parts: tuple[int, int]) -> str:
    """A /proc/cpuinfo of ARM cores: implementer and part of each."""
    return "\n\n".join(f"CPU implementer\t: {a:#x}\nCPU part\t: {b:#x}" for a, b in parts)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pi4", PI4),
        ("pi5", PI5),
        ("laptop", LAPTOP),
        ("container", CONTAINER),
        ("virtual_machine", VIRTUAL_MACHINE),
    ],
)
def test_every_fact_of_a_recorded_machine_is_read(name: str, expected: MachineFacts) -> None:
    assert machine_facts(read_recording(MACHINES / f"{name}.json")) == expected


def test_policies_stand_in_the_order_of_their_numbers() -> None:
    facts = machine_facts(read_recording(MACHINES / "laptop.json"))
    assert list(facts.governors) == list(facts.max_mhz) == [f"policy{n}" for n in range(12)]


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (
            PI5,
            "Raspberry Pi 5 Model B Rev 1.0 (Broadcom BCM2712, 4× Cortex-A76, dotprod fp16), "
            "64-bit, governor ondemand",
        ),
        (
            replace(PI4, bits=32),
            "Raspberry Pi 4 Model B Rev 1.1 (Broadcom BCM2711, 4× Cortex-A72), "
            "32-bit, governor ondemand",
        ),
        (
            LAPTOP,
            "12th Gen Intel(R) Core(TM) i7-1250U, 12 CPUs (avx2 fma f16c avx_vnni), "
            "64-bit, governor powersave",
        ),
        (
            CONTAINER,
            "Intel Xeon Processor (Cascadelake), 8 CPUs (avx2 fma f16c avx512f avx512_vnni), "
            "64-bit, in docker in qemu, limited to 1.5 CPUs",
        ),
        (
            MachineFacts("riscv64", 3, "Debian", "Linux 6", "3.11.2", cores_total=4),
            "riscv64, 4 CPUs, limited to 3 of its CPUs",
        ),
        (
            replace(PI5, governors={"policy0": "schedutil", "policy4": "performance"}),
            "Raspberry Pi 5 Model B Rev 1.0 (Broadcom BCM2712, 4× Cortex-A76, dotprod fp16), "
            "64-bit, governor policy0 schedutil, policy4 performance",
        ),
    ],
)
def test_a_machine_is_said_in_one_line(facts: MachineFacts, line: str) -> None:
    assert describe(facts) == line


def test_the_rows_leave_out_what_a_machine_did_not_tell() -> None:
    assert fact_rows(PI4) == {
        "board": "Raspberry Pi 4 Model B Rev 1.1",
        "system on chip": "Broadcom BCM2711",
        "processor": "4× Cortex-A72 (aarch64)",
        "instructions": "none of those that matter to inference",
        "highest clock": "1500 MHz",
        "governor": "ondemand",
        "memory": "3,978 MB",
        "system": "Debian GNU/Linux 12 (bookworm), Linux 6.6.31+rpt-rpi-v8",
        "firmware": "May 14 2025 12:23:36, 17084b403fb6",
        "Python": "3.11.2, 64-bit",
    }
    rows = fact_rows(replace(CONTAINER, notes=("one", "two"), max_mhz=LAPTOP.max_mhz))
    assert rows["inside"] == "docker in qemu"
    assert rows["share"] == "limited to 1.5 CPUs"
    assert rows["highest clock"] == "4700 MHz and 3500 MHz"
    assert rows["to mend"] == "one; two"


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (((0x41, 0xD03),) * 4, "Cortex-A53"),
        (((0x61, 0x23), (0x61, 0x23)), "Apple M1 Firestorm"),
        (((0x41, 0xD05),) * 4 + ((0x41, 0xD0B),) * 4, "4× Cortex-A55 + 4× Cortex-A76"),
        (((0x41, 0xFFF),), "ARM 0x41/0xfff"),
    ],
)
def test_arm_cores_are_named_by_their_part_numbers(
    parts: tuple[tuple[int, int], ...], name: str
) -> None:
    facts = machine_facts(machine(__proc__cpuinfo=cores(*parts)))
    assert facts.cpu == name


def test_kinds_of_cores_are_counted_once_in_the_line() -> None:
    facts = machine_facts(machine(__proc__cpuinfo=cores((0x41, 0xD05), (0x41, 0xD0B))))
    assert describe(facts) == "1× Cortex-A55 + 1× Cortex-A76, 64-bit"


def test_a_chip_that_is_not_in_the_table_keeps_the_device_trees_word() -> None:
    files = {"/proc/device-tree/compatible": "acme,board-3\0acme,chip9\0"}
    assert machine_facts(RecordedSystem(Recording(1, LINUX, files))).soc == "acme,chip9"


def test_a_32_bit_process_is_told_its_features_in_the_kernels_32_bit_words() -> None:
    info = "model name\t: ARMv7 Processor rev 1 (v7l)\nFeatures\t: half neon asimdhp asimddp i8mm"
    assert machine_facts(machine(__proc__cpuinfo=info)).features == ("dotprod", "fp16", "i8mm")


def test_a_processor_without_a_number_keeps_the_name_the_kernel_gives() -> None:
    assert machine_facts(machine(__proc__cpuinfo="Hardware\t: BCM2835")).cpu == "BCM2835"
    assert machine_facts(machine()).cpu is None


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"/run/.containerenv": ""}, "podman"),
        ({"/run/systemd/container": "systemd-nspawn"}, "systemd-nspawn"),
        ({"/proc/self/cgroup": "0::/kubepods/burstable/pod1/2"}, "kubernetes"),
        ({"/sys/class/dmi/id/sys_vendor": "Amazon EC2"}, "amazon"),
        (
            {
                "/sys/class/dmi/id/sys_vendor": "Microsoft Corporation",
                "/sys/class/dmi/id/product_name": "Virtual Machine",
            },
            "hyper-v",
        ),
        (
            {
                "/sys/class/dmi/id/sys_vendor": "Microsoft Corporation",
                "/sys/class/dmi/id/product_name": "Surface Laptop 5",
            },
            None,
        ),
        ({"/sys/hypervisor/type": "xen"}, "xen"),
        ({"/proc/device-tree/hypervisor/compatible": "linux,kvm\0"}, "kvm"),
        ({"/proc/cpuinfo": "flags\t: fpu hypervisor"}, "a virtual machine"),
        ({"/proc/self/cgroup": "0::/user.slice"}, None),
    ],
)
def test_what_lies_between_us_and_the_machine_is_named(
    files: dict[str, str], kind: str | None
) -> None:
    assert machine_facts(RecordedSystem(Recording(1, LINUX, files))).virtual == kind


@pytest.mark.parametrize(
    ("machine", "product", "flags", "kind"),
    [
        ("x86_64", "c5.large", "fpu hypervisor", "amazon"),
        ("x86_64", "c5.metal", "fpu", None),
        ("aarch64", "c7g.large", "", "amazon"),
        ("aarch64", "c7g.metal", "", None),
    ],
)
def test_a_whole_machine_that_is_lent_is_no_virtual_one(
    machine: str, product: str, flags: str, kind: str | None
) -> None:
    files = {
        "/sys/class/dmi/id/sys_vendor": "Amazon EC2",
        "/sys/class/dmi/id/product_name": product,
        "/proc/cpuinfo": f"flags\t: {flags}",
    }
    words = replace(LINUX, machine=machine)
    assert machine_facts(RecordedSystem(Recording(1, words, files))).virtual == kind


def test_windows_own_linux_is_a_virtual_machine() -> None:
    words = replace(LINUX, release="6.6.87.2-microsoft-standard-WSL2")
    assert machine_facts(RecordedSystem(Recording(1, words))).virtual == "wsl"


@pytest.mark.parametrize(
    ("commands", "note"),
    [
        ({}, "there is no vcgencmd"),
        (
            {"vcgencmd get_throttled": Answer(255, "Can't open device file: /dev/vcio")},
            "vcgencmd may not open /dev/vcio",
        ),
        (
            {"/opt/vc/bin/vcgencmd get_throttled": Answer(0, "VCHI initialization failed")},
            "vcgencmd may not open /dev/vcio",
        ),
    ],
)
def test_a_raspberry_pi_whose_firmware_is_silent_says_so_and_what_to_do(
    commands: dict[str, Answer], note: str
) -> None:
    files = {"/proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}
    facts = machine_facts(RecordedSystem(Recording(1, LINUX, files, commands)))
    assert len(facts.notes) == 1
    assert note in facts.notes[0]
    assert "sudo" in facts.notes[0]


def test_other_boards_are_not_asked_for_a_raspberrys_firmware() -> None:
    files = {"/proc/device-tree/model": "Radxa ROCK 5B\0"}
    assert machine_facts(RecordedSystem(Recording(1, LINUX, files))).notes == ()


def test_an_older_raspberry_pi_os_keeps_its_command_elsewhere() -> None:
    commands = {"/opt/vc/bin/vcgencmd get_throttled": Answer(0, "throttled=0x0")}
    files = {"/proc/device-tree/model": "Raspberry Pi 3 Model B Rev 1.2\0"}
    assert machine_facts(RecordedSystem(Recording(1, LINUX, files, commands))).notes == ()


def test_a_mac_and_windows_tell_what_python_knows() -> None:
    mac = Platform("Darwin", "24.0", "arm64", "arm", "macOS-15.0", "3.12.1", 64, None, 8, 2**34)
    facts = machine_facts(RecordedSystem(Recording(1, mac)))
    assert (facts.os, facts.kernel, facts.cpu) == ("macOS-15.0", "Darwin 24.0", "arm")
    assert (facts.cores, facts.cores_total, facts.memory_mb) == (8, 8, 17179)
    windows = Platform("Windows", "11", "AMD64", "Intel64 Family 6", "Windows-11", "3.12.1", 64)
    facts = machine_facts(RecordedSystem(Recording(1, windows)))
    assert (facts.os, facts.cpu, facts.cores, facts.memory_mb) == (
        *("Windows-11", "Intel64 Family 6"),
        *(1, None),
    )
