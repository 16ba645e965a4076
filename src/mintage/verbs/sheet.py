"""What the report shows of a table: rows side by side, each column made and real, and which columns hang together.

Columns are drawn in at most twelve groups of neighbouring values, their shares among made and among held-out rows side by side.
How much two columns have to do with each other is Cramér's V (1946) of their groups, 0 … 1, for made and for held-out rows at
equal number.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import torch
from torch import Tensor

from mintage.core.spec import Evidence, Media
from mintage.core.words import say
from mintage.nn.rows import Columns, rows
from mintage.verbs.plots import heat, histogram

GROUPS = 12  # bars of a column at most
SHOWN = 12  # rows on the page
MOST = 16  # columns on the page; the first ones
ROWS = 2_000


@dataclass(frozen=True)
class Bars:
    """One column: what each bar stands for, and its share of made and of real rows."""

    name: str
    labels: Sequence[str]
    made: Sequence[float]
    real: Sequence[float]


@dataclass(frozen=True)
class Sheet:
    """Everything the page shows of a table."""

    head: Sequence[str]
    made: Sequence[Sequence[str]]
    sketch: Sequence[Sequence[str]]
    bars: Sequence[Bars]
    names: Sequence[str]
    maps: tuple[Sequence[Sequence[float]], Sequence[Sequence[float]]]  # of made and of real rows


def cells(media: Sequence[Media]) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, and the cells of rows."""
    head, found = list[str](), []
    for thing in media[:SHOWN]:
        first, row = str(thing.content).split("\n", 1)
        head = json.loads(first)["columns"]
        found.append(["" if cell is None else str(cell) for cell in json.loads(row)])
    return head, found


def sheet_of(evidence: Evidence, made: Sequence[Media], sketch: Sequence[Media]) -> Sheet:
    """The sheet of what was judged; ``made`` and ``sketch`` are rows that may be seen."""
    columns = Columns.of(evidence)
    held = torch.cat([evidence.test, evidence.holdout])
    n = min(len(evidence.made), len(held), ROWS)
    ids, real = rows(evidence, evidence.made[:n]), rows(evidence, held[:n])
    group = columns.groups(rows(evidence, evidence.train), max(3, min(GROUPS, int(n**0.5))))
    words = [column.labels() for column in evidence.extra["codec"].learned]
    shown = range(min(MOST, len(columns.names)))
    bars = [_bars(columns, k, group, words[k], group[ids][:, k], group[real][:, k]) for k in shown]
    maps = [[[cramer(group[x][:, a], group[x][:, b]) for b in shown] for a in shown] for x in (ids, real)]
    head, body = cells(made)
    return Sheet(head, body, cells(sketch)[1], bars, columns.names[: len(shown)], (maps[0], maps[1]))


def _bars(columns: Columns, k: int, group: Tensor, words: Sequence[str], made: Tensor, real: Tensor) -> Bars:
    low, high = columns.slots[k]
    own = group[low:high].tolist()
    labels = []
    for g in range(max(own) + 1):
        inside = [words[i] for i, own_group in enumerate(own) if own_group == g]
        first, last = (inside[0].split(" … ")[0], inside[-1].split(" … ")[-1]) if inside else ("", "")
        many = f"{first} … {last}" if columns.ordered[k] else ", ".join(inside[:3])
        labels.append(inside[0] if len(inside) == 1 else many)
    shares = [(torch.bincount(x, minlength=len(labels)).double() / max(1, len(x))).tolist() for x in (made, real)]
    return Bars(columns.names[k], labels, shares[0], shares[1])


def cramer(a: Tensor, b: Tensor) -> float:
    """Cramér's V of two group numbers [N], less what chance gives (Bergsma 2013)."""
    wide, tall, n = int(a.max()) + 1, int(b.max()) + 1, len(a)
    joint = torch.bincount(a * tall + b, minlength=wide * tall).double().view(wide, tall) / n
    joint = joint[joint.sum(1) > 0][:, joint.sum(0) > 0]
    wide, tall = joint.shape
    expected = joint.sum(1, keepdim=True) * joint.sum(0)
    square = float(((joint - expected).square() / expected).sum())
    square = max(0.0, square - (wide - 1) * (tall - 1) / max(1, n - 1))
    least = min(wide - (wide - 1) ** 2 / max(1, n - 1), tall - (tall - 1) ** 2 / max(1, n - 1)) - 1
    return min(1.0, (square / least) ** 0.5) if least > 1e-9 else 0.0


def drawn(sheet: Sheet) -> tuple[str, str]:
    """Paired histograms, and the two maps, as HTML."""
    each = [histogram(b.name, b.labels, b.made, b.real) + f"<figcaption>{escape(b.name)}</figcaption>" for b in sheet.bars]
    maps = [
        f"<figcaption>{title}</figcaption>{heat(sheet.names, values, title)}"
        for title, values in zip((say("made"), say("held out")), sheet.maps, strict=True)
    ]
    bars, both = ("".join(f"<figure>{inner}</figure>" for inner in found) for found in (each, maps))
    return f'<div class="bars">{bars}</div>', f'<div class="maps">{both}</div>' if len(sheet.names) > 1 else ""
