"""Stages keep their contract, and one that fails is named with those before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ghostedge.console import SilentReporter, StageClock
from ghostedge.conversion.artefacts import HeldTo, ModelFile
from ghostedge.conversion.option_groups import GuardOptions, Int8Options
from ghostedge.conversion.run import Made, Run, Stage, StageFailedError, run_stages
from ghostedge.formats.table import TARGETS
from ghostedge_runtime.errors import InputError


class Lines(SilentReporter):
    """Keeps the lines that a person would read."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def seconds(self, stage: str, seconds: float) -> None:
        self.lines.append(stage)


def run(reporter: SilentReporter | None = None) -> Run:
    reporter = reporter or SilentReporter()
    nothing: Any = None  # no stage here looks at the source or its images
    return Run(
        source=nothing,
        calibration=None,
        images=nothing,
        folder=Path("out"),
        name="model",
        precisions=("float32",),
        targets=(),
        threads=1,
        int8=Int8Options(),
        guard=GuardOptions(),
        guard_file=Path("out.guard.jsonl"),
        reporter=reporter,
        clock=StageClock(reporter),
    )


def file(name: str, reference: str | None = None) -> ModelFile:
    held_to = HeldTo(TARGETS["onnx"], "float32")
    return ModelFile(Path(name), "onnx", "float32", reference, held_to)


def stage(title: str, work: Callable[[Made], Made], needs: str = "", gives: str = "") -> Stage:
    return Stage(
        title, lambda _, made: work(made), frozenset(needs.split()), frozenset(gives.split())
    )


def writing(*files: ModelFile) -> Callable[[Made], Made]:
    return lambda made: replace(made, files=(*made.files, *files), notes=("written",))


def fail(error: Exception) -> Callable[[Made], Made]:
    def work(_: Made) -> Made:
        raise error

    return work


WRITE = stage("write", writing(file("a.onnx")), gives="files")


def test_stages_run_in_order_and_are_timed() -> None:
    here = run()
    more = stage("lower", writing(file("b.onnx", "a.onnx")), needs="files", gives="files")
    made = run_stages([WRITE, more], here)
    assert [made_file.path.name for made_file in made.files] == ["a.onnx", "b.onnx"]
    assert [title for title, _ in here.clock.stages] == ["write", "lower"]


def test_what_a_stage_notes_stands_below_its_own_line() -> None:
    reporter = Lines()
    here = run(reporter)

    def note(made: Made) -> Made:
        here.note(["96 layers"])
        return made

    here.note(["36 classes"])
    run_stages([stage("quantize", note), stage("lower", lambda made: made)], here)
    here.note(["same numbers"])
    assert reporter.lines == ["  36 classes", "quantize", "  96 layers", "lower", "  same numbers"]


def test_a_stage_without_what_it_needs_is_named_with_those_before_it() -> None:
    quantize = stage("quantize", lambda made: made, needs="graph")
    with pytest.raises(StageFailedError, match=r"'quantize' failed: .* needs graph") as failed:
        run_stages([WRITE, quantize], run())
    assert "stages before it: write" in str(failed.value)
    assert failed.value.exit_code == 1


@pytest.mark.parametrize("gives", ["", "files graph", "graph"])
def test_a_stage_that_gives_something_else_than_it_states_is_refused(gives: str) -> None:
    with pytest.raises(StageFailedError, match="it gave files"):
        run_stages([stage("write", writing(file("a.onnx")), gives=gives)], run())


def test_a_file_whose_reference_was_not_made_before_it_is_refused() -> None:
    late = writing(file("b.onnx", "a.onnx"), file("a.onnx"))
    with pytest.raises(StageFailedError, match=r"b\.onnx is compared with a\.onnx"):
        run_stages([stage("write", late, gives="files")], run())


@pytest.mark.parametrize("error", [InputError("no such file", where="x"), OSError("disk full")])
def test_an_error_of_the_user_or_the_machine_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        run_stages([stage("load", fail(error))], run())
    assert raised.value is error


def test_any_other_error_names_the_stage_and_keeps_its_cause() -> None:
    error = KeyError("scale")
    with pytest.raises(StageFailedError, match="'lower' failed: KeyError: 'scale'") as raised:
        run_stages([stage("lower", fail(error))], run())
    assert "stages before it: none" in str(raised.value)
    assert raised.value.__cause__ is error
