"""Rows in columns that fit a width: what matters least is left out, and what is too long is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from jobq.cli.printing import Cell, visible

GAP = 2
"""Cells between two columns."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    is_right: whether its cells stand to the right. rank: 0 if it is always there; of others the highest is left out
    first where there is no room. least: to how many cells it may be cut; None if it is shown whole or not at all.
    """

    title: str
    is_right: bool = False
    rank: int = 0
    least: int | None = None


def share(room: int, wants: Sequence[int], floors: Sequence[int]) -> list[int]:
    """Share room among those who want some: first what each needs, then to whoever has least, until all have enough.

    Later ones get less than their floor, down to nothing, if there is too little for all.
    """
    given: list[int] = []
    for want, floor in zip(wants, floors, strict=True):
        given.append(min(want, floor, max(0, room - sum(given))))
    for _ in range(room - sum(given)):
        wanting = [number for number, want in enumerate(wants) if given[number] < want]
        if not wanting:
            break
        given[min(wanting, key=given.__getitem__)] += 1
    return given


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> list[Text]:
    """The titles and the rows as lines of exactly this width.

    rows: a cell that is a str may hold anything: it is made harmless. width: cells of a line, from 1.
    """
    cells = [[Text(visible(cell)) if isinstance(cell, str) else cell for cell in row] for row in rows]
    needs = [
        max([cell_len(column.title), *(row[number].cell_len for row in cells)]) for number, column in enumerate(columns)
    ]
    shown = _shown(columns, needs, width)
    floors = [_floor(columns[number], needs[number]) for number in shown]
    widths = share(max(0, width - GAP * (len(shown) - 1)), [needs[number] for number in shown], floors)
    titles = [Text(columns[number].title) for number in shown]
    sides = [columns[number].is_right for number in shown]
    lines = [_line(titles, widths, sides, width)]
    return lines + [_line([row[number] for number in shown], widths, sides, width) for row in cells]


def _floor(column: Column, need: int) -> int:
    return need if column.least is None else min(need, column.least)


def _shown(columns: Sequence[Column], needs: Sequence[int], width: int) -> list[int]:
    """The numbers of the columns for which there is room."""
    shown = list(range(len(columns)))
    while sum(_floor(columns[number], needs[number]) + GAP for number in shown) - GAP > width:
        least = max(shown, key=lambda number: columns[number].rank)
        if not columns[least].rank:
            break
        shown.remove(least)
    return shown


def _line(cells: Sequence[Text], widths: Sequence[int], sides: Sequence[bool], width: int) -> Text:
    pieces = [fitted(cell, size, is_right=side) for cell, size, side in zip(cells, widths, sides, strict=True)]
    return fitted(Text(" " * GAP).join(pieces), width)


def fitted(text: Text, width: int, *, is_right: bool = False) -> Text:
    """Text in exactly so many cells: filled with spaces, or cut with an ellipsis."""
    missing = width - text.cell_len
    if missing >= 0:
        space = Text(" " * missing)
        return space + text if is_right else text + space
    if width < 1:
        return Text()
    cut = text.copy()
    cut.truncate(width, overflow="ellipsis", pad=True)
    return cut
