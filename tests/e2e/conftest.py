"""One conversion of trained weights for all the tests that look at it; commands run here."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import ghostedge
from ghostedge.cli import main
from ghostedge.conversion import timing
from ghostedge.records.manifest import Manifest
from ghostedge_runtime.record import Settings


@pytest.fixture(scope="session", autouse=True)
def brief_timing() -> Iterator[None]:
    """A conversion ends with a look at its files' speed, of which no test here says anything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "TIMING", Settings(0.02, min_runs=3, max_warmup_seconds=0.02))
        yield


@pytest.fixture(scope="session")
def converted(
    trained_checkpoint: Path,
    trained_calib: Path,
    trained_test: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Manifest:
    """The trained GhostNet in every precision: int8 from 500 images, scored on all test images."""
    return ghostedge.convert(
        trained_checkpoint,
        precision=("float16", "dynamic", "int8"),
        calib=trained_calib,
        eval=trained_test,
        output=tmp_path_factory.mktemp("converted") / "out",
    )


def _in_process(*arguments: object, cwd: Path | None = None) -> CompletedProcess[str]:
    line, out, err = ["ghostedge", *map(str, arguments)], io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", line)
        if cwd is not None:
            patch.chdir(cwd)
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    assert isinstance(code, int)
    return CompletedProcess(line, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def in_process() -> Callable[..., CompletedProcess[str]]:
    """in_process("convert", …, cwd=) → what the command said, from its `main`, called here.

    A process of its own spends seconds on importing torch; it is for tests of just that.
    """
    return _in_process
