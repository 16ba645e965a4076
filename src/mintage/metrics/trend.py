"""Pair trends: do columns hang together two by two as they do in the data? 1 is the same joint distribution of every pair.

Ids are put into at most ten groups a column, and for every pair of columns the shares of the cells are compared (one
minus total variation: the contingency similarity of SDMetrics). Finite samples differ by chance, so it is read beside
held-out items. It does not see what takes three columns to see.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mintage.core.spec import Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.intervals import jackknife
from mintage.nn.rows import Columns, is_table, rows

LEAST = 20
GROUPS, HELD = 10, 5  # of ids in a column at most; rows that a cell of a pair should hold
MOST = 2_000
PARTS = 10
PAIRS = 400  # looked at; more are drawn from


def trends(made: Tensor, real: Tensor, pairs: Tensor) -> Tensor:
    """Likeness of each pair [P] of columns, from groups [N, C] and [M, C]."""
    found = []
    for a, b in pairs.T.tolist():
        cells = [torch.bincount(x[:, a] * GROUPS + x[:, b], minlength=GROUPS * GROUPS).double() / len(x) for x in (made, real)]
        found.append(1 - (cells[0] - cells[1]).abs().sum() / 2)
    return torch.stack(found)


class Metric:
    """The mean over pairs of columns with a jackknife interval; the note names the worst pair."""

    question = "real"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Only for tables of two columns or more."""
        if not is_table(target) or (target.slots and len(target.slots) < 2):
            return say("pair trends are for tables of several columns")
        return None if n >= LEAST else say("pair trends need at least {least} held-out items, not {n}", least=LEAST, n=n)

    def __call__(self, evidence: Evidence) -> list[Score]:
        """One score."""
        columns = Columns.of(evidence)
        if len(columns.names) < 2:
            return []
        pairs = torch.triu_indices(len(columns.names), len(columns.names), 1)
        pairs = pairs[:, evidence.noise.fork("trend").permutation(pairs.shape[1])[:PAIRS]]
        count = max(2, min(GROUPS, int((len(evidence.test) / HELD) ** 0.5)))
        group = columns.groups(rows(evidence, evidence.train), count)
        made, real = (group[rows(evidence, x[:MOST])] for x in (evidence.made, evidence.test))
        each = trends(made, real, pairs)
        part = torch.arange(max(len(made), len(real))) % PARTS
        left = [trends(made[part[: len(made)] != k], real[part[: len(real)] != k], pairs).mean() for k in range(PARTS)]
        a, b = pairs[:, int(each.argmin())].tolist()
        names = f"{columns.names[a]} × {columns.names[b]}"
        note = say("n = {n}; worst {column}: {value}", n=len(made), column=names, value=f"{each.min():.2f}")
        return [Score("pair trends", *jackknife(float(each.mean()), torch.stack(left)), "higher", note=note)]
