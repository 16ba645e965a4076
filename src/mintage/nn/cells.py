"""Rows of cells out of delimited text (RFC 4180 and looser relatives): which delimiter, is there a header, is it a table at all.

Quotes, doubled quotes and line ends inside cells are those of Python's csv module. It does not know what a column means.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from mintage.core.errors import BadItem
from mintage.core.words import say
from mintage.nn.reading import read_text

DELIMITERS = ",;\t|"
PEEK = 1 << 16  # bytes of a file that say what it is
SEEN = 200  # rows that say it
LONG, WORDY, NAMED, WIDE = 80, 6, 12, 15  # a column holds texts from so many characters, or words, on average; fewer by its name
TEXTS = ("text", "content", "body", "document", "sentence", "message", "story", "poem", "lyrics", "caption", "file_name")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
COMMA = re.compile(r"\A([-+]?\d+),(\d+)\Z")
LETTER = re.compile(r"[^\W\d_]")
YEARS = 1500, 2200
MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "?", "-", "nil", "missing"})


def is_number(cell: str) -> bool:
    """Written as a number, and not as a code with leading zeros."""
    return bool(NUMBER.fullmatch(cell)) and not re.match(r"[-+]?0\d", cell)


def delimiter_of(text: str, suffix: str) -> str:
    """The delimiter that cuts the first lines into equally many cells, the most of them."""
    if suffix == ".tsv":
        return "\t"
    lines = [line for line in text.split("\n", 20)[:20] if line.strip()]
    counts = {mark: [line.count(mark) for line in lines] for mark in DELIMITERS}
    return max(DELIMITERS, key=lambda mark: (min(counts[mark], default=0) > 0, median(counts[mark] or [0])))


def rows_of(text: str, suffix: str, blank: bool = False) -> tuple[list[list[str]], str, bool]:
    """Rows of stripped cells, the delimiter, and whether decimal commas stood there, beside semicolons, which became points.

    Rows of empty cells stay if ``blank``; empty lines never.

    Raises:
        BadItem: The rows cannot be told apart.
    """
    mark = delimiter_of(text, suffix)
    try:
        found = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark)]
    except csv.Error as error:
        raise BadItem(say("its rows cannot be told apart ({error})", error=error)) from None
    comma = mark == ";" and any(COMMA.match(cell) for row in found for cell in row)
    if comma:
        found = [[pointed(cell) for cell in row] for row in found]
    return [row for row in found if any(row) or (blank and len(row) > 1)], mark, comma


def pointed(cell: str) -> str:
    """A number with a decimal comma as one with a point."""
    return COMMA.sub(r"\1.\2", cell)


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns: a word stands over numbers; or it holds no number and words seen nowhere below."""
    if len(rows) < 2:
        return False
    body = [[cell if cell.lower() not in MISSING else "" for cell in row] for row in rows[1:SEEN]]
    pairs = [(cell, [row[k] for row in body if k < len(row) and row[k]]) for k, cell in enumerate(rows[0]) if cell]
    numeric = [bool(cells) and all(map(is_number, cells)) for _, cells in pairs]
    if any(over and _is_word(cell) for (cell, _), over in zip(pairs, numeric, strict=True)):
        return True
    if any(is_number(cell) for cell, _ in pairs):
        return _counted(pairs)
    names = {cell for cell, _ in pairs}
    return len(names) == len(pairs) and (any(numeric) or not any(cell in cells for cell, cells in pairs))


def _is_word(cell: str) -> bool:
    return bool(LETTER.search(cell)) and not is_number(cell) and cell.lower() not in MISSING


def _counted(pairs: Sequence[tuple[str, Sequence[str]]]) -> bool:
    """Whether a first row with numbers names columns: words that are not below, and years or 1, 2, 3 over other numbers."""
    words = [(cell, cells) for cell, cells in pairs if not is_number(cell)]
    counted = [(cell, cells) for cell, cells in pairs if is_number(cell)]
    if not words or any(cell in cells for cell, cells in words) or not all(re.fullmatch(r"\d{1,4}", cell) for cell, _ in counted):
        return False
    numbers = [int(cell) for cell, _ in counted]
    years = YEARS[0] <= min(numbers) and max(numbers) <= YEARS[1]
    steps = {b - a for a, b in pairwise(numbers)}
    even = len(steps) == 1 and min(steps) > 0
    low, high = YEARS if years else (min(numbers), max(numbers))
    others = any(not re.fullmatch(r"\d{1,4}", own) or not low <= int(own) <= high for _, cells in counted for own in cells)
    repeat = any(2 * len(set(cells)) <= len(cells) for _, cells in words)
    return others and (years or even) and (repeat or (years and even))


def read_delimited(path: Path, asked: Collection[str] = (), told: bool | None = None) -> tuple[dict[str, Any], list[list[str]]]:
    """What a delimited file is, and its rows; where columns are asked for, also empty ones; ``told``: its first row is a header."""
    rows, mark, comma = rows_of(read_text(path.read_bytes()), path.suffix.lower(), bool(asked))
    header = has_header(rows) if told is None else told
    header = header or bool(rows and 2 * sum(cell in asked for cell in rows[0]) > len(rows[0]))
    width = len(rows[0]) if rows else 0
    names = rows[0] if header else [f"column{k + 1}" for k in range(width)]
    if len(rows) < 1 + header or (len(rows) == 1 and not any(map(is_number, rows[0]))):
        raise BadItem(say("it has no rows"))
    form = "tsv" if path.suffix.lower() == ".tsv" else "csv"
    head = {"format": form, "delimiter": mark, "header": header, "columns": distinct(names)}
    return {**head, **({"comma": True} if comma else {})}, rows[header:]


def tabular(path: Path) -> bool:
    """Whether a delimited file is a table by its first rows: several columns, equally many in nearly all rows, and no texts."""
    try:
        with open(path, "rb") as file:
            start = file.read(PEEK)
        whole = start if len(start) < PEEK else start[: start.rfind(b"\n") + 1]
        rows = rows_of(read_text(whole), path.suffix.lower())[0][: SEEN + 1]
    except (OSError, BadItem):
        return False
    if len(rows) < 2 or len(rows[0]) < 2:
        return False
    width = len(rows[0])
    if sum(len(row) == width for row in rows) < 0.9 * len(rows):
        return False
    head = rows[0] if has_header(rows) else [""] * width
    body = [row for row in rows[has_header(rows) :] if len(row) == width]
    columns = [[row[k] for row in body] for k in range(width)]
    if not body or any(_texts(name.lower(), cells) for name, cells in zip(head, columns, strict=True)):
        return False
    return any(sum(map(is_number, cells)) > 0.5 * len(body) or len(set(cells)) < 0.3 * len(body) for cells in columns)


def _texts(name: str, cells: Sequence[str]) -> bool:
    """Whether a column holds texts and not names or codes: long, or of many words that hardly repeat."""
    n = len(cells)
    length, words = sum(map(len, cells)) / n, sum(cell.count(" ") + 1 for cell in cells) / n
    if length >= LONG:
        return True
    wide = sum(ord(c) >= 0x3000 for cell in cells for c in cell) > 0.5 * length * n
    limit = NAMED if name in TEXTS else WIDE if wide else length + (words < WORDY)
    return len(set(cells)) > 0.5 * n and length >= limit


def distinct(names: Sequence[str]) -> list[str]:
    """Names, numbered where they repeat or are empty."""
    found: list[str] = []
    for k, name in enumerate(names):
        own, at = name or f"column{k + 1}", k + 1
        while own in found:
            own, at = f"{name or 'column'}.{at}", at + 1
        found.append(own)
    return found
