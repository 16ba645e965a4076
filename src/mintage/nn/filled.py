"""Cells that a person gives, and their forms in their columns: ``39.0`` of an integer, ``true`` of True, a date of another format.

What cannot be put so without a loss stays as it was given. It does not decide whether that is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time

from torch import Tensor

from mintage.nn.dates import written
from mintage.nn.schema import Column

WHOLE = re.compile(r"(-?\d+)\.0+")


@dataclass(frozen=True)
class Filled:
    """Rows of which cells are given, as a model hears them.

    Attributes:
        cond: ``known`` and ``mask``, a row each.
        words: The cells by column.
        forbid: Ids that no other cell may become: where a file is completed, those of missing cells.
        whole: Whether they are all rows of a file, to be made once each.
        notes: Sentences on what of the file is left out.
    """

    cond: dict[str, Tensor]
    words: list[dict[str, str]]
    forbid: tuple[int, ...] = ()
    whole: bool = False
    notes: tuple[str, ...] = ()


def in_form(column: Column, cell: str) -> str:
    """A cell as its column writes what it says; as it is if the column does not know it."""
    unknown = column.kind == "category" and cell not in column.index
    if unknown:
        same = [name for name in column.names if name.lower() == cell.lower()]
        if len(same) == 1:
            return same[0]
    whole = WHOLE.fullmatch(cell)
    if whole and (column.kind == "integer" or (unknown and whole[1] in column.index)):
        return whole[1]
    if column.kind == "date" and not column.holds(cell):
        return _dated(cell, column.format)
    return cell


def is_whole(cell: str) -> bool:
    """Whether a number has nothing behind the point."""
    return float(cell).is_integer()


def _dated(cell: str, form: str) -> str:
    """A date of ISO 8601, with an offset from UTC or without, in another format; as it is where that would drop some of it."""
    try:
        moment = datetime.fromisoformat(cell) if "%Y" in form else datetime.combine(datetime(1900, 1, 1), time.fromisoformat(cell))
        return written(moment, form) or cell
    except (ValueError, OverflowError):
        return cell
