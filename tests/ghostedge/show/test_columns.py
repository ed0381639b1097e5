"""A table is the columns that say something, drawn the same wherever it stands."""

from __future__ import annotations

from rich.table import Table

from ghostedge.show.columns import LEFT, RIGHT, Cell, Column, draw, select

Row = dict[str, float | None]

NAME = Column[Row]("name", LEFT, lambda row: row["number"], "file {}".format)
SIZE = Column[Row]("size", RIGHT, lambda row: row["size"], "{:.1f} MB".format)
TIME = Column[Row]("p50", RIGHT, lambda row: row["ms"], str, lambda ms: f"±{ms / 10}")
THREADS = Column[Row]("threads", RIGHT, lambda row: row["threads"], once=True)
COLUMNS = (NAME, SIZE, TIME, THREADS)


def rows(**columns: list[float | None]) -> list[Row]:
    filled = {"size": [None, None], "ms": [None, None], "threads": [1, 1]} | columns
    return [{"number": at, **{key: v[at] for key, v in filled.items()}} for at in range(2)]


def cells(table: Table) -> dict[str, list[str]]:
    return {str(column.header): [str(cell) for cell in column.cells] for column in table.columns}


def test_a_column_without_any_value_is_left_out_and_a_single_gap_is_a_dash() -> None:
    assert cells(draw(COLUMNS, rows(size=[1.0, None]))) == {
        "name": ["file 0", "file 1"],
        "size": ["1.0 MB", "–"],
    }


def test_empty_columns_stay_where_that_is_asked_for() -> None:
    assert cells(draw((NAME, SIZE), rows(), keep_empty=True))["size"] == ["–", "–"]


def test_a_table_without_rows_still_has_its_headings() -> None:
    assert list(cells(draw(COLUMNS, []))) == ["name", "size", "p50", "threads"]


def test_zero_is_a_value() -> None:
    assert cells(draw((SIZE,), rows(size=[0.0, None]))) == {"size": ["0.0 MB", "–"]}


def test_what_is_the_same_in_all_rows_is_said_once() -> None:
    assert select(COLUMNS, rows()).common == ("1",)
    apart = select(COLUMNS, rows(threads=[1, 2]))
    assert apart.common == ()
    assert [column.heading for column in apart.columns] == ["name", "threads"]
    assert select(COLUMNS, rows(threads=[None, None])).common == ()


def test_what_belongs_to_a_value_stands_under_it_on_a_terminal() -> None:
    timed = rows(ms=[2.0, None])
    assert select((TIME,), timed).rows == ((Cell("2.0", "±0.2"),), (Cell("–"),))
    assert cells(draw((TIME,), timed)) == {"p50": ["2.0\n±0.2", "–"]}


def test_figures_are_aligned_to_the_right_and_names_to_the_left() -> None:
    drawn = draw(COLUMNS, rows(size=[1.0, 2.0]))
    assert [column.justify for column in drawn.columns] == ["left", "right"]
