"""``ghostedge compare``: is B really slower than A?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from ghostedge.commands._common import PATH, json_option, print_json, stderr, stdout
from ghostedge.comparison.compare import Comparison, compare
from ghostedge.comparison.selection import from_database, from_files
from ghostedge.console import ConsoleReporter
from ghostedge.records.database import entries
from ghostedge.show.comparison_tables import (
    comparison_table,
    entries_table,
    remark_lines,
    sides_lines,
)
from ghostedge_runtime.errors import BudgetMissedError
from ghostedge_runtime.record import BenchRun


@click.command("compare")
@click.argument("a", required=False)
@click.argument("b", required=False)
@click.option("--db", type=PATH, help="Database of `ghostedge bench --db`; alone: list its runs.")
@click.option("--device", help="Of --db, only runs of this device, named as `bench` was told.")
@click.option(
    "--max-regression",
    type=click.FloatRange(0),
    metavar="PCT",
    help="Exit with 3 where a median is surely more than PCT percent slower in B.",
)
@json_option
def command(
    *,
    a: str | None,
    b: str | None,
    db: Path | None,
    device: str | None,
    max_regression: float | None,
    as_json: bool,
) -> None:
    """Say case by case whether B is faster or slower than A, or no difference is shown.

    A and B are files of `ghostedge bench -o`; with --db they are ids of its runs (their first
    digits do), latest, latest~1, … Each may be several, with commas between: the spread from run
    to run is then part of the answer.

    \b
    ghostedge compare monday.json tuesday.json
    ghostedge compare latest~1 latest --db lab.db --max-regression 5
    ghostedge compare latest~5,latest~4,latest~3 latest~2,latest~1,latest --db lab.db
    """  # noqa: D301 - click takes the control character for "do not rewrap"
    if device is not None and db is None:
        raise click.UsageError("--device is for --db, which is not given")
    if a is None and db is not None:
        _list(db, device, as_json=as_json)
        return
    if a is None or b is None:
        raise click.UsageError("name two sides, A and B, or --db alone to see what it holds")
    sides = (
        [from_files(a), from_files(b)] if db is None else from_database(db, (a, b), device=device)
    )
    comparison = compare(*sides, max_regression_pct=max_regression)
    if as_json:
        print_json(asdict(comparison))
    else:
        _print(comparison, sides)
    _check(comparison)


def _list(db: Path, device: str | None, *, as_json: bool) -> None:
    listed = entries(db, device=device)
    if as_json:
        print_json([asdict(entry) for entry in listed])
    else:
        stdout().print(entries_table(listed))


def _print(comparison: Comparison, sides: Sequence[Sequence[BenchRun]]) -> None:
    console = stdout()
    for line in sides_lines(*sides):
        console.say(line)
    console.print(comparison_table(comparison))
    for line in remark_lines(comparison):
        console.say(f"- {line}")


def _check(comparison: Comparison) -> None:
    """Warn of what may be slower; end with exit code 3 where it surely is.

    Raises:
        BudgetMissedError: A case missed the budget.
    """
    for case in comparison.cases:
        if case.budget == "not shown":
            ConsoleReporter(stderr()).note(
                f"{case.key}: {(case.p50.ratio.value - 1) * 100:+.1f} %, but its interval reaches "
                f"below {comparison.max_regression_pct:g} %: not shown to be slower; measure "
                "longer, or give more runs"
            )
    if comparison.missed:
        raise BudgetMissedError(
            f"--max-regression {comparison.max_regression_pct:g} is not kept\n  "
            + "\n  ".join(comparison.missed),
            remedy="see the marks first: heat and neighbours look like slower code",
        )
