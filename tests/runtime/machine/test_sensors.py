"""A look at a machine reads what its files say at that moment; see test_facts for them."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from ghostedge_runtime.machine import cgroup
from ghostedge_runtime.machine.recording import RecordedSystem, Recording, read_recording
from ghostedge_runtime.machine.sensors import (
    SENSORS,
    snapshot,
    temperatures_c,
    thermal_throttle_count,
)
from ghostedge_runtime.machine.system import Answer, Platform
from ghostedge_runtime.record import Snapshot

MACHINES = Path(__file__).parent / "machines"
LINUX = Platform("Linux", "6.1.0", "x86_64", "", "Linux-6.1.0", "3.11.2", 64, (0, 1), 2)
LOOKS = {
    "pi4": Snapshot(
        at_s=1.5,
        temperatures_c={"cpu-thermal": 54.043, "firmware": 54.0},
        clocks_mhz={"policy0": 1500.0, "arm": 1500.398464},
        throttle_bits=0x50000,
        steal_s=0.0,
        load_average=0.12,
    ),
    "pi5": Snapshot(
        at_s=1.5,
        temperatures_c={"cpu-thermal": 59.3, "firmware": 59.3},
        clocks_mhz={"policy0": 2400.0, "arm": 2400.023808},
        throttle_bits=0,
        steal_s=0.0,
        load_average=0.93,
    ),
    "laptop": Snapshot(
        at_s=1.5,
        temperatures_c={
            "acpitz": 43.0,
            "INT3400 Thermal": 20.0,
            "SEN1": 39.05,
            "SEN2": 41.05,
            "TCPU": 44.0,
            "x86_pkg_temp": 44.0,
            "coretemp Package id 0": 45.0,
        },
        clocks_mhz={f"policy{n}": 496.516 if n < 4 else 534.377 for n in range(12)},
        thermal_throttle_count=7 + 7 + 5 + 5 + 9,
        steal_s=0.0,
        load_average=0.41,
    ),
    "container": Snapshot(at_s=1.5, cgroup_throttled_s=7.25, steal_s=123.45, load_average=2.5),
    "virtual_machine": Snapshot(
        at_s=1.5, cgroup_throttled_s=0.0, steal_s=50.48, load_average=6.177734375
    ),
}


def linux(files: dict[str, str], commands: dict[str, Answer] | None = None) -> RecordedSystem:
    return RecordedSystem(Recording(1, LINUX, files, commands or {}))


@pytest.mark.parametrize("name", LOOKS)
def test_every_reading_of_a_recorded_machine_is_read(name: str) -> None:
    assert snapshot(1.5, read_recording(MACHINES / f"{name}.json")) == LOOKS[name]


def test_the_firmwares_clock_stands_beside_the_one_the_kernel_asked_for() -> None:
    recording = read_recording(MACHINES / "pi5.json").recording
    slowed = {
        **recording.commands,
        "vcgencmd measure_clock arm": Answer(0, "frequency(0)=1500000000"),
    }
    look = snapshot(0, RecordedSystem(replace(recording, commands=slowed)))
    assert look.clocks_mhz == {"policy0": 2400.0, "arm": 1500.0}


def test_firmware_without_access_to_its_device_is_left_out() -> None:
    recording = read_recording(MACHINES / "pi5.json").recording
    denied = dict.fromkeys(recording.commands, Answer(255, "Can't open device file: /dev/vcio"))
    look = snapshot(0, RecordedSystem(replace(recording, commands=denied)))
    assert look.throttle_bits is None
    assert look.clocks_mhz == {"policy0": 2400.0}
    assert look.temperatures_c == {"cpu-thermal": 59.3}


def test_sensors_of_one_name_are_told_apart_and_keep_their_order() -> None:
    files = {}
    for number, degrees in ((0, 40), (1, 41), (2, 42), (10, 50)):
        files[f"/sys/class/thermal/thermal_zone{number}/type"] = "acpitz"
        files[f"/sys/class/thermal/thermal_zone{number}/temp"] = f"{degrees}000"
    found = temperatures_c(linux(files))
    assert found == {"acpitz": 40.0, "acpitz 2": 41.0, "acpitz 3": 42.0, "acpitz 4": 50.0}


def test_an_amd_processor_is_read_by_its_monitor_and_a_disk_is_not() -> None:
    files = {
        "/sys/class/hwmon/hwmon0/name": "nvme",
        "/sys/class/hwmon/hwmon0/temp1_input": "71000",
        "/sys/class/hwmon/hwmon1/name": "k10temp",
        "/sys/class/hwmon/hwmon1/temp1_input": "52125",
        "/sys/class/hwmon/hwmon1/temp1_label": "Tctl",
    }
    assert temperatures_c(linux(files)) == {"k10temp Tctl": 52.125}


def test_packages_are_counted_once_however_many_cores_show_them() -> None:
    folder = "/sys/devices/system/cpu/cpu{}/thermal_throttle/{}_throttle_count"
    files = {folder.format(n, "package"): "4" for n in range(8)}
    assert thermal_throttle_count(linux(files)) == 4
    files |= {folder.format(0, "core"): "2", folder.format(1, "core"): "3"}
    assert thermal_throttle_count(linux(files)) == 9
    assert thermal_throttle_count(linux({})) is None


V1 = "5:cpu,cpuacct:/docker/abc\n0::/docker/abc"


@pytest.mark.parametrize(
    ("files", "quota", "waited"),
    [
        ({"/proc/self/cgroup": "0::/"}, None, None),
        (
            {
                "/proc/self/cgroup": "0::/",
                "/sys/fs/cgroup/cpu.max": "max 100000",
                "/sys/fs/cgroup/cpu.stat": "usage_usec 1\nthrottled_usec 250000",
            },
            None,
            0.25,
        ),
        (
            {
                "/proc/self/cgroup": "0::/a/b",
                "/sys/fs/cgroup/cpu.stat": "usage_usec 1",
                "/sys/fs/cgroup/a/cpu.max": "50000 100000",
                "/sys/fs/cgroup/a/cpu.stat": "throttled_usec 1000000",
                "/sys/fs/cgroup/a/b/cpu.max": "200000 100000",
                "/sys/fs/cgroup/a/b/cpu.stat": "throttled_usec 500000",
            },
            0.5,
            1.5,
        ),
        (
            {  # the path is the host's, the mount is the container's own group
                "/proc/self/cgroup": V1,
                "/sys/fs/cgroup/cpu/cpu.stat": "nr_throttled 3\nthrottled_time 2500000000",
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
                # the same controller under its other name
                "/sys/fs/cgroup/cpu,cpuacct/cpu.stat": "throttled_time 2500000000",
            },
            1.5,
            2.5,
        ),
        (
            {
                "/proc/self/cgroup": V1,
                "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "300000",
                "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_periods 0",
            },
            3.0,
            None,
        ),
        (
            {
                "/proc/self/cgroup": V1,
                "/sys/fs/cgroup/cpu/cpu.stat": "throttled_time 0",
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
            0.0,
        ),
    ],
)
def test_a_containers_limit_and_waits_are_read_in_both_versions(
    files: dict[str, str], quota: float | None, waited: float | None
) -> None:
    assert cgroup.cpu_quota(linux(files)) == quota
    assert cgroup.throttled_s(linux(files)) == waited


def test_steal_is_in_the_kernels_ticks() -> None:
    files = {"/proc/stat": "cpu  1 2 3 4 5 6 7 250 9 10\ncpu0 1 2 3 4 5 6 7 99 9 10"}
    ticking = replace(LINUX, ticks_per_second=250)
    assert snapshot(0, RecordedSystem(Recording(1, ticking, files))).steal_s == 1.0
    assert snapshot(0, linux(files)).steal_s is None


def test_every_sensor_has_a_field_in_a_look_and_is_either_drawn_or_told_in_words() -> None:
    assert [sensor.key for sensor in SENSORS] == [each.name for each in fields(Snapshot)][1:]
    assert all((sensor.over_time is None) != (sensor.change is None) for sensor in SENSORS)
