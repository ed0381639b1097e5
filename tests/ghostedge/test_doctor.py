"""The doctor says what is missing and how to add it, and claims nothing it did not look up."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import pytest

from ghostedge import doctor
from ghostedge.show.tables import doctor_tables


def without(*missing: str):  # type: ignore[no-untyped-def] # a stand-in for importlib's function
    def look_up(distribution: str) -> str:
        if distribution in missing:
            raise PackageNotFoundError(distribution)
        return "1.2.3"

    return look_up


def job(name: str) -> doctor.Job:
    return next(job for job in doctor.examine().jobs if name in job.name)


def test_versions_are_those_that_are_installed() -> None:
    assert f"ai-edge-litert {version('ai-edge-litert')}" in job("inspect .tflite").found


def test_a_device_without_torch_can_run_but_is_told_how_to_convert(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "version", without("torch", "onnx"))
    convert = job("convert")
    assert not convert.ready
    assert convert.missing == ("torch", "onnx")
    assert convert.remedy == "pip install 'ghostedge[convert]'"
    assert job("inspect .tflite").ready


def test_one_interpreter_of_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    others = ("ai-edge-litert", "tensorflow")
    monkeypatch.setattr(doctor, "version", without(*others))
    assert job("inspect .tflite").found == ("tflite-runtime 1.2.3",)
    monkeypatch.setattr(doctor, "version", without(*others, "tflite-runtime"))
    assert job("inspect .tflite").missing == ("ai-edge-litert or tflite-runtime or tensorflow",)


def test_the_table_shows_the_line_that_adds_a_missing_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", without("onnxruntime"))
    _, jobs = doctor_tables(doctor.examine())
    remedies = list(jobs.columns[3].cells)
    assert remedies[0] == ""
    assert remedies[1] == "pip install 'ghostedge-runtime[onnx]'"


def test_measuring_on_devices_needs_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", {"ssh": "/usr/bin/ssh"}.get)
    assert job("bench --device").found == ("/usr/bin/ssh",)
    assert job("bench --device").ready
    monkeypatch.setattr(doctor.shutil, "which", lambda _: None)
    assert job("bench --device").missing == ("OpenSSH's ssh",)
    assert job("bench --device").remedy == "sudo apt install openssh-client"


def test_the_first_table_tells_the_machine() -> None:
    machine, _ = doctor_tables(doctor.examine())
    headings, words = (list(column.cells) for column in machine.columns)
    assert {"processor", "instructions", "system", "Python", "free disk here"} <= set(headings)
    assert platform.python_version() in words[headings.index("Python")]
