"""The guard's tables: what was lost with how many layers left float, and which these are."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from ghostedge.guard_report import GuardCheck, GuardReport
from ghostedge.table_parts import LEFT, RIGHT, or_dash, plain_table


def guard_tables(report: GuardReport) -> list[str | Table]:
    """The curve of the loss over the layers left float, and those layers; nothing for full int8."""
    if report.stopped == "int8 holds":
        return []
    # A line of its own: a title would be folded to the table's width.
    title = f"guard: {report.budget}; {report.image_source}"
    layers = [_layers(report)] if report.float_layers else []
    return [title, _curve(report.checks, report), *layers]


def _curve(checks: Sequence[GuardCheck], report: GuardReport) -> Table:
    name = "drop, points" if report.kind == "max_drop" else "agreement, %"
    headings = ("layers float", name, "images", "holds")
    table = plain_table(None, [(heading, RIGHT) for heading in headings])
    for check in sorted(checks, key=lambda c: (c.layers_float, c.loss_points)):
        loss = check.loss_points
        table.add_row(
            f"{check.layers_float} of {report.layer_count}",
            f"{loss if report.kind == 'max_drop' else 100 - loss:.2f}",
            f"{check.images:,}",
            "✓" if check.holds else "✗",
        )
    return table


def _layers(report: GuardReport) -> Table:
    table = plain_table(
        None,
        (
            ("left float", LEFT),
            ("noise alone in int8", RIGHT),
            ("share of all-float's cost", RIGHT),
        ),
    )
    for layer in report.layers:
        if layer.left_float:
            noise = or_dash(layer.noise_db, "{:.1f} dB")
            table.add_row(layer.layer, noise, f"{layer.price_pct:.1f} %")
    return table
