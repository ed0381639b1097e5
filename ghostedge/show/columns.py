"""What a table is: columns over rows of one kind.

A table on the terminal, on the page and in Markdown is a selection of columns, filled by `select`;
`draw` makes it a table for the terminal. A new column is written once, beside the others of its
kind of row, and named in every selection that is to show it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from rich.table import Table

RowT = TypeVar("RowT")
Row_contra = TypeVar("Row_contra", contravariant=True)
Side = Literal["left", "right"]

LEFT: Side = "left"
RIGHT: Side = "right"
DASH = "–"


@dataclass(frozen=True)
class Column(Generic[Row_contra]):
    """One fact of each row.

    Attributes:
        heading: What stands over it.
        side: Where its cells are aligned.
        read: A row's value; None where it has none, which is shown as a dash.
        words: The value as text.
        beside: What belongs to the value and is shown smaller, such as its interval.
        once: Where all rows have the same value it is said over the table instead.
        code: Whether the value is a name out of a file, which Markdown sets as code.
    """

    heading: str
    side: Side
    read: Callable[[Row_contra], Any]
    words: Callable[[Any], str] = str
    beside: Callable[[Any], str] | None = None
    once: bool = False
    code: bool = False

    def cell(self, row: Row_contra) -> Cell | None:
        """What stands under the heading; None where the row has no value."""
        value = self.read(row)
        if value is None:
            return None
        return Cell(self.words(value), self.beside(value) if self.beside else "")


@dataclass(frozen=True)
class Cell:
    """A value's text, and what is shown smaller beside it."""

    words: str
    beside: str = ""


@dataclass(frozen=True)
class Selection:
    """The columns that say something, filled.

    Attributes:
        columns: Those that are shown.
        rows: Cells under them, row by row.
        common: What is the same in all rows and said once.
    """

    columns: tuple[Column[Any], ...]
    rows: tuple[tuple[Cell, ...], ...]
    common: tuple[str, ...]


def select(
    columns: Sequence[Column[RowT]], rows: Sequence[RowT], *, keep_empty: bool = False
) -> Selection:
    """Fill columns; one that no row has a value for is left out.

    Args:
        columns: In the order shown.
        rows: In the order shown.
        keep_empty: Show columns without a value, too.
    """
    filled = {column: [column.cell(row) for row in rows] for column in columns}
    shared = {
        column: cells[0]
        for column, cells in filled.items()
        if column.once and rows and len(set(cells)) == 1
    }
    shown = {
        column: cells
        for column, cells in filled.items()
        if column not in shared and (keep_empty or not rows or any(cells))
    }
    return Selection(
        columns=tuple(shown),
        rows=tuple(
            tuple(cells[at] or Cell(DASH) for cells in shown.values()) for at in range(len(rows))
        ),
        common=tuple(cell.words for cell in shared.values() if cell),
    )


def draw(
    columns: Sequence[Column[RowT]],
    rows: Sequence[RowT],
    *,
    title: str | None = None,
    keep_empty: bool = False,
    style: Callable[[RowT], str | None] = lambda _: None,
) -> Table:
    """A table for the terminal, whose long cells fold.

    Args:
        columns: In the order shown.
        rows: In the order shown.
        title: Over the table.
        keep_empty: Show columns without a value, too.
        style: rich's style of a row, such as ``bold red``.
    """
    selection = select(columns, rows, keep_empty=keep_empty)
    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
    for column in selection.columns:
        table.add_column(column.heading, justify=column.side, overflow="fold")
    for row, cells in zip(rows, selection.rows, strict=True):
        # A value over what belongs to it: two short lines fit a narrow terminal.
        lines = ("\n".join(filter(None, (cell.words, cell.beside))) for cell in cells)
        table.add_row(*lines, style=style(row))
    return table


def facts_table(heading: str, facts: Sequence[tuple[str, str]]) -> Table:
    """Names and values, side by side; the heading stands over the values."""
    name = Column[tuple[str, str]]("", LEFT, lambda fact: fact[0])
    return draw((name, Column(heading, LEFT, lambda fact: fact[1])), facts)
