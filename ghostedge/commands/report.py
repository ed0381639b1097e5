"""``ghostedge report``: measurements as a page, a picture, or Markdown."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

import ghostedge
from ghostedge.commands._common import PATH, stderr
from ghostedge.console import ConsoleReporter
from ghostedge.records.manifest import Manifest, is_manifest, manifest_of
from ghostedge.records.output import check_file, write_file
from ghostedge.records.quantization import read_quantization
from ghostedge.show.contents import Contents, gather
from ghostedge_runtime.decode import read_json
from ghostedge_runtime.errors import InputError, MissingDependencyError
from ghostedge_runtime.record import BenchRun, runs_of

_SUFFIXES = {
    ".html": "html",
    ".htm": "html",
    ".png": "png",
    ".md": "markdown",
    ".markdown": "markdown",
}
# Imported when asked for: two of them need the package of the extra.
_WRITERS = {
    "html": ("page", "page"),
    "png": ("picture", "picture"),
    "markdown": ("markdown", "markdown"),
}
_EXTRA = "matplotlib"
_DEFAULTS = {"html": "report.html", "png": "report.png", "markdown": "report.md"}


@click.command("report")
@click.argument("runs", type=PATH, nargs=-1, required=True, metavar="RUN...")
@click.option("-o", "--output", type=PATH, help="File to write. [default: report.html/.png/.md]")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_DEFAULTS)),
    help="[default: as the output's name ends, else html]",
)
@click.option(
    "--quantization",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="Per-layer error that `ghostedge inspect --quantization … --json > FILE` measured; may be "
    "given several times.",
)
def command(
    *,
    runs: tuple[Path, ...],
    output: Path | None,
    form: str | None,
    quantization: tuple[Path, ...],
) -> None:
    """Show measurements: each RUN is a file that `ghostedge bench … -o RUN` wrote.

    Or it is the manifest.json that `ghostedge convert` left. Latency against accuracy with the
    Pareto front, distributions, drift, temperature, operators, the machine's story and the command
    to measure it again. The page is one file that opens without a network. Needs the report extra;
    Markdown needs the base install alone.

    \b
    ghostedge report run.json -o report.html
    ghostedge report laptop.json pi.json -o both.png
    ghostedge report model_ghostedge/manifest.json -o report.md
    ghostedge report run.json --quantization layers.json --format markdown
    """  # noqa: D301 - click takes the control character for "do not rewrap"
    form = form or _form(output)
    target = output or Path(_DEFAULTS[form])
    _check_target(target, form, (*runs, *quantization))
    contents = gather(
        _read(runs), map(read_quantization, quantization), f"ghostedge {ghostedge.__version__}"
    )
    write_file(target, _render(contents, form))
    ConsoleReporter(stderr()).note(f"written to {target}")


def _form(output: Path | None) -> str:
    """What the name promises; html where there is none."""
    if output is None:
        return "html"
    if output.suffix.lower() not in _SUFFIXES:
        raise InputError(
            f"its ending names none of {', '.join(_DEFAULTS)}",
            where=output,
            remedy=f"end it in {', '.join(_SUFFIXES)}, or say --format",
        )
    return _SUFFIXES[output.suffix.lower()]


def _check_target(target: Path, form: str, inputs: Sequence[Path]) -> None:
    """Refuse a target whose name promises another format, or that is one of the inputs."""
    promised = _SUFFIXES.get(target.suffix.lower(), form)
    if promised != form:
        raise InputError(
            f"the name promises {promised}, but --format is {form}",
            where=target,
            remedy="leave out --format, or give the file another name",
        )
    check_file(target)
    if target.exists() and any(path.exists() and target.samefile(path) for path in inputs):
        raise InputError(
            "it is a measurement that the report is made of",
            where=target,
            remedy="give the report another name",
        )


def _read(files: Sequence[Path]) -> Iterator[BenchRun | Manifest]:
    """What each file holds, by its content and whatever its name."""
    for file in files:
        parsed = read_json(file, "name a file that `ghostedge bench … -o FILE` or convert wrote")
        manifest = manifest_of(parsed, file) if is_manifest(parsed) else None
        measured = (manifest.measured(),) if manifest else runs_of(parsed, file)
        if not any(run.results for run in measured):
            raise InputError(
                "it holds no results",
                where=file,
                remedy="measure something: `ghostedge bench MODEL… -o FILE`",
            )
        yield from (manifest,) if manifest else measured


def _render(contents: Contents, form: str) -> bytes:
    module, function = _WRITERS[form]
    try:
        write = getattr(importlib.import_module(f"ghostedge.show.{module}"), function)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package != _EXTRA:
            raise
        raise MissingDependencyError(
            f"this needs {package}, which is not installed",
            where=f"--format {form}",
            remedy="pip install 'ghostedge[report]', or use --format markdown",
        ) from error
    written = write(contents)
    # A name in a file system need not be valid UTF-8.
    return written if isinstance(written, bytes) else str(written).encode(errors="backslashreplace")
