"""Columns of a table as numbers for grids: a rank for each number and each date, a place for each category.

Where cells can be missing, a rank has a second number that says so. It does not know tables, files or models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mintage.nn.schema import Column


def width(column: Column) -> int:
    """How many numbers a cell takes."""
    return 1 + column.gaps if column.ordered else len(column)


def filled(column: Column, own: Sequence[str | None]) -> np.ndarray:
    """Cells as the numbers of their column. [N, width]"""
    return _ranks(column, own) if column.ordered else _places(column, column.ids(own))


def _ranks(column: Column, cells: Sequence[str | None]) -> np.ndarray:
    """Rank of each number in −1…1, and where cells can be missing whether they are. [N, 1 or 2]"""
    place = column.positions(cells)
    missing = np.isnan(place)
    rank = np.where(missing, 0.0, 2 * place - 1)
    return np.stack([rank, np.where(missing, 1.0, -1.0)][: 1 + column.gaps], 1)


def _places(column: Column, ids: np.ndarray) -> np.ndarray:
    """1 at the category, −1 elsewhere. [N, len(column)]"""
    return np.where(ids[:, None] == np.arange(len(column)), 1.0, -1.0)


def position(part: np.ndarray) -> np.ndarray:
    """Ranks in −1…1 [N, 1 or 2] as shares in 0…1. [N]"""
    return (part[:, 0].astype(np.float64).clip(-1, 1) + 1) / 2


def cells(column: Column, part: np.ndarray) -> list[str | None]:
    """The numbers of a column [N, width] as text."""
    if column.numbers is None:
        return column.cells(part.argmax(1), np.zeros(len(part)))
    known = part[:, -1] <= 0 if column.gaps else np.ones(len(part), bool)
    return column.written(column.numbers.at(position(part)), known)
