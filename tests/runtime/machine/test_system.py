"""The door to the system never raises, and a recording answers as the machine did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge_runtime.errors import InputError
from ghostedge_runtime.machine import system as system_module
from ghostedge_runtime.machine.facts import machine_facts
from ghostedge_runtime.machine.recording import (
    RecordedSystem,
    Recording,
    read_recording,
    record,
    to_json,
)
from ghostedge_runtime.machine.sensors import snapshot
from ghostedge_runtime.machine.system import LIVE, Answer, Platform
from ghostedge_runtime.machine.words import describe, fact_rows

MACHINES = Path(__file__).parent / "machines"
LINUX = Platform("Linux", "6.1", "aarch64", "", "Linux", "3.11.2", 64, (0, 1), 2, 2**32, 100, 0.5)
# Everything the readers open, and lines that lead their parsers further than noise would.
PATHS = tuple(
    sorted(
        {path for name in MACHINES.glob("*.json") for path in read_recording(name).recording.files}
    )
)
COMMANDS = tuple(read_recording(MACHINES / "pi5.json").recording.commands)
TEXT = st.text(max_size=60) | st.sampled_from(
    [
        "cpu 1 2 3 4 5 6 7 ٣",
        "cpu  1 2 3 4 5 6 7 " + "9" * 5000,
        "throttled_usec " + "9" * 400,
        "9" * 400,
        "-1 0",
        "max 100000",
        "0 0",
        "0::/a/../..",
        "1:cpu:/" + "a/" * 200,
        "CPU implementer : 0x\nCPU part : 0xzz",
        "CPU implementer : 0x41\nCPU part : -0x1",
        "flags : \n\nFeatures :",
        "frequency(48)=" + "9" * 5000,
        "temp=nan'C",
        "throttled=0xfffffffff",
        'PRETTY_NAME="',
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(PATHS), TEXT, max_size=25),
    st.dictionaries(st.sampled_from(COMMANDS), st.builds(Answer, st.integers(0, 1), TEXT)),
)
def test_whatever_stands_in_the_files_nothing_raises_and_all_of_it_can_be_written(
    files: dict[str, str], commands: dict[str, Answer]
) -> None:
    machine = RecordedSystem(Recording(1, LINUX, files, commands))
    facts, look = machine_facts(machine), snapshot(0.0, machine)
    assert facts.machine == "aarch64"
    assert describe(facts)
    assert fact_rows(facts)
    numbers = [*look.temperatures_c.values(), *look.clocks_mhz.values(), *facts.max_mhz.values()]
    json.dumps(numbers, allow_nan=False)


def test_this_machine_is_described_sanely() -> None:
    facts, look = machine_facts(), snapshot(2.0)
    assert 1 <= facts.cores <= (facts.cores_total or facts.cores)
    assert facts.python == ".".join(map(str, sys.version_info[:3]))
    assert facts.bits == (64 if sys.maxsize > 2**32 else 32)
    assert look.at_s == 2.0
    assert all(-60 < degrees < 150 for degrees in look.temperatures_c.values())
    assert all(0 < mhz < 10_000 for mhz in facts.max_mhz.values())
    if sys.platform == "linux":
        assert facts.kernel == f"Linux {os.uname().release}"
        assert facts.cpu
        assert look.steal_s is not None
        assert look.load_average is not None


def test_a_missing_file_a_bad_path_and_a_missing_command_are_none(tmp_path: Path) -> None:
    assert LIVE.text(str(tmp_path / "none")) is None
    assert LIVE.text(str(tmp_path)) is None
    assert LIVE.text("a\0b") is None
    assert LIVE.run("ghostedge-no-such-command", "version") is None


def test_a_file_is_read_without_the_zero_bytes_around_it(tmp_path: Path) -> None:
    (tmp_path / "compatible").write_bytes(b"one\0two\0\n")
    (tmp_path / "empty").write_bytes(b"\0\n")
    assert LIVE.text(str(tmp_path / "compatible")) == "one\0two"
    assert LIVE.text(str(tmp_path / "empty")) is None
    assert LIVE.glob(f"{tmp_path}/*p*") == (f"{tmp_path}/compatible", f"{tmp_path}/empty")


def test_a_command_gives_its_exit_code_and_both_of_its_outputs() -> None:
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)"
    answer = LIVE.run(sys.executable, "-c", code)
    assert answer is not None
    assert (answer.code, answer.text.split()) == (3, ["out", "err"])


def test_a_command_that_does_not_end_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_module, "COMMAND_SECONDS", 0.05)
    assert LIVE.run(sys.executable, "-c", "import time; time.sleep(60)") is None


@pytest.mark.parametrize("name", ["pi5", "laptop", "container", "virtual_machine"])
def test_recording_a_recording_gives_a_machine_that_answers_alike(
    tmp_path: Path, name: str
) -> None:
    machine = read_recording(MACHINES / f"{name}.json")
    copy = tmp_path / "copy.json"
    copy.write_text(to_json(record(machine, "again")), encoding="utf-8")
    again = read_recording(copy)
    assert machine_facts(again) == machine_facts(machine)
    assert snapshot(0, again) == snapshot(0, machine)
    assert again.recording.note == "again"


def test_the_recorder_prints_a_machine_that_answers_as_this_one(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "ghostedge_runtime.machine.record", "my", "board"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    (tmp_path / "this.json").write_text(done.stdout, encoding="utf-8")
    recorded = read_recording(tmp_path / "this.json")
    assert recorded.recording.note == "my board"
    here, there = machine_facts(), machine_facts(recorded)
    assert (there.cpu, there.features, there.os) == (here.cpu, here.features, here.os)
    assert there.virtual == here.virtual


def test_a_boards_serial_number_is_not_recorded() -> None:
    info = "CPU part\t: 0xd08\n\nRevision\t: c03111\nSerial\t\t: 10000000bafb5028\nModel\t\t: Pi"
    machine = RecordedSystem(Recording(1, LINUX, {"/proc/cpuinfo": info}))
    kept = record(machine).files["/proc/cpuinfo"]
    assert "10000000bafb5028" not in kept
    assert kept == info.replace("10000000bafb5028", "0")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "cannot be read"),
        ("{", "not JSON"),
        ("[]", "no recording of version 1"),
        ('{"recording_version": 2}', "no recording of version 1"),
        ('{"recording_version": 1, "platform": {}}', "platform"),
    ],
)
def test_a_file_that_is_no_recording_is_refused_by_name(
    tmp_path: Path, content: str | None, what: str
) -> None:
    path = tmp_path / "board.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=what) as caught:
        read_recording(path)
    assert caught.value.where == str(path)
    assert caught.value.remedy


def test_every_fixture_says_where_it_comes_from() -> None:
    notes = {path.stem: read_recording(path).recording.note for path in MACHINES.glob("*.json")}
    assert notes.pop("virtual_machine").startswith("Recorded")
    assert sorted(notes) == ["container", "laptop", "pi4", "pi5"]
    assert all(note.startswith("Transcribed, not recorded") for note in notes.values())
