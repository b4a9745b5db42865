"""What is shown to a person: headings and tables, with rich on a terminal, as aligned text elsewhere.

Pure but for `show`. Numbers are written exactly as they are, and never cut short.
"""

import io
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from pgbourse.logs import printable

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Column", "Grid", "Sheet", "aligned", "moment", "number", "plain", "rich_table", "show"]

_NOTHING = "-"  # in the place of an empty cell, where programs count the words of a line


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, rich's style for its cells, and whether it holds words or numbers."""

    name: str
    style: str = ""
    words: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: columns, and rows of as many cells."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A line that says what is shown, and tables below it; those without rows are left out."""

    heading: str
    grids: tuple[Grid, ...] = ()
    alarm: str = ""  # what the heading ends in, if it must not be missed


def number(value: Decimal) -> str:
    """Write a number exactly, without an exponent."""
    return f"{value:f}"


def aligned(values: Iterable[Decimal | None]) -> list[str]:
    """Write numbers so that their points stand one below the other when set flush right; None is no text."""
    written = ["" if value is None else number(value) for value in values]
    places = [len(text) - text.index(".") if "." in text else 0 for text in written]
    most = max(places, default=0)
    return [text and text + " " * (most - own) for text, own in zip(written, places, strict=True)]


def moment(at: datetime) -> str:
    """Write a moment in local time, to the second."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def plain(sheet: Sheet) -> str:
    """Return a sheet as lines of aligned text, two blanks between columns; an empty cell is a `-`."""
    lines = [printable(" ".join(filter(None, (sheet.heading, sheet.alarm))))]
    for grid in sheet.grids:
        if grid.rows:
            lines += _plain_lines(grid)
    return "\n".join(lines)


def _plain_lines(grid: Grid) -> list[str]:
    cells = [tuple(column.name for column in grid.columns)]
    cells += [tuple(printable(cell) or _NOTHING for cell in row) for row in grid.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column.words else cell.rjust(width)
            for cell, width, column in zip(row, widths, grid.columns, strict=True)
        ).rstrip()
        for row in cells
    ]


def rich_table(grid: Grid) -> "Table":
    """Return a table for a terminal; what doesn't fit in a column goes on in the next line."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold cyan")
    for column in grid.columns:
        table.add_column(
            column.name, justify="left" if column.words else "right", style=column.style, overflow="fold"
        )
    for row in grid.rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def show(sheets: Sequence[Sheet]) -> None:
    """Write sheets to standard output, as it becomes a terminal or a pipe."""
    if not sys.stdout.isatty():
        for sheet in sheets:
            sys.stdout.write(plain(sheet) + "\n")
        return
    from rich.console import Console  # slow to import, and not needed in a pipe
    from rich.text import Text

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # one character for one, so that columns stay straight
    console = Console(highlight=False)
    for sheet in sheets:
        console.print(
            Text.assemble((printable(sheet.heading), "bold"), " ", (printable(sheet.alarm), "bold red"))
        )
        for grid in sheet.grids:
            if grid.rows:
                console.print(rich_table(grid))
