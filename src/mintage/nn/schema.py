"""What a column of a table is, learned from its cells, and how its cells become ids and come back.

Kinds: integer, float, date (one format for the whole column), category, constant, id (nearly all different: not learned,
made new) and leave (not made at all). Missing cells have an id of their own. What travels with a model is k-anonymous, column
by column: categories seen at least ``K`` times (a rarer one counts as the commonest, or as ``other`` where many are rare),
numbers as ``nn.quantiles``, of ids only what nearly all share. It does not know rules between columns.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mintage.nn.cells import MISSING, NUMBER, is_number
from mintage.nn.dates import FORMATS, date_format, date_reader, dated, dates
from mintage.nn.quantiles import Quantiles

K = 5  # rows that share what may travel
KINDS = ("integer", "float", "category", "date", "id", "constant", "leave")
DIFFERENT = 0.9  # share of different values from which text is an id
CATEGORIES = 1000
RARE = 0.05  # rows with rare categories up to which these count as the commonest
SERIAL = 1.5  # integers that are all different and spread over less than so many times their number count rows
MANY = 20  # rows from which a column can be seen to hold ids
FREE = 1e12  # possible ids of a shape from which a drawn one is none of the data's
CLASSES = {"0": "0123456789", "x": "0123456789abcdef", "X": "0123456789ABCDEF", "a": "abcdefghijklmnopqrstuvwxyz",
           "A": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "n": "0123456789abcdefghijklmnopqrstuvwxyz"}  # fmt: skip
OTHER = "other"
WHOLE, INTEGER, LONG = (re.compile(rf"[-+]?(0|[1-9][0-9]{{{span}}})") for span in ("0,", "0,14", "15,"))  # a long one fits no float
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: Its header.
        kind: One of ``KINDS``.
        missing: What stands in a missing cell, where cells are missing.
        names: Categories, the commonest first; the constant; of an id what all begin with, or the characters of its places.
        format: Of dates, see ``nn.dates``; of numbers, the decimals as ``.2f`` (always so many) or ``2`` (at most), or the digits
            in all as ``g7``; of the numbers of ids, their width.
        numbers: Values of integers, floats and dates (seconds since 1970).
        beyond: A round number that no number of an id reaches.
        empty: Share of missing cells among ids.
    """

    name: str
    kind: str
    missing: str | None = None
    names: tuple[str, ...] = ()
    format: str = ""
    numbers: Quantiles | None = None
    beyond: int = 0
    empty: float = 0.0
    index: Mapping[str, int] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", {name: i for i, name in enumerate(self.names)})

    @property
    def learned(self) -> bool:
        """Whether a model sees it."""
        return self.kind in ("integer", "float", "category", "date")

    @property
    def ordered(self) -> bool:
        """Whether its ids are in the order of its values."""
        return self.numbers is not None

    @property
    def gaps(self) -> int:
        """Ids for missing cells: the first one, or none."""
        return int(self.missing is not None)

    def __len__(self) -> int:
        return self.gaps + (len(self.numbers) if self.numbers else len(self.names))

    @property
    def state(self) -> dict[str, Any]:
        """As JSON."""
        plain = {key: getattr(self, key) for key in ("name", "kind", "missing", "format", "beyond", "empty")}
        return {**plain, "names": list(self.names), "numbers": self.numbers.state if self.numbers else None}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Column:
        """Back from what ``state`` gave."""
        numbers = Quantiles.restore(state["numbers"]) if state["numbers"] else None
        return cls(**{**state, "names": tuple(state["names"]), "numbers": numbers})

    def holds(self, cell: str | None) -> bool:
        """Whether a cell says something that was learned of this column."""
        if is_missing(cell):
            return False
        return not bool(np.isnan(self.values([cell])[0])) if self.numbers else cell in self.index

    def values(self, cells: Sequence[str | None]) -> Floats:
        """Cells of a numeric column as numbers; NaN for what is none. [N]"""
        read = date_reader(self.format) if self.kind == "date" else _number
        seen: dict[str | None, float] = {None: np.nan}
        return np.array([seen[c] if c in seen else seen.setdefault(c, read(c or "")) for c in cells], np.float64)

    def ids(self, cells: Sequence[str | None]) -> Ints:
        """Cells → 0 … len − 1. [N]"""
        if self.numbers:
            values = self.values(cells)
            known = ~np.isnan(values)
            found = np.where(known, self.gaps + self.numbers.bins(np.where(known, values, 0)), 0)
            return found if self.gaps else np.where(known, found, self.numbers.bins(self.numbers.at(np.array([0.5])))[0])
        rare = self.index.get(OTHER, 0)
        seen = {cell: self.index.get(cell or "", rare) + self.gaps for cell in set(cells)}
        seen |= {cell: 0 for cell in seen if self.gaps and is_missing(cell)}
        return np.array([seen[cell] for cell in cells], np.int64)

    def positions(self, cells: Sequence[str | None]) -> Floats:
        """Where the numbers of cells stand among all, 0…1; NaN where missing. [N]"""
        values = self.values(cells)
        assert self.numbers is not None
        return np.where(np.isnan(values), np.nan, self.numbers.positions(np.where(np.isnan(values), 0, values)))

    def cells(self, ids: Ints, fractions: Floats) -> list[str | None]:
        """Ids → cells; ``fractions`` 0…1 say where in its bin a number lies."""
        known = ids >= self.gaps
        if not self.numbers:
            table = np.array([None] * self.gaps + list(self.names), object)
            return list(table[ids])
        own = np.where(known, ids - self.gaps, 0)
        return self.written(self.numbers.at(self.numbers.within(own, fractions)), known)

    def written(self, values: Floats, known: NDArray[np.bool_]) -> list[str | None]:
        """Numbers as they are written in this column; None where not known."""
        made: list[str]
        if self.kind == "integer":
            made = list(map(str, np.rint(values).astype(np.int64).tolist()))
        elif self.kind == "date":
            made = dates(values, self.format)
        else:
            made = [_written(value, self.format) for value in values.tolist()]
        return [*made] if known.all() else [cell if is_known else None for cell, is_known in zip(made, known.tolist(), strict=True)]

    def labels(self) -> list[str]:
        """What each id stands for, in words."""
        if not self.numbers:
            return ["–"] * self.gaps + list(self.names)
        ends = np.append(self.numbers.starts[1:], len(self.numbers.low)) - 1
        lows, highs = self.numbers.low[self.numbers.starts], self.numbers.high[ends]
        known = np.ones(len(lows), bool)
        pairs = zip(self.written(lows, known), self.written(highs, known), strict=True)
        return ["–"] * self.gaps + [str(a) if a == b else f"{a} … {b}" for a, b in pairs]

    def make(self, seeds: Sequence[int]) -> list[str | None]:
        """The constant, or ids that no row of the data has, one a seed; None where a cell is missing."""
        if self.kind == "constant":
            return [self.names[0]] * len(seeds)
        return [None if self.empty and _chance(f"{self.name}/{seed}") < self.empty else self._id(seed) for seed in seeds]

    def _id(self, seed: int) -> str:
        if self.beyond:
            return f"{self.names[0]}{self.beyond + seed:{self.format}}"
        return _drawn(self.names, seed) if self.names else f"{self.name}-{seed:06d}"


def is_missing(cell: str | None) -> bool:
    """Whether a cell holds nothing."""
    return cell is None or cell.lower() in MISSING


def infer(name: str, cells: Sequence[str | None], kind: str = "") -> Column:
    """A column from its cells, of ``kind`` if a person says so."""
    blank = Counter(cell or "" for cell in cells if is_missing(cell))
    known = [cell for cell in cells if cell is not None and not is_missing(cell)]
    missing = blank.most_common(1)[0][0] if blank else None
    guessed = guess(name, known)
    column = Column(name, kind or ("category" if guessed == "constant" and blank and known else guessed), missing)
    if column.kind in ("integer", "float", "date"):
        form = _format(column.kind, known)
        column = replace(column, format=form)
        values = column.values(known)
        values = values[~np.isnan(values)]
        if len(values):
            gap = missing if missing is not None or len(values) == len(known) else ""
            return replace(column, numbers=Quantiles.fit(values, K), missing=gap)
        column = replace(column, kind="category")
    counts = Counter(known).most_common()
    if column.kind == "constant":
        return replace(column, names=(counts[0][0],) if counts and counts[0][1] >= K else ("",), missing=None)
    if column.kind == "category":
        names = [value for value, n in counts[:CATEGORIES] if n >= K]
        rare = 1 - sum(n for _, n in counts[: len(names)]) / max(1, len(known))
        if rare > RARE or not names:
            names.append(OTHER)
        return replace(column, names=tuple(names))
    if column.kind == "id":
        empty = max(sum(blank.values()), K) / max(len(cells), K) if blank else 0.0
        return _identity(replace(column, empty=empty), known)
    return replace(column, missing=None)


def guess(name: str, known: Sequence[str]) -> str:
    """The kind of a column from its cells that are not missing."""
    counts = Counter(known)
    n, different = len(known), len(counts)
    if different <= 1:
        return "constant"
    if all(map(INTEGER.fullmatch, counts)):
        values = [int(value) for value in counts]
        named = re.search(r"(^|[^a-z])(id|nr|no|key|index)$|[a-z](Id|ID)$", name.strip()) or name.lower() in ("id", "")
        serial = max(values) - min(values) < SERIAL * n
        return "id" if different == n >= MANY and (named or serial) else "integer"
    long = sum(bool(LONG.fullmatch(value)) for value in counts)
    if all(is_number(value) for value in counts) and (2 * long < different or not all(map(WHOLE.fullmatch, counts))):
        return "float"
    if date_format(list(counts)):
        return "date"
    common = sum(count for count in counts.values() if count >= K)
    return "id" if n >= MANY and (different > DIFFERENT * n or common < 0.5 * n) else "category"


def _number(cell: str | None) -> float:
    return float(cell) if cell is not None and NUMBER.fullmatch(cell) and len(cell) < 40 else float("nan")


def _format(kind: str, known: Sequence[str]) -> str:
    if kind == "date":
        return date_format(known) or FORMATS[0]
    if kind == "integer":
        return ""
    plain = [value for value in known if "e" not in value.lower()]
    if len(plain) < (1 - RARE) * len(known):  # numbers of all sizes: a fixed number of decimals would lose the small ones
        return f"g{min(15, max(map(_digits, known)))}"
    decimals = [len(value.partition(".")[2]) for value in plain]
    most = min(10, max(decimals, default=0))
    return f".{most}f" if len(set(decimals)) == 1 else str(most)


def _digits(cell: str) -> int:
    """Significant digits of a number as it is written."""
    return len(re.sub(r"[eE].*|[-+.]", "", cell).lstrip("0"))


def _written(value: float, form: str) -> str:
    """A number with the decimals of its column."""
    if form.startswith("."):
        return f"{value:{form}}"
    if form.startswith("g"):
        return repr(float(f"{value:.{form[1:] or 12}g}"))
    return repr(round(value, int(form)) + 0.0)


def _identity(column: Column, known: Sequence[str]) -> Column:
    """How new ids look: a shared beginning and a number beyond all, or places of characters where chance finds no old one."""
    parts = [part for value in known if (part := re.fullmatch(r"(.*?)([0-9]+)", value))]
    starts = {part[1] for part in parts}
    if len(parts) == len(known) >= K and len(starts) == 1:
        beyond, width = _beyond([part[2] for part in parts])
        return replace(column, names=(starts.pop(),), beyond=beyond, format=f"0{width}d")
    if len({len(value) for value in known}) != 1 or len(known) < K or dated(known):
        return column
    places = [set(place) for place in zip(*known, strict=True)]
    kinds = [min(p) if len(p) == 1 else next((own for own in CLASSES.values() if p <= set(own)), "") for p in places]
    free = math.prod(float(len(kind)) for kind in kinds)
    return replace(column, names=tuple(kinds)) if free >= FREE else column


def _beyond(digits: Sequence[str]) -> tuple[int, int]:
    """A round number beyond all, with room for rows that were not seen, and the width in which all are written (1 if in none).

    It stays within the width where as many ids again fit, and has a digit more where they do not.
    """
    numbers, width = list(map(int, digits)), len(digits[0])
    least = max(numbers) + max(len(numbers), (max(numbers) - min(numbers)) // 10)
    unit: int = 10 ** (len(str(least)) - 1)
    start = (least // unit + 1) * unit
    if {len(own) for own in digits} != {width}:
        return start, 1
    return (start if start + len(numbers) <= 10**width else max(start, 10**width)), width


def _chance(key: str) -> float:
    """A number 0…1 of its own for each key."""
    return int.from_bytes(hashlib.blake2b(f"empty/{key}".encode("utf-8", "replace"), digest_size=7).digest(), "little") / 2.0**56


def _drawn(places: Sequence[str], seed: int) -> str:
    """An id by the characters of its places; the seed is the sample's own, and ids are apart from the noise of its content."""
    digest = hashlib.blake2b(f"id/{seed}".encode(), digest_size=64).digest()
    number, made = int.from_bytes(digest + hashlib.blake2b(digest, digest_size=64).digest(), "little"), []
    for characters in places:
        number, at = divmod(number, len(characters))
        made.append(characters[at])
    return "".join(made)
