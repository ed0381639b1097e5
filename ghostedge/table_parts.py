"""What all tables for people are made of."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

LEFT, RIGHT = "left", "right"
DASH = "–"


def plain_table(title: str | None, columns: Sequence[tuple[str, str]]) -> Table:
    """A table whose columns are (heading, ``LEFT`` or ``RIGHT``); long cells fold."""
    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
    for heading, side in columns:
        table.add_column(heading, justify="right" if side == RIGHT else "left", overflow="fold")
    return table


def size_words(size: int) -> str:
    """Bytes as people read them: kB and MB of powers of ten."""
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def or_dash(value: float | None, form: str) -> str:
    """The value in that form, a dash for None."""
    return DASH if value is None else form.format(value)
